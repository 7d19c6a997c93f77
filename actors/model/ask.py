"""Questions about active jobs, answered from memory (DESIGN 3: "SQL answers history")."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from heapq import nsmallest
from operator import attrgetter

from gpuyard.actors.model import explain, forecasts
from gpuyard.actors.model.cancel import visible_job
from gpuyard.actors.model.clock import iso
from gpuyard.actors.model.commands import GetLive, GetLiveUsage, GetMyQueue, GetPosition, GetQueue, GetStats
from gpuyard.actors.model.entry import attempt_view, entry_of
from gpuyard.actors.model.gpu_words import state_words
from gpuyard.actors.model.hosts import BUSY, CONNECTING, DRAINING, IDLE, OFFLINE, Host
from gpuyard.actors.model.job import Job, Status
from gpuyard.actors.model.ledger import Ledger
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.reasons import Reason, ReasonCode
from gpuyard.actors.model.shapes import Pool, may_go_to_worker
from gpuyard.actors.model.usage import SKEW, LiveRun, place_of
from gpuyard.actors.model.views import (
    Entry,
    Forecast,
    GpuPage,
    GpuView,
    LiveJob,
    LocalStats,
    MyQueue,
    PositionView,
    QueuePage,
    Stats,
    WorkersStats,
)
from gpuyard.actors.model.yard import Yard

REASONS_SAMPLED = 200


def entry(yard: Yard, job: Job, now: Now) -> Entry:
    attempt = yard.attempt_of.get(job.job_id)
    host = yard.hosts.find(attempt.host) if attempt is not None else None
    return entry_of(
        job,
        attempt,
        effective=yard.effective(job, now),
        position=yard.position(job, now),
        reasons=explain.why(yard, job, now),
        unreachable=host is not None and attempt is not None and attempt.fence in host.fact.unreachable,
        worker_name=host.name if host is not None else None,
        progress=yard.clouds.progress.get(attempt.fence) if attempt is not None else None,
    )


def queue(yard: Yard, question: GetQueue, now: Now) -> QueuePage:
    """Running first (oldest start first), then pending by position, then blocked (oldest first)."""
    statuses = [Status(s) for s in question.statuses] or [Status.RUNNING, Status.PENDING, Status.BLOCKED]
    found: list[Job] = []
    total, skip, room = 0, question.offset, question.limit
    for status in (Status.RUNNING, Status.PENDING, Status.BLOCKED):
        if status not in statuses:
            continue
        size, part = _part(yard, status, question.user_id, skip, room, now)
        total += size
        found += part
        room -= len(part)
        skip = max(0, skip - size)
    mine = None if question.user_id is None else yard.active_by_user.get(question.user_id, {})
    return QueuePage(
        entries=[entry(yard, job, now) for job in found],
        total=total,
        total_pending=len(yard.order) if mine is None else _count(mine.values(), Status.PENDING),
        total_running=len(yard.attempt_of) if mine is None else _count(mine.values(), Status.RUNNING),
        revision=yard.revision,
    )


def _part(yard: Yard, status: Status, user_id: int | None, skip: int, room: int, now: Now) -> tuple[int, list[Job]]:
    """How many jobs of a status there are, and the page of them."""
    if status is Status.PENDING and user_id is None:
        page = yard.order.page(skip, room, now.wall, yard.limits.starvation_threshold_minutes) if room > 0 else []
        return len(yard.order), page
    jobs: Iterable[Job]
    if user_id is not None:
        jobs = yard.active_by_user.get(user_id, {}).values()
    elif status is Status.RUNNING:
        jobs = (yard.jobs[job_id] for job_id in yard.attempt_of)
    else:
        jobs = yard.jobs.values() if yard.counts[Status.BLOCKED] else ()
    chosen = [job for job in jobs if job.status is status]
    if status is Status.PENDING:
        chosen.sort(key=lambda job: yard.rank_key(job, now))
    elif status is Status.RUNNING:
        chosen.sort(key=lambda job: yard.attempt_of[job.job_id].fence)
    else:
        chosen.sort(key=lambda job: job.seq)
    return len(chosen), chosen[skip : skip + max(0, room)]


def live(yard: Yard, question: GetLive, now: Now) -> list[LiveJob]:
    found = []
    for job_id in question.job_ids:
        job = yard.jobs.get(job_id)
        if job is not None:
            attempt = yard.attempt_of.get(job_id)
            found.append(LiveJob(entry=entry(yard, job, now), attempt=attempt_view(attempt) if attempt else None))
    return found


def my_queue(yard: Yard, question: GetMyQueue, now: Now) -> MyQueue:
    """A user's jobs; the counts are exact, the lists hold the first 200 of each (CONTRACT limit)."""
    mine = yard.active_by_user.get(question.user_id, {}).values()
    running = [job for job in mine if job.status is Status.RUNNING]
    pending = [job for job in mine if job.status is Status.PENDING]
    shown = first_of(yard, pending, REASONS_SAMPLED, now)
    return MyQueue(
        pending_count=len(pending),
        running_count=len(running),
        blocked_count=_count(mine, Status.BLOCKED),
        best_position=yard.position(shown[0], now) if shown else None,
        pending_jobs=[entry(yard, job, now) for job in shown],
        running_jobs=[entry(yard, job, now) for job in running[:REASONS_SAMPLED]],
    )


