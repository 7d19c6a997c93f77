"""Changes by hand: priority, hold and release, limits, processing, delete and cleanup (approvals: `reviews`)."""

from __future__ import annotations

import msgspec

from gpuyard.actors.model import names, orphan_news, policy
from gpuyard.actors.model.cancel import own_job, visible_job
from gpuyard.actors.model.commands import (
    CleanUp,
    DeleteJob,
    HoldJob,
    ProcessQueue,
    PurgeRuns,
    ReleaseJob,
    SetLimits,
    SetPriority,
    TellPeer,
)
from gpuyard.actors.model.commit import Deleted, DeleteFinished, DeleteJobRow, PutSetting
from gpuyard.actors.model.errors import InvalidInput, NotAllowed, NotFound, WrongState
from gpuyard.actors.model.job import Job, Status
from gpuyard.actors.model.limits import Limits, changed
from gpuyard.actors.model.outbox import Now, Outbox
from gpuyard.actors.model.people import Viewer
from gpuyard.actors.model.submit import check_priority
from gpuyard.actors.model.views import JobChanged, JobsDeleted, PriorityChanged, QueueProcessed
from gpuyard.actors.model.yard import LIMITS_SETTING, Yard

DAY = 86_400.0
CLEANUP_DAYS = (1, 365)
# Jobs that go in one commit: some 20 ms of the store's time.
CLEANUP_STEP = 500


def set_priority(yard: Yard, command: SetPriority, now: Now, out: Outbox) -> PriorityChanged:
    """Raises NotActive, NotAllowed, InvalidInput, WrongState (running)."""
    job = visible_job(yard, command.job_id, command.by)
    check_priority(0 if command.priority is None else command.priority, command.by)
    if job.status is Status.RUNNING:
        raise WrongState(f"job {job.job_id} is running: its priority decides nothing any more", status="running")
    before = yard.effective(job, now)
    yard.change(job, out, priority_override=command.priority)
    after = yard.effective(job, now)
    out.row(yard.event(out, now, "priority_changed", job, command.by, before=before, after=after))
    policy.process(yard, now, out)
    return PriorityChanged(
        job_id=job.job_id,
        previous_effective_priority=before,
        new_effective_priority=after,
        priority_override=command.priority,
    )


def hold(yard: Yard, command: HoldJob, now: Now, out: Outbox) -> JobChanged:
    """Raises NotActive, NotAllowed, WrongState (running)."""
    job = _waiting(yard, command.job_id, command.by, "held")
    if not job.held:
        yard.change(job, out, held=True)
        out.row(yard.event(out, now, "job_held", job, command.by))
        # It may have kept GPUs from others.
        policy.start_what_may(yard, now, out)
    return _changed(yard, job)


def release(yard: Yard, command: ReleaseJob, now: Now, out: Outbox) -> JobChanged:
    """It was held, or may run on a worker that is not heard: whoever releases it knows that it does not.

    Raises NotActive, NotAllowed, WrongState (running).
    """
    job = _waiting(yard, command.job_id, command.by, "released")
    cleared = orphan_news.clear(yard, job, now, out)
    if job.held or cleared:
        yard.change(job, out, held=False)
        out.row(yard.event(out, now, "job_released", job, command.by))
    policy.process(yard, now, out)
    return _changed(yard, job)


def set_limits(yard: Yard, command: SetLimits, now: Now, out: Outbox) -> Limits:
    """Persisted, then in force at once. Raises InvalidInput, NotAllowed."""
    _admin(command.by, "change limits")
    limits = changed(yard.limits, command.changes)
    yard.limits = limits
    out.row(PutSetting(LIMITS_SETTING, msgspec.to_builtins(limits)))
    out.row(yard.event(out, now, "limits_changed", by=command.by, changes=dict(command.changes)))
    yard.shapes.wake_all(now.wall)
    yard.watch_approvals()
    policy.process(yard, now, out)
    return limits


def process(yard: Yard, command: ProcessQueue, now: Now, out: Outbox) -> QueueProcessed:
    """Lift `processing_held` and start what may start. Raises NotAllowed."""
    _admin(command.by, "process the queue")
    job_ids = policy.process(yard, now, out)
    out.row(yard.event(out, now, "queue_processed", by=command.by, started=len(job_ids)))
    return QueueProcessed(job_ids=job_ids)


def delete(yard: Yard, command: DeleteJob, now: Now, out: Outbox) -> None:
    """Ask the store to delete one terminal job; `deleted` makes the answer. Raises WrongState, NotAllowed."""
    if command.job_id in yard.jobs:
        job = visible_job(yard, command.job_id, command.by)
        raise WrongState(f"job {job.job_id} is {job.status}: cancel it first", status=str(job.status))
    told = yard.event(out, now, "job_deleted", by=command.by)
    told = msgspec.structs.replace(told, job_id=command.job_id, user_id=command.user_id)
    out.row(DeleteJobRow(command.job_id, told))


def clean_up(yard: Yard, command: CleanUp, now: Now, out: Outbox) -> None:
    """Ask the store to delete some of what ended long ago; `deleted` tells what went, `more_to_clean` whether to ask
    again. Raises InvalidInput, NotAllowed."""
    _admin(command.by, "clean up")
    low, high = CLEANUP_DAYS
    if not low <= command.days <= high:
        raise InvalidInput(f"days must be from {low} to {high}", field="days")
    told = yard.event(out, now, "queue_cleaned", by=command.by, days=command.days)
    out.row(DeleteFinished(now.wall - command.days * DAY, CLEANUP_STEP, event=told))


def more_to_clean(result: Deleted) -> bool:
    """Was it a whole step? Then there may be more; commits of others find their place in between."""
    return len(result.job_ids) >= CLEANUP_STEP


def deleted(yard: Yard, result: Deleted, out: Outbox, job_id: str | None = None) -> JobsDeleted:
    """After the commit: counts follow, the logs go too. Raises NotFound, WrongState for a single job."""
    if job_id is not None and not result.found:
        raise NotFound(f"no job {job_id}", job_id=job_id)
    if job_id is not None and not result.terminal:
        raise WrongState(f"job {job_id} has not ended: cancel it first")
    for status, number in result.by_status.items():
        yard.counts[status] -= number
    _purge(result, out)
    return JobsDeleted(job_ids=list(result.job_ids))


def _purge(result: Deleted, out: Outbox) -> None:
    """The folders and logs go, here and on workers; one that is not connected now keeps its own."""
    here = tuple(fence for fence in result.fences if fence not in result.hosts)
    if here:
        out.tell(names.KEEPER, PurgeRuns(fences=here))
    for host in sorted(set(result.hosts.values())):
        there = tuple(fence for fence in result.fences if result.hosts.get(fence) == host)
        out.tell(names.GATEWAY, TellPeer(user_id=host, to=names.KEEPER, message=PurgeRuns(fences=there)))


def _waiting(yard: Yard, job_id: str, by: Viewer, verb: str) -> Job:
    job = own_job(yard, job_id, by)
    if job.status is Status.RUNNING:
        raise WrongState(f"job {job_id} is running: only waiting jobs can be {verb}", status="running")
    return job


def _admin(by: Viewer, verb: str) -> None:
    if not by.is_admin:
        raise NotAllowed(f"only an admin may {verb}")


def _changed(yard: Yard, job: Job) -> JobChanged:
    attempt = yard.attempt_of.get(job.job_id)
    return JobChanged(
        job_id=job.job_id,
        status=job.status,
        phase=attempt.phase if attempt is not None else None,
        processing_held=yard.processing_held,
    )
