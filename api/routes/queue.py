"""The queue: what waits and runs, in which order, why; and what may be done to a job that waits."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from gpuyard.actors.model import bounds, estimate, names
from gpuyard.actors.model.commands import (
    ApproveJob,
    CancelJob,
    CleanUp,
    GetMyQueue,
    GetPosition,
    GetQueue,
    GetRunTimes,
    GetStats,
    HoldJob,
    ListJobs,
    PauseQueue,
    ProcessQueue,
    RejectJob,
    ReleaseJob,
    ResumeQueue,
    SetPriority,
)
from gpuyard.actors.model.errors import InvalidInput, NotActive
from gpuyard.actors.model.job import ACTIVE, TERMINAL, Status
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import Viewer
from gpuyard.actors.model.views import (
    Entry,
    Forecast,
    HistoryPage,
    JobChanged,
    JobsDeleted,
    MyQueue,
    PositionView,
    PriorityChanged,
    QueuePage,
    QueuePauses,
    QueueProcessed,
    Stats,
)
from gpuyard.api import lookup
from gpuyard.api.answers import Changed, CleanedUp, Pauses, Position, Processed, QueueList, QueueStats, Reprioritised
from gpuyard.api.core import Core
from gpuyard.api.deps import CoreDep, ViewerDep
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse
from gpuyard.api.routes.params import JobId, Offset, StatusFilter, UserId, statuses
from gpuyard.api.schemas.requests import PriorityBody, TargetsBody

router = APIRouter(prefix="/api/queue", tags=["queue"])

Why = Annotated[str | None, Query(max_length=bounds.MAX_NAME, description="Why, for the record.")]


@router.get("", operation_id="list_queue", responses=answer("list_queue", QueueList))
async def list_queue(
    core: CoreDep,
    viewer: ViewerDep,
    status: StatusFilter = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    offset: Offset = 0,
    include_completed: bool = False,
) -> Response:
    """Running jobs, then pending ones by position, then blocked; finished ones, newest first, only when asked for."""
    wanted = statuses(status)
    active = tuple(s for s in wanted if s in ACTIVE)
    finished = tuple(s for s in wanted if s in TERMINAL) or ((*sorted(TERMINAL),) if include_completed else ())
    if wanted:
        finished = tuple(s for s in finished if s in wanted)
    user_id = None if viewer.is_lead else viewer.user_id
    ask_active = bool(active) or not wanted
    page: QueuePage = await core.ask(
        names.SCHEDULER,
        GetQueue(
            statuses=active, user_id=user_id, limit=limit if ask_active else 0, offset=offset if ask_active else 0
        ),
    )
    entries, total = (list(page.entries), page.total) if ask_active else ([], 0)
    if finished:
        tail, more = await _finished(core, finished, user_id, limit - len(entries), max(0, offset - total))
        shown = {entry.job_id for entry in entries}
        entries += [entry for entry in tail if entry.job_id not in shown]
        total += more
    return JsonResponse(
        QueueList(entries=entries, total=total, total_pending=page.total_pending, total_running=page.total_running)
    )


async def _finished(
    core: Core, wanted: tuple[Status, ...], user_id: int | None, limit: int, offset: int
) -> tuple[list[Entry], int]:
    """The tail of the list: (entries, how many there are), newest first."""
    question = ListJobs(
        statuses=wanted, user_id=user_id, finished_only=True, limit=max(1, limit), offset=offset if limit > 0 else 0
    )
    page: HistoryPage = await core.ask(names.HISTORY, question)
    return [record.entry for record in page.records[: max(0, limit)]], page.total


@router.get("/stats", operation_id="queue_stats", responses=answer("queue_stats", QueueStats))
async def queue_stats(core: CoreDep, viewer: ViewerDep) -> Response:
    """Counts and limits. `queue_depth` and `running` are those of the cloud queue, see `local` and `workers`."""
    stats: Stats = await core.ask(names.SCHEDULER, GetStats())
    fields = msgspec.structs.asdict(stats)
    if not viewer.is_lead:  # who else is busy is not for everybody
        fields["by_user"] = {user: jobs for user, jobs in stats.by_user.items() if user == str(viewer.user_id)}
    limits = msgspec.structs.asdict(fields.pop("limits"))
    return JsonResponse(QueueStats(**fields, **limits))


@router.get("/me", operation_id="my_queue", responses=answer("my_queue", MyQueue))
async def my_queue(core: CoreDep, viewer: ViewerDep) -> Response:
    """Your jobs, and the best position among them."""
    return JsonResponse(await core.ask(names.SCHEDULER, GetMyQueue(user_id=viewer.user_id)))


@router.get("/user/{user_id}", operation_id="user_queue", responses=answer("user_queue", MyQueue))
async def user_queue(core: CoreDep, user_id: UserId) -> Response:
    """One user's jobs, for leads and admins."""
    return JsonResponse(await core.ask(names.SCHEDULER, GetMyQueue(user_id=user_id)))


