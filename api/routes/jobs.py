"""Jobs, past and present: list, look closely, cancel, retry, delete, and their story."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from gpuyard.actors.model import bounds, names
from gpuyard.actors.model.commands import CancelJob, CancelJobs, DeleteJob, GetEvents, ListJobs, SubmitJob
from gpuyard.actors.model.errors import NotAllowed, WrongState
from gpuyard.actors.model.job import JobSpec, Status, Target
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.actors.model.views import HistoryPage, JobAccepted, JobChanged, JobRecord, JobRefused, JobsCancelled
from gpuyard.api import jobviews, lookup, submission
from gpuyard.api.answers import BulkCancelled, Changed, JobList, NotCancelled, OneJob, Removed, Story, Submitted
from gpuyard.api.core import Core
from gpuyard.api.deps import CoreDep, SettingsDep, ViewerDep
from gpuyard.api.responses import JsonResponse
from gpuyard.api.routes.approvals import asked_by_author
from gpuyard.api.routes.params import IdempotencyKey, JobId, Offset, StatusFilter, statuses
from gpuyard.api.routes.twice import job_route
from gpuyard.api.schemas.requests import CancelBody

router = APIRouter(tags=["jobs"])

RETRIED = frozenset({Status.FAILED, Status.CANCELLED})
MOST_EVENTS = 1_000


@job_route(router, "GET", "", "list_jobs", JobList)
async def list_jobs(
    core: CoreDep,
    viewer: ViewerDep,
    status: StatusFilter = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Offset = 0,
    user_id: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    target: Target | None = None,
    name: Annotated[str | None, Query(max_length=bounds.MAX_NAME)] = None,
    search: Annotated[
        str | None, Query(max_length=bounds.MAX_NAME, description="A piece of the id, name or config's name.")
    ] = None,
) -> Response:
    """All jobs, newest first; your own unless you are a lead or admin."""
    wanted = statuses(status)
    if user_id is not None and not viewer.may_see(user_id):
        raise NotAllowed("you see your own jobs only: ask a lead or an admin")
    if not viewer.is_lead:
        user_id = viewer.user_id
    question = ListJobs(
        statuses=wanted, user_id=user_id, target=target, name=name, search=search, limit=limit, offset=offset
    )
    page: HistoryPage = await core.ask(names.HISTORY, question)
    records = await lookup.refreshed(core, page.records)
    now = time.time()
    # Between the two looks a job may have moved on: a list by status shows none of another.
    jobs = [jobviews.job(record, now) for record in records if not wanted or record.entry.status in wanted]
    return JsonResponse(JobList(jobs=jobs, total=page.total))


@job_route(router, "POST", "/cancel", "cancel_jobs", BulkCancelled)
async def cancel_jobs(core: CoreDep, viewer: ViewerDep, body: CancelBody) -> Response:
    """Cancel many in one transaction; no waiting job starts meanwhile."""
    if body.all_users and not viewer.is_admin:
        raise NotAllowed("only an admin cancels everybody's jobs")
    message = CancelJobs(
        by=viewer,
        everything=bool(body.all),
        all_users=body.all_users,
        statuses=tuple(dict.fromkeys(body.status or ())),
        job_ids=tuple(dict.fromkeys(body.job_ids or ())),
    )
    done: JobsCancelled = await core.ask(names.SCHEDULER, message, timeout=60.0)
    return JsonResponse(
        BulkCancelled(
            cancelled=done.cancelled,
            failed=[NotCancelled(job_id=job_id, detail=detail) for job_id, detail in done.failed],
            still_pending=done.still_pending,
            processing_held=done.processing_held,
        )
    )


@job_route(router, "GET", "/{job_id}", "get_job", OneJob)
async def get_job(core: CoreDep, viewer: ViewerDep, job_id: JobId) -> Response:
    """One job with its attempts and events."""
    record = await lookup.current(core, viewer, job_id)
    return JsonResponse(OneJob(job=jobviews.job_with_story(record, time.time())))


@job_route(router, "POST", "/{job_id}/cancel", "cancel_job", Changed)
async def cancel_job(core: CoreDep, viewer: ViewerDep, job_id: JobId) -> Response:
    """Cancel a waiting or running job. Waits for nothing: a running one answers `stopping` and ends soon."""
    done: JobChanged = await lookup.act(core, viewer, job_id, CancelJob(job_id=job_id, by=viewer))
    return JsonResponse(Changed(**msgspec.structs.asdict(done)))


@job_route(router, "POST", "/{job_id}/retry", "retry_job", Submitted)
async def retry_job(
    core: CoreDep,
    viewer: ViewerDep,
    settings: SettingsDep,
    job_id: JobId,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Submit a failed or cancelled job again: a new job of the same spec, with the config as it was then."""
    record = await lookup.current(core, viewer, job_id)
    entry = record.entry
    if entry.status not in RETRIED:
        raise WrongState(f"job {entry.job_id} is {entry.status}: only failed and cancelled jobs are retried")
    if viewer.level < Level.RESEARCHER and entry.config_name is None:
        raise NotAllowed("a viewer submits existing configs only: this job ran a command")
    key = submission.check_key(idempotency_key)
    spec = await _again(core, viewer, record, settings.time_zone)
    if isinstance(spec, JobRefused):
        return JsonResponse(submission.submitted(spec))
    message = SubmitJob(
        spec=spec,
        by=viewer,
        team_id=entry.team_id if viewer.is_admin or entry.team_id == viewer.team_id else None,
        # What a rule asked for then is for the rules of today to ask for again.
        requires_approval=entry.requires_approval and await asked_by_author(core, entry.approval_id),
        retry_of=entry.job_id,
        idempotency_key=key,
        digest=submission.digest("retry", entry.job_id) if key is not None else "",
    )
    reply: JobAccepted | JobRefused = await core.ask(names.SCHEDULER, message)
    return JsonResponse(submission.submitted(reply))


async def _again(core: Core, viewer: Viewer, record: JobRecord, time_zone: str) -> submission.Wanted:
    """What the job asked for. Raises NotAllowed where the secrets of whoever retries it would go to somebody else's
    program."""
    spec = submission.in_zone(msgspec.convert(record.spec, JobSpec), time_zone)
    if spec.secrets and record.entry.user_id != viewer.user_id:
        raise NotAllowed("this job gets secrets of its owner: only its owner retries it")
    return await submission.with_secrets(core, spec, viewer)


@job_route(router, "DELETE", "/{job_id}", "delete_job", Removed)
async def delete_job(core: CoreDep, viewer: ViewerDep, job_id: JobId) -> Response:
    """Delete a job that has ended, with its attempts and logs."""
    record = await lookup.stored(core, viewer, job_id)
    job_id = record.entry.job_id
    await core.ask(names.SCHEDULER, DeleteJob(job_id=job_id, user_id=record.entry.user_id, by=viewer))
    return JsonResponse(Removed(job_id=job_id))


@job_route(router, "GET", "/{job_id}/events", "job_events", Story)
async def job_events(
    core: CoreDep,
    viewer: ViewerDep,
    job_id: JobId,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="Only events with a greater id.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = MOST_EVENTS,
) -> Response:
    """Every state change of the job, oldest first: who, when, why."""
    record = await lookup.stored(core, viewer, job_id)
    job_id = record.entry.job_id
    rows = await core.ask(names.HISTORY, GetEvents(job_id=job_id, after=after, limit=limit))
    return JsonResponse(Story(job_id=job_id, events=[jobviews.story_line(row) for row in rows]))
