"""Regions drawn once for all who may see the same: two hundred open pages cost hardly more than one.

A region is drawn anew when something has happened since, and at most every `EVERY` seconds: whoever asks in between
waits for the next drawing and shares it. What no event tells of (load, memory) grows `OLD` seconds old at most.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

EVERY: Final = 0.5
OLD: Final = 4.0
MOST: Final = 2_000


class Drawn(NamedTuple):
    """`tag` names the content; `changes` and `at` tell what it was drawn from."""

    html: str
    tag: str
    changes: int
    at: float


class Shared:
    """`changes` counts what has happened. All in one event loop."""

    def __init__(self, changes: Callable[[], int]) -> None:
        self._changes = changes
        self._drawn: OrderedDict[object, Drawn] = OrderedDict()
        self._drawing: dict[object, asyncio.Future[Drawn]] = {}

    async def get(self, key: object, draw: Callable[[], Awaitable[str]]) -> Drawn:
        """The region `key` as it is now. What `draw` raises goes to all who wait for it, and is not kept."""
        clock = asyncio.get_running_loop().time
        known = self._drawn.get(key)
        if known is not None and known.changes == self._changes() and clock() - known.at < OLD:
            self._drawn.move_to_end(key)
            return known
        under_way = self._drawing.get(key)
        if under_way is None:
            pause = max(0.0, known.at + EVERY - clock()) if known is not None else 0.0
            under_way = self._drawing[key] = asyncio.ensure_future(self._draw(key, draw, pause))
            under_way.add_done_callback(lambda _: self._drawing.pop(key, None))
        return await asyncio.shield(under_way)

    async def _draw(self, key: object, draw: Callable[[], Awaitable[str]], pause: float) -> Drawn:
        await asyncio.sleep(pause)
        changes = self._changes()  # before it is drawn: what happens meanwhile makes it old
        html = await draw()
        tag = hashlib.blake2b(html.encode(), digest_size=9).hexdigest()
        drawn = self._drawn[key] = Drawn(html, tag, changes, asyncio.get_running_loop().time())
        self._drawn.move_to_end(key)
        while len(self._drawn) > MOST:
            self._drawn.popitem(last=False)
        return drawn