@router.get("/position/{job_id}", operation_id="queue_position", responses=answer("queue_position", Position))
async def queue_position(core: CoreDep, viewer: ViewerDep, job_id: JobId) -> Response:
    """Where a job stands, why it waits, and when it may start. `position` is null for a job that does not wait."""
    try:
        view: PositionView = await core.ask(names.SCHEDULER, GetPosition(job_id=lookup.check_id(job_id), by=viewer))
    except NotActive:
        entry = (await lookup.stored(core, viewer, job_id)).entry
        if entry.status in TERMINAL or entry.job_id == job_id:
            return JsonResponse(_position_of_ended(entry))
        view = await core.ask(
            names.SCHEDULER, GetPosition(job_id=entry.job_id, by=viewer)
        )  # a prefix of an active job's id
    low, likely, high = await _wait(core, view.forecast)
    return JsonResponse(
        Position(
            job_id=view.job_id,
            position=view.position,
            status=view.status,
            priority=view.priority,
            queued_at=view.queued_at,
            estimated_wait_seconds=likely,
            estimated_wait_low=low,
            estimated_wait_high=high,
            reasons=view.reasons,
        )
    )


def _position_of_ended(entry: Entry) -> Position:
    return Position(
        job_id=entry.job_id,
        position=None,
        status=entry.status,
        priority=entry.effective_priority,
        queued_at=entry.queued_at,
        estimated_wait_seconds=None,
        estimated_wait_low=None,
        estimated_wait_high=None,
        reasons=[],
    )


async def _wait(core: Core, forecast: Forecast | None) -> tuple[float | None, float | None, float | None]:
    if forecast is None or forecast.ahead is None:
        return None, None, None
    configs = {config for _, _, config, _ in forecast.running} | {config for _, config, _ in forecast.ahead}
    wanted = tuple(sorted(config for config in configs if config is not None))
    times: dict[str, list[float]] = await core.ask(names.HISTORY, GetRunTimes(config_names=wanted)) if wanted else {}
    found = estimate.forecast(forecast, times)
    if found is None:
        return None, None, None
    low, likely, high = (round(seconds, 1) for seconds in found)
    return low, likely, high


@router.post("/{job_id}/cancel", operation_id="cancel_waiting_job", responses=answer("cancel_waiting_job", Changed))
async def cancel_waiting_job(core: CoreDep, viewer: ViewerDep, job_id: JobId) -> Response:
    """Cancel a job that has not started. One that runs is cancelled by POST /api/jobs/{id}/cancel."""
    return await _change(core, viewer, job_id, CancelJob(job_id=job_id, by=viewer, waiting_only=True))


@router.post("/{job_id}/approve", operation_id="approve_job", responses=answer("approve_job", Changed))
async def approve_job(core: CoreDep, viewer: ViewerDep, job_id: JobId, reason: Why = None) -> Response:
    """Let a blocked job into the queue (admins; leads where its approval says so)."""
    words = "" if reason is None else _words(reason)
    return await _change(core, viewer, job_id, ApproveJob(job_id=job_id, reason=words, by=viewer))


