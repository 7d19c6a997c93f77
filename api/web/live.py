"""GET /ui and /ui/stream: what of an open page is no longer what the server would show."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from gpuyard.actors.model.errors import Unavailable
from gpuyard.api.deps import StreamsDep
from gpuyard.api.sse import EventStream
from gpuyard.api.web.channels import fresh, read_tags
from gpuyard.api.web.drawing import Drawing
from gpuyard.api.web.inside import Refused
from gpuyard.api.web.regions import REGIONS
from gpuyard.api.web.render import packed

router = APIRouter(include_in_schema=False)

Names = Annotated[str, Query(max_length=400)]
Have = Annotated[str, Query(max_length=1_000)]


def _known(names: str) -> list[str]:
    return [name for name in dict.fromkeys(names.split(",")) if name in REGIONS]


@router.get("/ui")
async def regions(request: Request, names: Names, have: Have = "") -> Response:
    """The regions of a page that are not what the browser has: name → {html, tag}. `have` is NAME:TAG,…"""
    drawing, wanted = Drawing(request), _known(names)
    try:
        drawn = await asyncio.gather(*(drawing.shared(name) for name in wanted))
    except Refused as refusal:
        raise Unavailable(refusal.detail) from None
    answer = fresh(dict(zip(wanted, drawn, strict=True)), read_tags(have))
    return packed(request, msgspec.json.encode(answer), "application/json", {"Cache-Control": "no-store"})


@router.get("/ui/stream")
async def follow(
    request: Request,
    streams: StreamsDep,
    names: Names,
    have: Have = "",
    last_event_id: Annotated[str, Header(max_length=1_000)] = "",
) -> Response:
    """The same as it changes: events `regions`, and `away` while the core does not answer. Who comes back has what
    the id of its last event says."""
    drawing, wanted = Drawing(request), _known(names)
    known = read_tags(last_event_id or have)
    return EventStream(streams, drawing.channels.frames(drawing.key(wanted), wanted, drawing.shared, known))
