"""Cancel: the intent is durable first; a running job is `cancelled` only when no process of it is left.

A cancel of a running local or worker job releases but starts nothing, so that a bulk cancel cannot be outrun
(requirement "Cancellation behavior", DESIGN 6).
"""

from __future__ import annotations

from gpuyard.actors.model.approvals import Decision
from gpuyard.actors.model.attempt import AttemptEvent
from gpuyard.actors.model.commands import CancelJob, CancelJobs, WantStop
from gpuyard.actors.model.errors import GpuyardError, InvalidInput, NotActive, NotAllowed, WrongState
from gpuyard.actors.model.job import ACTIVE, ALIASES, Job, JobEvent, Status
from gpuyard.actors.model.orders import driver_of
from gpuyard.actors.model.outbox import Now, Outbox
from gpuyard.actors.model.people import Viewer
from gpuyard.actors.model.runs import holds_back
from gpuyard.actors.model.views import JobChanged, JobsCancelled
from gpuyard.actors.model.yard import Yard


def visible_job(yard: Yard, job_id: str, by: Viewer) -> Job:
    """The active job, if `by` may see it; to others it does not exist. Raises NotActive."""
    job = yard.jobs.get(job_id)
    if job is None or not by.may_see(job.user_id):
        raise NotActive(f"no active job {job_id}", job_id=job_id)
    return job


def own_job(yard: Yard, job_id: str, by: Viewer) -> Job:
    """The active job, if `by` may act on it. Raises NotActive, NotAllowed."""
    job = visible_job(yard, job_id, by)
    if not by.may_act(job.user_id):
        raise NotAllowed(f"job {job_id} belongs to another user: only that user or an admin may do this")
    return job


def cancel_one(yard: Yard, command: CancelJob, now: Now, out: Outbox) -> JobChanged:
    """Cancel one job. Raises NotActive, NotAllowed, WrongState; then nothing changed."""
    job = own_job(yard, command.job_id, command.by)
    if command.waiting_only and job.status is Status.RUNNING:
        raise WrongState(
            f"job {job.job_id} has started: cancel it with POST /api/jobs/{job.job_id}/cancel", status=str(job.status)
        )
    _cancel(yard, job, command.by, now, out)
    attempt = yard.attempt_of.get(job.job_id)
    return JobChanged(
        job_id=job.job_id,
        status=job.status,
        phase=attempt.phase if attempt is not None else None,
        processing_held=yard.processing_held,
    )


def cancel_many(yard: Yard, command: CancelJobs, now: Now, out: Outbox) -> JobsCancelled:
    """Cancel what is selected, waiting jobs first; what cannot be is listed with its reason."""
    chosen, failed = _selected(yard, command)
    cancelled: list[str] = []
    for job in sorted(chosen, key=lambda job: job.status is Status.RUNNING):
        _cancel(yard, job, command.by, now, out)
        cancelled.append(job.job_id)
    return JobsCancelled(
        cancelled=cancelled,
        failed=failed,
        still_pending=len(yard.order),
        processing_held=yard.processing_held,
    )


def _selected(yard: Yard, command: CancelJobs) -> tuple[list[Job], list[tuple[str, str]]]:
    by = command.by
    if sum((command.everything, bool(command.statuses), bool(command.job_ids))) != 1:
        raise InvalidInput("select jobs by exactly one of all, status, job_ids")
    if command.all_users and not by.is_admin:
        raise NotAllowed("only an admin cancels everybody's jobs")
    if command.job_ids:
        found: list[Job] = []
        failed: list[tuple[str, str]] = []
        for job_id in dict.fromkeys(command.job_ids):
            try:
                found.append(own_job(yard, job_id, by))
            except GpuyardError as error:
                failed.append((job_id, error.detail))
        return found, failed
    wanted = ACTIVE if command.everything else {_status(text) for text in command.statuses}
    everybody = command.all_users or (not command.everything and by.is_admin)
    jobs = yard.jobs.values() if everybody else yard.active_by_user.get(by.user_id, {}).values()
    return [job for job in jobs if job.status in wanted], []


def _status(text: str) -> Status:
    try:
        status = ALIASES.get(text) or Status(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is not a status", field="status") from None
    if status not in ACTIVE:
        raise InvalidInput(f"{text} jobs have ended: nothing to cancel", field="status")
    return status


def _cancel(yard: Yard, job: Job, by: Viewer, now: Now, out: Outbox) -> None:
    words = f"cancelled by {by.username}"
    if job.status is not Status.RUNNING:
        if job.status is Status.BLOCKED:
            yard.book.close(job.approval_id, Decision.CANCELLED, now, out, by.username)
        yard.change(job, out, JobEvent.CANCELLED, completed_at=now.wall, exit_class="cancelled", error_message=words)
        out.row(yard.event(out, now, "job_cancelled", job, by))
        return
    if not job.cancel_requested:
        attempt = yard.attempt_of[job.job_id]
        yard.change(job, out, cancel_requested=True)
        yard.step_attempt(attempt, AttemptEvent.STOP_ASKED, out, stop_reason=words)
        out.row(yard.event(out, now, "job_stopping", job, by, attempt=attempt.number))
        stop = WantStop(fence=attempt.fence, host=attempt.host, reason=words, cause=out.cause)
        out.tell(driver_of(attempt.host), stop)
        if holds_back(job):
            yard.processing_held, yard.held_since = True, now.wall
