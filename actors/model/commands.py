"""Commands: imperative, one receiver, a typed reply. Errors named here go to the asker.

Each docstring: what · From · To · Reply · Errors · Repeat (what a second delivery does).
"""

from __future__ import annotations

from typing import Any, Literal

from gpuyard.actors.model.attempt import GpuRef
from gpuyard.actors.model.commit import Row
from gpuyard.actors.model.job import JobSpec
from gpuyard.actors.model.limits import LimitValue
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import OWNER, Viewer

# --- asked of the Scheduler by the edges ------------------------------------------------------------------------


class SubmitJob(Message, frozen=True, kw_only=True):
    """Put a job in the queue. From: Frontend. To: Scheduler. Reply: JobAccepted | JobRefused.

    Errors: InvalidInput, NotAllowed, TooManyPending, IdempotencyConflict, StoreFailed. Repeat: with an
    `idempotency_key` the first job is answered; without one it is a second job. `digest` is the SHA-256 of the
    whole body as canonical JSON. `dry_run` stores nothing.
    """

    spec: JobSpec
    by: Viewer = OWNER
    no_wait: bool = False
    dry_run: bool = False
    priority_override: int | None = None
    team_id: str | None = None
    requires_approval: bool = False
    for_approval: bool = False
    retry_of: str | None = None
    idempotency_key: str | None = None
    digest: str = ""


class SubmitJobs(Message, frozen=True, kw_only=True):
    """Put many jobs in the queue in one transaction. From: Frontend. To: Scheduler.

    Reply: list of JobAccepted | JobRefused in the order asked. Errors and Repeat: as SubmitJob.
    """

    jobs: tuple[SubmitJob, ...]
    by: Viewer = OWNER
    idempotency_key: str | None = None
    digest: str = ""


class RecallKey(Message, frozen=True, kw_only=True):
    """Which jobs did this Idempotency-Key begin? Asked before a submit is refused at the edge (its config is gone).

    From: Frontend. To: Scheduler. Reply: list of JobAccepted, or None when the key is not known.
    Errors: IdempotencyConflict. Repeat: harmless.
    """

    key: str
    digest: str
    by: Viewer = OWNER


class CancelJob(Message, frozen=True, kw_only=True):
    """Cancel one job. From: Frontend. To: Scheduler. Reply: JobChanged.

    `waiting_only` refuses a running one (POST /api/queue/{id}/cancel). A running job answers at once with phase
    `stopping`. Errors: NotActive, NotAllowed, WrongState. Repeat: the same answer while it is stopping.
    """

    job_id: str
    by: Viewer = OWNER
    waiting_only: bool = False


class CancelJobs(Message, frozen=True, kw_only=True):
    """Cancel many in one transaction; no pending job starts meanwhile. From: Frontend. To: Scheduler.

    Exactly one of `everything`, `statuses`, `job_ids` selects. `all_users` needs an admin. Reply: JobsCancelled.
    Errors: InvalidInput, NotAllowed. Repeat: cancels what is left.
    """

    by: Viewer = OWNER
    everything: bool = False
    all_users: bool = False
    statuses: tuple[str, ...] = ()
    job_ids: tuple[str, ...] = ()


class SetPriority(Message, frozen=True, kw_only=True):
    """Override (or, with None, stop overriding) a waiting job's priority. From: Frontend. To: Scheduler.

    Reply: PriorityChanged. Errors: NotActive, NotAllowed (lead; 40..50 admin), WrongState, InvalidInput.
    Repeat: harmless.
    """

    job_id: str
    priority: int | None
    by: Viewer = OWNER


class HoldJob(Message, frozen=True, kw_only=True):
    """Keep a pending or blocked job from starting. From: Frontend. To: Scheduler. Reply: JobChanged.

    Errors: NotActive, NotAllowed, WrongState. Repeat: harmless.
    """

    job_id: str
    by: Viewer = OWNER


