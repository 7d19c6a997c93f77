"""Open pages that show the same follow one channel: what has changed is drawn and encoded once, and sent to all.

A channel draws when something has happened that its regions show: at once when it was quiet, else `APART` seconds after
the last time. The id of each frame says what a page has that took it (NAME:TAG,…), so a page that comes back gets what
it has missed and nothing else. A slow page skips what is out of date by then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from gpuyard.api import sse
from gpuyard.api.changes import TIME, Changes
from gpuyard.api.web.inside import Refused
from gpuyard.api.web.regions import REGIONS
from gpuyard.api.web.shared import OLD, Drawn

log = logging.getLogger("gpuyard.api")

APART: Final = 0.75
AGAIN: Final = 1.0
HELLO: Final = b"retry: 2000\n\n"

Tags = Mapping[str, str]
Draw = Callable[[str], Awaitable[Drawn]]


def read_tags(text: str) -> dict[str, str]:
    """NAME:TAG,… as browsers send it back; what is no such thing is left out."""
    return dict(pair.split(":", 1) for pair in text.split(",") if ":" in pair)


def _written(tags: Tags) -> str:
    return ",".join(f"{name}:{tag}" for name, tag in tags.items())


def fresh(drawn: Mapping[str, Drawn], have: Tags) -> dict[str, dict[str, str]]:
    """Those regions that a page which has `have` does not have, as it takes them."""
    return {name: {"html": one.html, "tag": one.tag} for name, one in drawn.items() if have.get(name) != one.tag}


class State(NamedTuple):
    """What a channel shows. `news` is for a page that has what `before` says. `away`: the core does not answer."""

    number: int = 0
    drawn: Mapping[str, Drawn] = {}
    tags: Tags = {}
    away: bool = False
    before: Tags = {}
    news: bytes = b""

    def frame(self, have: Tags) -> bytes:
        """For a page that has `have`."""
        if self.away:
            return sse.frame({}, event="away")
        return sse.frame(fresh(self.drawn, have), event="regions", id=_written(self.tags))


class Channel:
    """`names` are its regions, `draw` makes one of them. It draws while somebody has `joined`."""

    def __init__(self, names: Sequence[str], draw: Draw, changes: Changes) -> None:
        self._names = names
        self._draw = draw
        self._changes = changes
        self._grows_old = any(TIME in REGIONS[name].watch for name in names)
        self._state = State()
        self._moved = asyncio.Event()  # another one for each state
        self._stirred = asyncio.Event()
        self._drawing: asyncio.Task[None] | None = None
        self.pages = 0

    @contextmanager
    def joined(self) -> Iterator[None]:
        """One more page within the block."""
        self.pages += 1
        if self._drawing is None:
            self._drawing = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            self.pages -= 1
            if not self.pages:
                self._drawing.cancel()
                self._drawing = None

    async def frames(self, have: Tags) -> AsyncIterator[bytes]:
        """What a page needs that has `have`, and then what comes.

        It was drawn a moment ago, perhaps later than what the channel shows: so it is looked at by itself first.
        """
        yield HELLO
        seen = self._state.number
        state = await self._now()
        yield state.frame(have)
        away, have = state.away, have if state.away else state.tags
        while True:
            while self._state.number == seen:
                await self._moved.wait()
            state = self._state
            if have == state.before:
                yield state.news
            elif away or state.away or have != state.tags:
                yield state.frame(have)
            seen, away, have = state.number, state.away, have if state.away else state.tags

    async def _follow(self) -> None:
        clock = asyncio.get_running_loop().time
        with self._changes.listening(self._stirred.set):
            while True:
                began = clock()
                self._stirred.clear()
                await self._look()
                with suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN if self._state.away else OLD if self._grows_old else None):
                        await self._stirred.wait()
                await asyncio.sleep(max(0.0, began + APART - clock()))

    async def _now(self) -> State:
        """As it is now; where that cannot be drawn, as it was."""
        try:
            drawn = await asyncio.gather(*(self._draw(name) for name in self._names))
        except Refused:
            return self._state._replace(away=True)
        except Exception:
            if not self._state.away:
                log.exception("the regions %s could not be drawn", ", ".join(self._names))
            return self._state._replace(away=True)
        shown = dict(zip(self._names, drawn, strict=True))
        return State(drawn=shown, tags={name: one.tag for name, one in shown.items()})

    async def _look(self) -> None:
        """Draw, and tell the pages if that is another picture than the last."""
        state, before = await self._now(), self._state
        if before.number and (state.away, state.tags) == (before.away, before.tags):
            return
        self._state = state._replace(number=before.number + 1, before=before.tags, news=state.frame(before.tags))
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


class Channels:
    """The channels that somebody follows, by who may see what of them."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self.open: dict[object, Channel] = {}

    async def frames(self, key: object, names: Sequence[str], draw: Draw, have: Tags) -> AsyncIterator[bytes]:
        """What a page is sent from now on. Pages with the same `key` have the same `names`, and may see the same."""
        channel = self.open.setdefault(key, Channel(names, draw, self._changes))
        with channel.joined():
            try:
                async for frame in channel.frames(have):
                    yield frame
            finally:
                if channel.pages == 1:
                    del self.open[key]
