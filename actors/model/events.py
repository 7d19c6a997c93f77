"""Events: past tense, facts that an actor tells; a listener's error is logged, never returned.

Each docstring: what · From · To · Repeat (what a second delivery does).
"""

from __future__ import annotations

from gpuyard.actors.model.commit import Deleted, Snapshot
from gpuyard.actors.model.gpu import GpuFact, GpuProcess
from gpuyard.actors.model.message import Message

# --- from the QueueStore -----------------------------------------------------------------------------------------


class SnapshotLoaded(Message, frozen=True, kw_only=True):
    """From: QueueStore. To: Scheduler. Repeat: an older generation is ignored."""

    generation: int
    snapshot: Snapshot


class Committed(Message, frozen=True, kw_only=True):
    """All commits of `generation` up to `number` are durable. From: QueueStore. To: Scheduler.

    `results` holds, per commit number, what its DeleteJob… rows found. Repeat: harmless.
    """

    generation: int
    number: int
    results: dict[int, tuple[Deleted, ...]] = {}


class CommitFailed(Message, frozen=True, kw_only=True):
    """`number` and all later commits of `generation` are void; earlier ones are durable. From: QueueStore.

    To: Scheduler, which rebuilds. `error` in words for the log; `disk` tells that the database could not be
    written (as against a failed guard), and `detail` why, in words for clients. Repeat: an older generation is ignored.
    """

    generation: int
    number: int
    error: str
    disk: bool = False
    detail: str = ""


# --- from the ProcessKeeper (here or on a worker) ----------------------------------------------------------------


class RunsAdopted(Message, frozen=True, kw_only=True):
    """The boot scan has ended. From: ProcessKeeper. To: Scheduler. `live` are the fences whose runs live, `ended`
    those whose end is known and not yet acknowledged. Repeat: harmless."""

    live: tuple[int, ...] = ()
    ended: tuple[int, ...] = ()


class AttemptStarted(Message, frozen=True, kw_only=True):
    """The program lives. From: ProcessKeeper. To: Scheduler. `at` is epoch seconds. Repeat: harmless."""

    fence: int
    pid: int
    at: float


class AttemptExited(Message, frozen=True, kw_only=True):
    """No process of the run is left. From: ProcessKeeper. To: Scheduler. Repeat: until ForgetRun; harmless.

    `exit_code` None with `exit_class` `start_failed` or `lost`. `message` says why in words. `started_at` and
    `ended_at` are the keeper's own stamps (epoch seconds).
    """

    fence: int
    exit_class: str
    exit_code: int | None = None
    message: str = ""
    started_at: float | None = None
    ended_at: float | None = None


class OrphanSeen(Message, frozen=True, kw_only=True):
    """A run lives here that this database does not want. From: ProcessKeeper. To: Scheduler. Repeat: harmless."""

    fence: int
    job_id: str
    pid: int = 0
    uuids: tuple[str, ...] = ()


# --- from the LocalGPUAllocator ----------------------------------------------------------------------------------


class GpuFacts(Message, frozen=True, kw_only=True):
    """What is known of all local GPUs. From: LocalGPUAllocator. To: Scheduler.

    Told on change, and at least every second while the probe answers. `observed_at` is the allocator's
    `clock.monotonic()` at the reading. `backend` is cuda, simulated or none. `at_once`: GPUs are known to be
    empty the moment their run ends (simulated), so that a release needs no look. Newest `revision` wins.
    """

    revision: int
    observed_at: float
    backend: str
    gpus: tuple[GpuFact, ...] = ()
    at_once: bool = False
    error: str | None = None


class GpuEmptied(Message, frozen=True, kw_only=True):
    """No process of the run is left on these GPUs and their memory is back. From: LocalGPUAllocator.

    To: Scheduler. Repeat: harmless. Also told when they are quarantined instead, or when a foreigner has taken them
    over (the facts, told just before, say so). The GPUs of a run may come in parts.
    """

    fence: int
    uuids: tuple[str, ...]


class ForeignSeen(Message, frozen=True, kw_only=True):
    """5 s after the start a foreign process uses a GPU of the run. From: LocalGPUAllocator. To: Scheduler."""

    fence: int
    uuid: str
    processes: tuple[GpuProcess, ...] = ()


# --- facts of the fleet and the clouds ---------------------------------------------------------------------------


class WorkerFacts(Message, frozen=True, kw_only=True):
    """The workers as the registry knows them. From: WorkerRegistry. To: Scheduler. Newest `revision` wins."""

    revision: int
    workers: tuple[WorkerFact, ...] = ()


class ProviderFacts(Message, frozen=True, kw_only=True):
    """The providers that may take jobs. From: CloudDispatcher. To: Scheduler. Newest `revision` wins."""

    revision: int
    available: tuple[str, ...] = ()
    down: dict[str, str] = {}


class WorkerFact(Message, frozen=True, kw_only=True):
    """One worker. `state` is connecting, idle, busy, draining or offline."""

    worker_id: str
    name: str = ""
    state: str = "offline"
    gpus: int = 0
    labels: dict[str, str] = {}