def first_of(yard: Yard, pending: Iterable[Job], most: int, now: Now) -> list[Job]:
    """The first `most` of these waiting jobs in dispatch order. Within a level the older stands first (see `order`), so
    only the heads of the levels are compared: with 50,000 jobs of one person that is ten times less work."""
    levels: dict[tuple[int | None, int], list[Job]] = {}
    for job in pending:
        levels.setdefault((job.priority_override, job.priority), []).append(job)
    heads = [job for level in levels.values() for job in nsmallest(most, level, key=attrgetter("seq"))]
    return sorted(heads, key=lambda job: yard.rank_key(job, now))[:most]


def position(yard: Yard, question: GetPosition, now: Now) -> PositionView:
    job = visible_job(yard, question.job_id, question.by)
    place = yard.position(job, now)
    reasons = explain.why(yard, job, now)
    waits_for_ever = any(reason.never for reason in reasons)
    return PositionView(
        job_id=job.job_id,
        position=place,
        status=job.status,
        priority=yard.effective(job, now),
        queued_at=iso(job.queued_at),
        reasons=reasons,
        user_id=job.user_id,
        forecast=None
        if place is None or waits_for_ever or _waits_for_time(reasons)
        else _forecast(yard, job, place, now),
    )


def _waits_for_time(reasons: list[Reason]) -> bool:
    """Its start hangs on the clock, not on how long others run."""
    return any(reason.code in (ReasonCode.NOT_BEFORE, ReasonCode.WINDOW) for reason in reasons)


def _forecast(yard: Yard, job: Job, place: int, now: Now) -> Forecast | None:
    if may_go_to_worker(job) and len(yard.hosts):
        return forecasts.of_hosts(yard, job, place, now)
    return forecasts.of_pool(yard, job, place, now)


def live_usage(yard: Yard, question: GetLiveUsage, now: Now) -> list[LiveRun]:
    """Runs whose programs live, to be counted up to now."""
    found = []
    for job_id, attempt in yard.attempt_of.items():
        if attempt.started_at is not None:
            job = yard.jobs[job_id]
            found.append(
                LiveRun(
                    fence=attempt.fence,
                    user_id=job.user_id,
                    team_id=job.team_id or "",
                    place=place_of(attempt.host),
                    gpus=job.spec.num_processes,
                    started_at=max(attempt.started_at, attempt.assigned_at - SKEW),
                )
            )
    return found