class ReleaseJob(Message, frozen=True, kw_only=True):
    """Undo HoldJob. From: Frontend. To: Scheduler. Reply: JobChanged. Errors, Repeat: as HoldJob."""

    job_id: str
    by: Viewer = OWNER


class ApproveJob(Message, frozen=True, kw_only=True):
    """Let a blocked job into the queue. From: Frontend. To: Scheduler. Reply: JobChanged.

    Errors: NotActive, NotAllowed (admin), WrongState (not blocked). Repeat: WrongState.
    """

    job_id: str
    by: Viewer = OWNER


class RejectJob(Message, frozen=True, kw_only=True):
    """Refuse a blocked job: failed("Rejected: reason"). From: Frontend. To: Scheduler. Reply: JobChanged.

    Errors: as ApproveJob, and InvalidInput without a reason. Repeat: NotActive.
    """

    job_id: str
    reason: str
    by: Viewer = OWNER


class ProcessQueue(Message, frozen=True, kw_only=True):
    """Lift `processing_held` and start what may start. From: Frontend. To: Scheduler. Reply: QueueProcessed.

    Errors: NotAllowed (admin). Repeat: harmless.
    """

    by: Viewer = OWNER


class SetLimits(Message, frozen=True, kw_only=True):
    """Change limits; durable before the answer. From: Frontend. To: Scheduler. Reply: Limits.

    Errors: InvalidInput, NotAllowed (admin). Repeat: harmless.
    """

    changes: dict[str, LimitValue]
    by: Viewer = OWNER


class CleanUp(Message, frozen=True, kw_only=True):
    """Delete terminal jobs that ended more than `days` days ago. From: Frontend. To: Scheduler.

    Reply: JobsDeleted. Errors: NotAllowed (admin), InvalidInput. Repeat: deletes what is left.
    """

    days: int
    by: Viewer = OWNER


class DeleteJob(Message, frozen=True, kw_only=True):
    """Delete one terminal job with its attempts and logs. From: Frontend. To: Scheduler. Reply: JobsDeleted.

    Errors: NotFound, NotAllowed, WrongState (not terminal). Repeat: NotFound.
    """

    job_id: str
    by: Viewer = OWNER


class GetQueue(Message, frozen=True, kw_only=True):
    """Active entries: running first, then pending by position, then blocked. From: Frontend. To: Scheduler.

    Reply: QueuePage; `total` counts what matches, `offset`/`limit` page through it. `user_id` None = all users.
    `statuses` empty = all active ones. Repeat: harmless.
    """

    statuses: tuple[str, ...] = ()
    user_id: int | None = None
    limit: int = 50
    offset: int = 0


class GetLive(Message, frozen=True, kw_only=True):
    """These jobs as they are now, as far as they are active. From: Frontend. To: Scheduler.

    Reply: list of LiveJob, in the order asked, inactive ones left out. Repeat: harmless.
    """

    job_ids: tuple[str, ...]


class GetStats(Message, frozen=True, kw_only=True):
    """Counts and limits. From: Frontend. To: Scheduler. Reply: Stats. Repeat: harmless.

    `with_reasons` also counts the main reasons of the first 200 pending jobs (for /metrics; it costs more).
    """

    with_reasons: bool = False


class GetMyQueue(Message, frozen=True, kw_only=True):
    """One user's active jobs. From: Frontend. To: Scheduler. Reply: MyQueue. Repeat: harmless."""

    user_id: int


class GetPosition(Message, frozen=True, kw_only=True):
    """Where a job stands and why. From: Frontend. To: Scheduler. Reply: PositionView.

    Errors: NotActive, NotAllowed. Repeat: harmless.
    """

    job_id: str
    by: Viewer = OWNER


class GetLimits(Message, frozen=True, kw_only=True):
    """From: Frontend. To: Scheduler. Reply: Limits. Repeat: harmless."""


