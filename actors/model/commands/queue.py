"""What the edges ask of the Scheduler."""

from __future__ import annotations

from gpuyard.actors.model.job import JobSpec
from gpuyard.actors.model.limits import LimitValue
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import OWNER, Viewer


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


class ProcessQueue(Message, frozen=True, kw_only=True):
    """Lift `processing_held` and start what may start. From: Frontend. To: Scheduler. Reply: QueueProcessed.

    Errors: NotAllowed (admin). Repeat: harmless.
    """

    by: Viewer = OWNER


class PauseQueue(Message, frozen=True, kw_only=True):
    """Nothing starts at these targets until they are resumed; runs go on. From: Frontend. To: Scheduler.

    `targets` are of local, worker and cloud, all of them where none is named. Reply: QueuePauses. Errors: NotAllowed
    (admin), InvalidInput. Repeat: harmless.
    """

    targets: tuple[str, ...] = ()
    by: Viewer = OWNER


class ResumeQueue(Message, frozen=True, kw_only=True):
    """End pauses and process the queue. From: Frontend. To: Scheduler. Reply: QueuePauses.

    `targets` as in PauseQueue. Errors: NotAllowed (admin), InvalidInput. Repeat: harmless.
    """

    targets: tuple[str, ...] = ()
    by: Viewer = OWNER


class SetLimits(Message, frozen=True, kw_only=True):
    """Change limits; durable before the answer. From: Frontend. To: Scheduler. Reply: Limits.

    Errors: InvalidInput, NotAllowed (admin). Repeat: harmless.
    """

    changes: dict[str, LimitValue]
    by: Viewer = OWNER


class CleanUp(Message, frozen=True, kw_only=True):
    """Delete terminal jobs that ended more than `days` days ago, in steps of a commit each. From: Frontend.
    To: Scheduler.

    Reply: JobsDeleted. Errors: NotAllowed (admin), InvalidInput. Repeat: deletes what is left.
    """

    days: int
    by: Viewer = OWNER


class DeleteJob(Message, frozen=True, kw_only=True):
    """Delete one terminal job with its attempts and logs. From: Frontend. To: Scheduler. Reply: JobsDeleted.

    `user_id` is whose it is, for the story. Errors: NotFound, NotAllowed, WrongState (not terminal). Repeat: NotFound.
    """

    job_id: str
    user_id: int | None = None
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
