"""What charts are drawn from: the queue and the GPUs over the last hours."""

from __future__ import annotations

import time
from bisect import bisect_left
from math import ceil
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from gpuyard.actors.model import names
from gpuyard.actors.model.clock import iso
from gpuyard.actors.model.commands import GetTimeline, GetWaits
from gpuyard.actors.model.people import Viewer
from gpuyard.actors.model.views import TimelineSpan
from gpuyard.api.answers_charts import (
    GpuHistory,
    GpuMoment,
    GpuSeries,
    QueueHistory,
    QueueMoment,
    Span,
    Timeline,
    WaitBucket,
    Waits,
)
from gpuyard.api.deps import CoreDep, ViewerDep
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse
from gpuyard.api.samples import EVERY_SECONDS, KEPT_HOURS, Samples

router = APIRouter(tags=["charts"])

WAIT_EDGES: Final = (1.0, 10.0, 60.0, 300.0, 1_800.0, 3_600.0, 14_400.0, 86_400.0)

Hours = Annotated[float, Query(gt=0, le=168, description="How far back.")]


@router.get("/api/queue/history", operation_id="queue_history", responses=answer("queue_history", QueueHistory))
async def queue_history(request: Request, hours: Hours = KEPT_HOURS) -> Response:
    """How many jobs waited and ran, and how many GPUs were in use, every few seconds since the Frontend's start."""
    samples: Samples = request.app.state.samples
    since = time.time() - hours * 3600
    moments = [
        QueueMoment(
            at=iso(one.at),
            pending=one.pending,
            running=one.running,
            gpus_used=one.gpus_used,
            gpus_total=one.gpus_total,
        )
        for one in samples.queue
        if one.at >= since
    ]
    return JsonResponse(QueueHistory(every_seconds=EVERY_SECONDS, samples=moments))


@router.get("/api/queue/waits", operation_id="queue_waits", responses=answer("queue_waits", Waits))
async def queue_waits(core: CoreDep) -> Response:
    """How long jobs wait: the middle, the slow ones, and how they spread."""
    seconds = sorted(await core.ask(names.HISTORY, GetWaits()))
    edges = [*WAIT_EDGES, None]
    counts = [0] * len(edges)
    for wait in seconds:
        counts[bisect_left(WAIT_EDGES, wait)] += 1
    return JsonResponse(
        Waits(
            jobs=len(seconds),
            p50_seconds=_quantile(seconds, 0.5),
            p95_seconds=_quantile(seconds, 0.95),
            longest_seconds=_quantile(seconds, 1.0),
            buckets=[WaitBucket(up_to_seconds=edge, jobs=count) for edge, count in zip(edges, counts, strict=True)],
        )
    )


def _quantile(ordered: list[float], part: float) -> float | None:
    """By nearest rank.

    >>> [_quantile([1.0, 2.0, 3.0, 4.0], part) for part in (0.5, 0.95, 1.0)], _quantile([], 0.5)
    ([2.0, 4.0, 4.0], None)
    """
    return round(ordered[max(0, ceil(part * len(ordered)) - 1)], 3) if ordered else None


@router.get("/api/gpus/history", operation_id="gpu_history", responses=answer("gpu_history", GpuHistory))
async def gpu_history(
    request: Request,
    hours: Hours = KEPT_HOURS,
    gpu: Annotated[list[str] | None, Query(max_length=64, description="Only these UUIDs.")] = None,
) -> Response:
    """Load and memory of the GPUs, every few seconds since the Frontend's start."""
    samples: Samples = request.app.state.samples
    since = time.time() - hours * 3600
    series = [
        GpuSeries(
            uuid=uuid,
            host=host,
            samples=[
                GpuMoment(at=iso(one.at), utilization=one.utilization, memory_used_gb=round(one.memory_used / 2**30, 2))
                for one in moments
                if one.at >= since
            ],
        )
        for (host, uuid), moments in samples.gpus.items()
        if gpu is None or uuid in gpu
    ]
    return JsonResponse(GpuHistory(every_seconds=EVERY_SECONDS, gpus=series))


@router.get("/api/gpus/timeline", operation_id="gpu_timeline", responses=answer("gpu_timeline", Timeline))
async def gpu_timeline(core: CoreDep, viewer: ViewerDep, hours: Hours = KEPT_HOURS) -> Response:
    """Which job had which GPU when, on all hosts. Others' jobs have no name for those who may not see them."""
    now = time.time()
    since = now - hours * 3600
    spans: list[TimelineSpan] = await core.ask(names.HISTORY, GetTimeline(since=since))
    return JsonResponse(Timeline(since=iso(since), until=iso(now), spans=[_span(viewer, span) for span in spans]))


def _span(viewer: Viewer, span: TimelineSpan) -> Span:
    seen = viewer.may_see(span.user_id)
    return Span(
        host=span.host,
        uuid=span.uuid,
        index=span.index,
        job_id=span.job_id if seen else None,
        title=span.title if seen else None,
        started_at=span.started_at,
        ended_at=span.ended_at,
        exit_class=span.exit_class if seen else None,
    )