class GetGpus(Message, frozen=True, kw_only=True):
    """GPUs with state, holder and facts. From: Frontend. To: Scheduler. Reply: GpuPage. Repeat: harmless."""


class Ready(Message, frozen=True, kw_only=True):
    """Has the boot path ended? From: Frontend, Supervisor. To: any actor. Reply: bool. Repeat: harmless."""


# --- asked of History, Logs (edges; read only) -------------------------------------------------------------------


class ListJobs(Message, frozen=True, kw_only=True):
    """A page of all jobs, newest first. From: Frontend. To: History. Reply: HistoryPage.

    `statuses` empty = all; `user_id` None = all users; `target` and `name` filter when given; `finished_only`
    orders by completion, newest first (the tail of GET /api/queue). Repeat: harmless.
    """

    statuses: tuple[str, ...] = ()
    user_id: int | None = None
    target: str | None = None
    name: str | None = None
    finished_only: bool = False
    limit: int = 50
    offset: int = 0


class GetJob(Message, frozen=True, kw_only=True):
    """One job with its attempts and events, as stored. From: Frontend. To: History.

    Reply: JobRecord. Errors: NotFound (also for an ambiguous prefix). `job_id` may be a unique prefix when
    `prefix`. Repeat: harmless.
    """

    job_id: str
    prefix: bool = False


class GetEvents(Message, frozen=True, kw_only=True):
    """Stored events after event id `after`, oldest first. From: Frontend. To: History. Reply: list of EventRow.

    `job_id` narrows to one job. Repeat: harmless.
    """

    after: int = 0
    job_id: str | None = None
    limit: int = 1000


class GetRunTimes(Message, frozen=True, kw_only=True):
    """Seconds that past completed runs of these configs took (at most 50 each, newest first). From: Frontend.
    To: History. Reply: dict config name → list of seconds. Repeat: harmless."""

    config_names: tuple[str, ...]


class GetLastEvent(Message, frozen=True, kw_only=True):
    """From: Frontend. To: History. Reply: (oldest kept event id, newest event id), 0 when there is none."""


class ReadLog(Message, frozen=True, kw_only=True):
    """A piece of a run's log. From: Frontend. To: LogReader. Reply: LogChunk.

    `fence` names the run. `offset` None reads the last `limit` bytes. Errors: NotFound when the log is gone.
    Repeat: harmless.
    """

    fence: int
    offset: int | None = None
    limit: int = 65_536


# --- between the core actors -------------------------------------------------------------------------------------


class LoadSnapshot(Message, frozen=True, kw_only=True):
    """Read all active state. From: Scheduler. To: QueueStore. Reply (told back): SnapshotLoaded.

    `generation` is the new generation: from now on commits of an older one are refused. Repeat: harmless.
    """

    generation: int


class Commit(Message, frozen=True, kw_only=True):
    """One decision, to be durable as a whole (DESIGN 3, "QueueStore remembers"). From: Scheduler. To: QueueStore.

    Told, in order of `number`, which grows by one from commit to commit of a generation (a gap is a lost message:
    the generation is void); answered by Committed or CommitFailed. Commits that wait together share one
    transaction. After a failure all later numbers of that generation are refused. Repeat: never repeated.
    """

    generation: int
    number: int
    rows: tuple[Row, ...]


class GetCommitTimes(Message, frozen=True, kw_only=True):
    """How long the last group commits took. From: the link (for ActorStats). To: QueueStore.

    Reply: list of seconds, at most 256, newest last. Repeat: harmless.
    """


class RunSpec(Message, frozen=True, kw_only=True):
    """Everything a keeper needs to start a run.

    `argv` is a list, never a shell line. `cwd` None = the job's own folder. `env` is added to the cleaned
    environment of the server. `files` are written into the job's folder first (name → text). `gpus` are in the
    order of CUDA_VISIBLE_DEVICES. `time_limit` in seconds.
    """

    fence: int
    job_id: str
    attempt: int
    argv: tuple[str, ...]
    cwd: str | None = None
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    gpus: tuple[GpuRef, ...] = ()
    num_processes: int = 0
    time_limit: float | None = None


