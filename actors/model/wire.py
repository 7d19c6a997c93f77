"""What a worker and the server say to each other about runs (DESIGN 8): a heartbeat up, a sync down.

Run control is level-triggered: each frame says how things are, not what to do once, so loss, repetition, reordering
and delay need no special case. The newest frame of a session wins. Wire readers ignore unknown fields; fields are
never renamed or retyped, new ones have defaults.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.run_spec import RunSpec

PROTOCOL: Final = 1
"""This version; N - 1 is understood too."""
RUN: Final = "run"
STOP: Final = "stop"


def _spoken() -> int:
    """As a factory, because a plain default is left out of a frame: its reader would put its own version there."""
    return PROTOCOL


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one run stands on the worker. `phase` is one of `attempt.Phase`.

    `spec_hash` is that of the order it was started with ("" when it is not known). `exit_*`, `message` and
    `ended_at` are set once it has ended; `emptied` once its GPUs are empty again too. `uuids` are the GPUs that it
    holds, `ordered` tells that its order is in the worker's own journal.
    """

    phase: str
    job_id: str = ""
    spec_hash: str = ""
    pid: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    exit_class: str | None = None
    exit_code: int | None = None
    message: str = ""
    uuids: tuple[str, ...] = ()
    emptied: bool = False
    ordered: bool = True


class Heartbeat(Message, frozen=True, kw_only=True):
    """From: a worker. To: WorkerRegistry, through the gateway. Answered by Sync. Repeat: an older `n` is ignored.

    `session` names this life of the worker's process, `incarnation` this life of its host; `n` grows within a
    session. `sent_at` is the worker's CLOCK_BOOTTIME, which the Sync echoes: a lease counts from there. `db_id` and
    `db_epoch` are those of the server that it last obeyed ("" and 0 at first). `attempts` holds every run that the
    worker knows and that is not acknowledged, by fence. `leaving`: it takes no new work and ends soon. `journal` names
    the worker's journal and `life` grows with each start of a worker on it: of two processes with one journal on one
    host the higher is the successor. `name`, `labels` and `persistent` are what its own command line says; labels of
    the same key win over those of its enrolment, None leaves the type as it was enrolled. `wall` is the worker's clock
    (epoch seconds) when this was sent, in which its reports tell their times; 0 where it does not say.
    """

    protocol: int = msgspec.field(default_factory=_spoken)
    version: str = ""
    session: str
    incarnation: str
    n: int
    sent_at: float
    db_id: str = ""
    db_epoch: int = 0
    backend: str = "none"
    gpus: tuple[GpuFact, ...] = ()
    facts_age: float = 0.0
    at_once: bool = False
    error: str | None = None
    attempts: dict[int, Report] = {}
    max_jobs: int | None = None
    cpu_count: int = 0
    leaving: bool = False
    journal: str = ""
    life: int = 0
    name: str = ""
    labels: dict[str, str] = {}
    persistent: bool | None = None
    wall: float = 0.0


class Want(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What shall be of one run: `action` is run or stop.

    `spec` is there while the worker has not reported the fence with this `spec_hash` (in a later Sync, when more is
    wanted at once than fits into a frame: wait for it). `lease_seconds` None is the policy `hold`: never ended by
    silence. `started`: the store knows it to have lived, so an unknown one is lost, not started. `reason` says why
    it shall stop. `lease_grace` is how long, at most, a run whose lease has lapsed may take to end: the server waits
    for twice as long before it gives the job to another host.
    """

    action: str = RUN
    spec_hash: str = ""
    spec: RunSpec | None = None
    started: bool = False
    reason: str = ""
    lease_seconds: float | None = None
    checkpoint_signal: str | None = None
    lease_grace: float | None = None


class Sync(Message, frozen=True, kw_only=True):
    """From: WorkerRegistry. To: a worker, through the gateway. Repeat: an older echo of `n` is ignored.

    `session`, `n` and `sent_at` echo the newest heartbeat. `want` is the whole wanted set of this worker; a fence
    that the worker runs and that is not in it is an orphan: it keeps running. `complete` is False while the server
    has not yet read its own store: then `want` may lack fences. `ack` are fences whose end (and release) is durable:
    they may be forgotten. `refused` says in words why this worker gets no work (clone, version, deleted); `leave`
    tells an ephemeral one that has done its job to end. `heartbeat_seconds` is the beat asked for. `seq` grows with
    each Sync of a session: of two that echo the same heartbeat the higher one is newer. `end` are runs, with a reason,
    that another database ordered and that an administrator of this one wants ended: the only word about them that a
    worker takes from whom it does not obey.
    """

    protocol: int = msgspec.field(default_factory=_spoken)
    db_id: str
    db_epoch: int
    session: str
    n: int
    sent_at: float
    want: dict[int, Want] = {}
    ack: tuple[int, ...] = ()
    refused: str = ""
    leave: bool = False
    heartbeat_seconds: float = 10.0
    complete: bool = True
    seq: int = 0
    end: dict[int, str] = {}
