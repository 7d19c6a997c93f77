"""What Slurm's commands print, understood: pure functions from text to what we know.

Source: the manuals of squeue, scontrol and sacct ("JOB STATE CODES") of Slurm 20 to 25. Only formats that all of
these have are used: fields of our own choosing between separators, times as epoch seconds (SLURM_TIME_FORMAT=%s).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gpuyard.actors.cloud.ends import class_of
from gpuyard.actors.model.cloud_remote import RemoteState, RemoteStatus

SEPARATOR: Final = "|"
# Job id, name, state, reason, start, end.
SQUEUE_FORMAT: Final = SEPARATOR.join(("%i", "%j", "%T", "%S", "%e", "%r"))
SACCT_FORMAT: Final = "JobIDRaw,JobName,State,Start,End,Reason,ExitCode"

WAITING: Final = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
ALIVE: Final = frozenset(
    {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING", "RESV_DEL_HOLD"}
)
# Ends that the cluster is to blame for: nobody knows how the program would have ended.
CLUSTERS_FAULT: Final = frozenset({"NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED", "LAUNCH_FAILED"})


class Seen(NamedTuple):
    """A job as one line of squeue or sacct tells it. Times are epoch seconds, `code` what it exited with, if told."""

    id: str
    name: str
    state: str
    started_at: float | None
    ended_at: float | None
    reason: str
    code: int | None = None


def squeue(text: str) -> list[Seen]:
    """The jobs that squeue printed in SQUEUE_FORMAT."""
    found = []
    for line in text.splitlines():
        parts = line.strip().split(SEPARATOR, 5)
        if len(parts) == 6:
            id_, name, state, start, end, reason = parts
            found.append(Seen(id_, name, _state(state), _time(start), _time(end), reason))
    return found


def sacct(text: str) -> list[Seen]:
    """The jobs that `sacct --parsable2 --noheader` printed in SACCT_FORMAT."""
    found = []
    for line in text.splitlines():
        parts = line.strip().split(SEPARATOR)
        if len(parts) == 7:
            id_, name, state, start, end, reason, code = parts
            found.append(Seen(id_, name, _state(state), _time(start), _time(end), reason, exit_code(code)))
    return found


def exit_code(text: str) -> int | None:
    """`code:signal` as a shell would say it: 128 + the signal.

    >>> exit_code("3:0"), exit_code("0:9"), exit_code("")
    (3, 137, None)
    """
    first, _, second = text.partition(":")
    code, killed_by = number(first), number(second)
    return 128 + killed_by if code is not None and killed_by else code


def number(text: str) -> int | None:
    """A number of at most 15 ASCII digits, as Slurm and our own scripts write them; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


def field(text: str, name: str) -> str | None:
    """A field of `scontrol -o show job`: `ExitCode=3:0` gives `3:0`."""
    for word in text.split():
        key, equals, value = word.partition("=")
        if equals and key == name:
            return value
    return None


def status(seen: Seen, code: int | None) -> RemoteStatus:
    """What a job's line means; `code` is the exit code, where one is known."""
    if seen.state in WAITING:
        waits = seen.reason not in ("", "None")  # not looked at yet
        return RemoteStatus(state=RemoteState.QUEUED, progress=f"Slurm: {seen.reason}" if waits else "")
    if seen.state in ALIVE:
        return RemoteStatus(state=RemoteState.RUNNING, started_at=seen.started_at)
    state, exit_class, message = _end(seen, code)
    return RemoteStatus(
        state=state,
        exit_code=code,
        exit_class=exit_class,
        message=message,
        started_at=seen.started_at,
        ended_at=seen.ended_at,
    )


def _end(seen: Seen, code: int | None) -> tuple[RemoteState, str, str]:
    match seen.state:
        case "COMPLETED":
            return RemoteState.COMPLETED, "", ""
        case "CANCELLED":
            return RemoteState.CANCELLED, "", "it was cancelled in Slurm"
        case "TIMEOUT" | "DEADLINE":
            return RemoteState.FAILED, "timeout", "Slurm ended it at its time limit"
        case "OUT_OF_MEMORY":
            return RemoteState.FAILED, "oom", "Slurm ended it: the node's memory ran out"
        case state if state in CLUSTERS_FAULT:
            return RemoteState.FAILED, "lost", f"Slurm says {state}: {seen.reason}".rstrip(": ")
        case _:
            known = code if code else 1
            reason = "" if seen.reason in ("", "None", "NonZeroExitCode") else f"Slurm: {seen.reason}"
            return RemoteState.FAILED, class_of(known), reason


def _state(text: str) -> str:
    """`CANCELLED by 1000` and `RUNNING+` are what stands before."""
    return text.split(" ")[0].rstrip("+").upper()


def _time(text: str) -> float | None:
    seconds = number(text)
    return float(seconds) if seconds else None
