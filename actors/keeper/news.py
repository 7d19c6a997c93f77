"""What keepers write: the records of a run, as their files and as nudges. Unknown fields are ignored."""

from __future__ import annotations

import msgspec


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """A lease as the run was ordered with it: it ends at `until` (CLOCK_BOOTTIME), or later if the file `lease` says
    so; `seconds` is its whole length, `signal` asks for a checkpoint before the end, `grace` is from TERM to KILL."""

    until: float
    seconds: float
    signal: str | None = None
    grace: float = 0.0


class RunRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="run"):
    """A program was started. A pid and its start time (clock ticks since boot) name a process of that boot."""

    version: int
    fence: int
    job_id: str
    boot_id: str
    keeper_pid: int
    keeper_start: int
    pid: int
    start: int
    started_at: float
    attempt: int = 1
    gpus: list[str] = []
    port: int | None = None
    cgroup: str | None = None
    lease: Terms | None = None


class ExitRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="exit"):
    """No process of the run is left. `code` is the program's, 128+N after signal N; None if it never ran."""

    version: int
    fence: int
    job_id: str
    ended_at: float
    exit_class: str
    message: str = ""
    code: int | None = None
    signal: int | None = None
    started_at: float | None = None
    attempt: int = 1


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="refused"):
    """A spare was ordered to start a run whose folder exists already."""

    version: int
    fence: int


class ReadyForRun(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="ready"):
    """A spare waits for an order."""

    version: int


News = RunRecord | ExitRecord | Refused | ReadyForRun

_DECODER: msgspec.json.Decoder[News] = msgspec.json.Decoder(News)


def read(data: bytes) -> News | None:
    """None for what is no record of ours."""
    try:
        return _DECODER.decode(data)
    except msgspec.DecodeError:
        return None
