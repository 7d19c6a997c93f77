"""Regions drawn once for all who may see the same: two hundred open pages cost hardly more than one.

A region is drawn anew when something has happened since that it shows, and at most every `EVERY` seconds: whoever asks
in between waits for the next drawing and shares it. What no event tells of (load, memory, how far a run is) grows `OLD`
seconds old at most.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from gpuyard.api.changes import TIME, Changes

EVERY: Final = 0.5
OLD: Final = 4.0
MOST: Final = 2_000


class Drawn(NamedTuple):
    """`tag` names the content; `changes` tells what it was drawn from, `at` when that began."""

    html: str
    tag: str
    changes: int
    at: float


def tag_of(html: str) -> str:
    return hashlib.blake2b(html.encode(), digest_size=9).hexdigest()


class Shared:
    """All in one event loop."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._drawn: OrderedDict[object, Drawn] = OrderedDict()
        self._drawing: dict[object, asyncio.Future[Drawn]] = {}

    async def get(self, key: object, watch: frozenset[str], draw: Callable[[], Awaitable[str]]) -> Drawn:
        """The region `key` as it is now. What `draw` raises goes to all who wait for it, and is not kept."""
        clock = asyncio.get_running_loop().time
        known = self._drawn.get(key)
        young = known is not None and (TIME not in watch or clock() - known.at < OLD)
        if known is not None and young and known.changes == self._changes.of(watch):
            self._drawn.move_to_end(key)
            return known
        under_way = self._drawing.get(key)
        if under_way is None:
            pause = max(0.0, known.at + EVERY - clock()) if known is not None else 0.0
            under_way = self._drawing[key] = asyncio.ensure_future(self._draw(key, watch, draw, pause))
            under_way.add_done_callback(lambda _: self._drawing.pop(key, None))
        return await asyncio.shield(under_way)

    async def anew(self, key: object, watch: frozenset[str], draw: Callable[[], Awaitable[str]]) -> Drawn:
        """Drawn now; whoever asks next gets nothing older."""
        return await self._draw(key, watch, draw, 0.0)

    async def _draw(
        self, key: object, watch: frozenset[str], draw: Callable[[], Awaitable[str]], pause: float
    ) -> Drawn:
        await asyncio.sleep(pause)
        # Before it is drawn: what happens meanwhile makes it old.
        changes, began = self._changes.of(watch), asyncio.get_running_loop().time()
        html = await draw()
        drawn = Drawn(html, tag_of(html), changes, began)
        known = self._drawn.get(key)
        if known is not None and known.at > began:
            return known
        self._drawn[key] = drawn
        self._drawn.move_to_end(key)
        while len(self._drawn) > MOST:
            self._drawn.popitem(last=False)
        return drawn
