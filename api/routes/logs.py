"""The log of a job: a piece of it, or a stream that ends with the job."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from gpuyard.actors.model.errors import InvalidInput, NotFound
from gpuyard.actors.model.progress import progress_of
from gpuyard.actors.model.views import AttemptView, JobRecord
from gpuyard.api import logs, lookup
from gpuyard.api.answers import JobProgress, Logs
from gpuyard.api.deps import CoreDep, StreamsDep, ViewerDep
from gpuyard.api.responses import JsonResponse
from gpuyard.api.routes.params import JobId
from gpuyard.api.routes.twice import job_route
from gpuyard.api.sse import EventStream

router = APIRouter(tags=["jobs"])

Attempt = Annotated[int | None, Query(ge=1, le=1_000_000, description="Which attempt, from 1.")]
Tail = Annotated[int | None, Query(ge=0, le=1_000_000, description="Only the last lines.")]
Before = Annotated[int | None, Query(ge=0, le=2**53, description="Only what stands before this byte: 64 KiB at most.")]
Offset = Annotated[int | None, Query(ge=0, le=2**53, description="Go on behind this byte, as with Last-Event-ID.")]

STREAM = """retry: 1000

id: 21
data: step 100 loss 0.113

event: done
data: completed
"""


@job_route(router, "GET", "/{job_id}/logs", "read_log", Logs)
async def read_log(
    core: CoreDep, viewer: ViewerDep, job_id: JobId, tail: Tail = None, attempt: Attempt = None, before: Before = None
) -> Response:
    """The end of the log of the last attempt, or of the one asked for: 64 KiB, or `tail` lines.

    With `before` the piece in front of that byte instead: to page back through a long log.
    """
    record = await lookup.stored(core, viewer, job_id)
    found = _attempt(record, attempt)
    data, offset, size = b"", 0, 0
    if found is not None and before is not None:
        data, offset, size = await logs.before(core, found, before)
    elif found is not None:
        data, offset, size = await logs.tail(core, found, tail)
    return JsonResponse(
        Logs(
            job_id=record.entry.job_id,
            logs=data.decode("utf-8", "replace"),
            attempt=found.number if found is not None else None,
            offset=offset,
            size=size,
        )
    )


@job_route(router, "GET", "/{job_id}/progress", "job_progress", JobProgress)
async def job_progress(core: CoreDep, viewer: ViewerDep, job_id: JobId) -> Response:
    """How far the last attempt is, read from the end of its log: `step 120/400 loss 2.53`, `45%|████ | 120/400`, …"""
    record = await lookup.stored(core, viewer, job_id)
    found = _attempt(record, None)
    text = (await logs.tail(core, found, None))[0].decode("utf-8", "replace") if found is not None else ""
    said = progress_of(text)
    return JsonResponse(
        JobProgress(
            job_id=record.entry.job_id,
            share=said.share if said is not None else None,
            text=said.text[:500] if said is not None else None,
            loss=said.loss if said is not None else None,
        )
    )


def _attempt(record: JobRecord, number: int | None) -> AttemptView | None:
    """The attempt that is asked for; None when there is none yet. Raises NotFound for a number that never was."""
    if number is None:
        return record.attempts[-1] if record.attempts else None
    for one in record.attempts:
        if one.number == number:
            return one
    raise NotFound(f"job {record.entry.job_id} has no attempt {number}")


@job_route(
    router,
    "GET",
    "/{job_id}/logs/stream",
    "follow_log",
    response_class=Response,
    responses={200: {"description": "a stream", "content": {"text/event-stream": {"example": STREAM}}}},
)
async def follow_log(
    core: CoreDep,
    viewer: ViewerDep,
    streams: StreamsDep,
    job_id: JobId,
    attempt: Attempt = None,
    tail: Tail = None,
    offset: Offset = None,
    last_event_id: Annotated[str, Header(max_length=64)] = "",
) -> Response:
    """Follow the log as server-sent events, all attempts one behind the other, from the start or the last `tail` lines.

    Each event's id is the byte offset behind its line; `Last-Event-ID` goes on there, and where that is not sent
    `offset`. The end of the job is `event: done` with its status.
    """
    record = await lookup.stored(core, viewer, job_id)
    if attempt is not None:
        _attempt(record, attempt)
    follower = logs.Follower(core, viewer, record, attempt)
    after = _offset(last_event_id)
    if after is None:
        after = offset
    if after is None:
        # Before the answer begins: what is written from then on is new to whoever asked.
        after = await follower.start_of_tail(tail) if tail is not None else 0
    return EventStream(streams, follower.frames(after))


def _offset(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidInput("Last-Event-ID must be a byte offset", field="Last-Event-ID")
    return int(text)