def stats(yard: Yard, question: GetStats, now: Now) -> Stats:
    """`queue_depth` and `running` count cloud jobs, `local` local ones (requirement "Shows Wrong Count")."""
    ledger, running = yard.ledger, yard.running
    held = {yard.ledger.holds[uuid].index for uuid in ledger.holds}
    return Stats(
        queue_depth=yard.pending[Pool.CLOUD],
        running=len(running[Pool.CLOUD]),
        total_pending=len(yard.order),
        total_running=len(yard.attempt_of),
        by_status={str(status): number for status, number in sorted(yard.counts.items()) if number},
        by_user={str(user): len(jobs) for user, jobs in sorted(yard.active_by_user.items())},
        avg_wait_seconds=sum(yard.waits) / len(yard.waits) if yard.waits else None,
        processing_held=yard.processing_held,
        local=LocalStats(
            running_jobs=len(running[Pool.GPU]) + len(running[Pool.CPU]),
            pending_jobs=yard.pending[Pool.GPU] + yard.pending[Pool.CPU],
            cpu_running_jobs=len(running[Pool.CPU]),
            allocated_gpus=sorted(held),
            available_gpus=[gpu.index for gpu in ledger.free],
            total_gpus=len(ledger.known),
            max_concurrent_gpus=yard.limits.local_gpu_max_concurrent,
            max_concurrent_jobs=yard.limits.local_job_max_concurrent,
        ),
        workers=_workers(yard),
        limits=yard.limits,
        gpu_idle_seconds=round(yard.gpu_idle_seconds, 3),
        paused=sorted(yard.paused),
        pending_by_reason=_reasons_of_first(yard, now) if question.with_reasons else {},
    )


def _workers(yard: Yard) -> WorkersStats:
    states = Counter(host.fact.state for host in yard.hosts.all())
    return WorkersStats(
        total_workers=states.total(),
        idle_workers=states[IDLE],
        busy_workers=states[BUSY],
        offline_workers=states[OFFLINE],
        draining_workers=states[DRAINING],
        connecting_workers=states[CONNECTING],
        running_jobs=len(yard.running[Pool.WORKER]),
        pending_jobs=yard.pending[Pool.WORKER],
    )


def _reasons_of_first(yard: Yard, now: Now) -> dict[str, int]:
    """Main reasons of the first pending jobs: a sample, since reasons are computed when read."""
    first = yard.order.page(0, REASONS_SAMPLED, now.wall, yard.limits.starvation_threshold_minutes)
    return dict(Counter(str(explain.why(yard, job, now)[0].code) for job in first))


def gpus(yard: Yard) -> GpuPage:
    return GpuPage(
        backend=yard.ledger.backend,
        gpus=_gpu_views(yard, yard.ledger),
        remote=[view for host in yard.hosts.all() for view in _gpu_views(yard, host.ledger, host)],
        running_local_jobs=len(yard.running[Pool.GPU]) + len(yard.running[Pool.CPU]),
        error=yard.ledger.error,
    )


def _absence(host: Host | None) -> str | None:
    """Why nothing newer is known of a worker's GPUs."""
    if host is None or host.fact.state not in (OFFLINE, CONNECTING):
        return None
    return f"its worker is {host.fact.state}"


def _gpu_views(yard: Yard, ledger: Ledger, host: Host | None = None) -> list[GpuView]:
    """The GPUs of this machine, or of a worker; one that is silent shows what was last known."""
    views = []
    for fact in sorted(ledger.facts.values(), key=lambda fact: fact.index):
        state = ledger.state(fact.uuid)
        hold = ledger.holds.get(fact.uuid)
        attempt = yard.attempts.get(hold.fence) if hold is not None else None
        views.append(
            GpuView(
                fact=fact,
                state=state,
                job_id=attempt.job_id if attempt else None,
                reason=_absence(host) or state_words(fact, state, host.name if host else ""),
                worker_id=host.id if host else None,
                worker=host.name if host else None,
                worker_state=host.fact.state if host else None,
            )
        )
    return views


def _count(jobs: Iterable[Job], status: Status) -> int:
    return sum(job.status is status for job in jobs)