class WantRun(Message, frozen=True, kw_only=True):
    """This run shall live. From: Scheduler. To: ProcessKeeper (or a worker).

    Answered by events: AttemptStarted, AttemptExited. `started` tells that the store already knows it to have
    lived: then an unknown run is not started but reported lost. Repeat: by fence; a known run is not started
    again, a known end is reported again.
    """

    run: RunSpec
    started: bool = False


class WantStop(Message, frozen=True, kw_only=True):
    """This run shall end: CONT, TERM, grace, KILL, sweep. From: Scheduler. To: ProcessKeeper.

    `run` as in WantRun's fence; an unknown fence that never started is reported as exited, never started.
    `reason` in words ("cancelled by owner"). Repeat: harmless.
    """

    fence: int
    reason: str = ""


class ForgetRun(Message, frozen=True, kw_only=True):
    """The end of this run is durable: stop reporting it; keep its log. From: Scheduler. To: ProcessKeeper.

    Repeat: harmless.
    """

    fence: int


class PurgeRuns(Message, frozen=True, kw_only=True):
    """Delete the folders and logs of these ended runs. From: Scheduler. To: ProcessKeeper. Repeat: harmless."""

    fences: tuple[int, ...]


class WantedComplete(Message, frozen=True, kw_only=True):
    """All live attempts of the store have been wanted: a run that was adopted but not wanted is an orphan (it keeps
    running and is reported, never stopped). From: Scheduler. To: ProcessKeeper, after a rebuild. Repeat: harmless."""

    fences: tuple[int, ...]


class WatchGpus(Message, frozen=True, kw_only=True):
    """Tell GpuFacts on every change from now on, and once at once. From: Scheduler. To: LocalGPUAllocator.

    Repeat: harmless.
    """


class WatchRelease(Message, frozen=True, kw_only=True):
    """The run `fence` ended: say GpuEmptied as soon as these GPUs are empty; after 60 s quarantine them.

    Answered by GpuEmptied, maybe in parts. Sent for simulated GPUs too, whose load it ends.

    From: Scheduler. To: LocalGPUAllocator. Repeat: by fence, harmless (asked again after the answer, it is answered
    again).
    """

    fence: int
    uuids: tuple[str, ...]


class WatchStart(Message, frozen=True, kw_only=True):
    """The run `fence` starts on these GPUs: look again in 5 s for foreign processes. From: Scheduler.

    Sent for every live run after a rebuild too: the allocator learns whose the GPUs are, and shows their load.

    To: LocalGPUAllocator. Answered by ForeignSeen only when there is one. Repeat: by fence, harmless.
    """

    fence: int
    uuids: tuple[str, ...]


class SetGpuAside(Message, frozen=True, kw_only=True):
    """Exclude or clear a GPU by hand (also lifts a quarantine). From: Frontend. To: LocalGPUAllocator. Reply: True.

    Repeat: harmless.
    """

    uuid: str
    action: Literal["exclude", "include", "clear"]


class Publish(Message, frozen=True, kw_only=True):
    """Durable events for all who watch. From: Scheduler. To: the link that serves Frontends. Repeat: by event id."""

    events: tuple[Any, ...] = ()
    revision: int = 0


class ListProviders(Message, frozen=True, kw_only=True):
    """From: Frontend. To: CloudDispatcher. Reply: list of ProviderView. Repeat: harmless."""


class ListWorkers(Message, frozen=True, kw_only=True):
    """From: Frontend. To: WorkerRegistry. Reply: list of WorkerView. Repeat: harmless."""


class GetActorStats(Message, frozen=True, kw_only=True):
    """Mailbox depths and commit times of the supervisor process. From: Frontend. To: the link. Reply: ActorStats.

    Repeat: harmless."""