@router.post("/{job_id}/reject", operation_id="reject_job", responses=answer("reject_job", Changed))
async def reject_job(
    core: CoreDep,
    viewer: ViewerDep,
    job_id: JobId,
    reason: Annotated[str, Query(min_length=1, max_length=bounds.MAX_NAME)],
) -> Response:
    """Refuse a blocked job; it fails with "Rejected: …". Who may is as for approving."""
    return await _change(core, viewer, job_id, RejectJob(job_id=job_id, reason=_words(reason), by=viewer))


def _words(reason: str) -> str:
    try:
        return bounds.name(reason)
    except ValueError as error:
        raise InvalidInput(f"reason {error}", field="reason") from None


@router.post("/{job_id}/priority", operation_id="set_priority", responses=answer("set_priority", Reprioritised))
async def set_priority(core: CoreDep, viewer: ViewerDep, job_id: JobId, body: PriorityBody) -> Response:
    """Override a waiting job's priority (0 to 50, from 40 on for admins); null goes back to its level's."""
    message = SetPriority(job_id=job_id, priority=body.priority, by=viewer)
    done: PriorityChanged = await lookup.act(core, viewer, job_id, message)
    return JsonResponse(Reprioritised(**msgspec.structs.asdict(done)))


@router.post("/{job_id}/hold", operation_id="hold_job", responses=answer("hold_job", Changed))
async def hold_job(core: CoreDep, viewer: ViewerDep, job_id: JobId) -> Response:
    """Keep a waiting job from starting until it is released."""
    return await _change(core, viewer, job_id, HoldJob(job_id=job_id, by=viewer))


@router.post("/{job_id}/release", operation_id="release_job", responses=answer("release_job", Changed))
async def release_job(core: CoreDep, viewer: ViewerDep, job_id: JobId) -> Response:
    """Undo a hold."""
    return await _change(core, viewer, job_id, ReleaseJob(job_id=job_id, by=viewer))


async def _change(core: Core, viewer: Viewer, job_id: str, message: Message) -> Response:
    done: JobChanged = await lookup.act(core, viewer, job_id, message)
    return JsonResponse(Changed(**msgspec.structs.asdict(done)))


@router.post("/pause", operation_id="pause_queue", responses=answer("pause_queue", Pauses))
async def pause_queue(core: CoreDep, viewer: ViewerDep, body: TargetsBody | None = None) -> Response:
    """Let nothing start at these targets (all by default) until they are resumed, over restarts too; runs go on."""
    targets = tuple((body or TargetsBody()).targets)
    done: QueuePauses = await core.ask(names.SCHEDULER, PauseQueue(targets=targets, by=viewer))
    return JsonResponse(Pauses(paused=done.paused, dispatched=0, job_ids=[]))


@router.post("/resume", operation_id="resume_queue", responses=answer("resume_queue", Pauses))
async def resume_queue(core: CoreDep, viewer: ViewerDep, body: TargetsBody | None = None) -> Response:
    """End pauses (all by default), and start what may start now."""
    targets = tuple((body or TargetsBody()).targets)
    done: QueuePauses = await core.ask(names.SCHEDULER, ResumeQueue(targets=targets, by=viewer))
    return JsonResponse(Pauses(paused=done.paused, dispatched=len(done.job_ids), job_ids=done.job_ids))


@router.post("/process", operation_id="process_queue", responses=answer("process_queue", Processed))
async def process_queue(core: CoreDep, viewer: ViewerDep) -> Response:
    """Start what may start now, also after a cancel held the queue."""
    done: QueueProcessed = await core.ask(names.SCHEDULER, ProcessQueue(by=viewer))
    return JsonResponse(Processed(dispatched=len(done.job_ids), job_ids=done.job_ids))


@router.post("/cleanup", operation_id="clean_up_queue", responses=answer("clean_up_queue", CleanedUp))
async def clean_up_queue(core: CoreDep, viewer: ViewerDep, days: Annotated[int, Query(ge=1, le=365)] = 30) -> Response:
    """Delete jobs that ended longer ago than this, with their attempts and logs. Active jobs are never touched."""
    done: JobsDeleted = await core.ask(names.SCHEDULER, CleanUp(days=days, by=viewer), timeout=60.0)
    return JsonResponse(CleanedUp(deleted=len(done.job_ids), days=days))
