"""GET /api/events: one stream of job, GPU, worker and limit events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetEvents, GetLastEvent
from gpuyard.actors.model.errors import InvalidInput
from gpuyard.actors.model.people import Viewer
from gpuyard.api.core import Core
from gpuyard.api.deps import CoreDep, HubDep, StreamsDep, ViewerDep
from gpuyard.api.hub import Hub, event_frame, may_see, resync
from gpuyard.api.sse import EventStream

router = APIRouter(tags=["events"])

PAGE = 1_000
# Who is further behind than this loads the state faster than it reads the story.
MOST_REPLAYED = 10_000

EXAMPLE = """retry: 2000

id: 812
event: job_started
data: {"id":812,"at":"2026-11-22T02:05:00.000Z","kind":"job_started","job_id":"3k9w2m7q1x0d","user_id":1,"by":"",\
"data":{},"cause":"9f2c51d07a3be846"}

event: queue_changed
data: {"revision":4711}
"""


def _event_id(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidInput("Last-Event-ID must be the number of an event", field="Last-Event-ID")
    return int(text)


@router.get(
    "/api/events",
    operation_id="follow_events",
    response_class=Response,
    responses={200: {"description": "a stream", "content": {"text/event-stream": {"example": EXAMPLE}}}},
)
async def events(
    core: CoreDep,
    viewer: ViewerDep,
    hub: HubDep,
    streams: StreamsDep,
    last_event_id: Annotated[str, Header(max_length=64)] = "",
) -> Response:
    """Follow what happens, as server-sent events; each viewer gets what it may see.

    `queue_changed` with the queue's revision stands for all moved positions; `settings_changed` says that people,
    tokens, rules or providers are others now. `Last-Event-ID` replays what was missed;
    when that is too old, or this client was too slow, `event: resync` says: load the state again.
    """
    after = _event_id(last_event_id)
    return EventStream(streams, _follow(core, hub, viewer, after))


async def _follow(core: Core, hub: Hub, viewer: Viewer, after: int | None) -> AsyncIterator[bytes]:
    """What was missed since `after`, then what comes. The subscription exists before the past is read, so that
    nothing falls between; what comes twice is left out by its id."""
    subscription = hub.subscribe(viewer)
    try:
        yield b"retry: 2000\n\n"
        seen = 0
        if after is not None:
            oldest, newest = await core.ask(names.HISTORY, GetLastEvent())
            seen = newest
            if after > newest or after + 1 < oldest or newest - after > MOST_REPLAYED:
                yield resync(newest)
            else:
                async for data, last in _past(core, viewer, after):
                    seen = max(seen, last)
                    yield data
        async for data in subscription.frames(after=seen):
            yield data
    finally:
        hub.unsubscribe(subscription)


async def _past(core: Core, viewer: Viewer, after: int) -> AsyncIterator[tuple[bytes, int]]:
    """Pages of stored events after id `after`: (frames, id of the last one)."""
    while True:
        rows = await core.ask(names.HISTORY, GetEvents(after=after, limit=PAGE))
        if not rows:
            return
        after = rows[-1].id
        yield b"".join(event_frame(row) for row in rows if may_see(viewer, row)), after
        if len(rows) < PAGE:
            return
