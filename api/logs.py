"""Reading the logs of a job's attempts: the tail of one, or all of them as they grow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from gpuyard.actors.model import names
from gpuyard.actors.model.attempt import is_worker
from gpuyard.actors.model.commands import ReadLog
from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.errors import Busy, NotFound, Unavailable
from gpuyard.actors.model.job import TERMINAL
from gpuyard.actors.model.people import Viewer
from gpuyard.actors.model.views import AttemptView, JobRecord, LogChunk
from gpuyard.api import lookup
from gpuyard.api.core import Core
from gpuyard.api.loglines import Line, LineSplitter, last_lines
from gpuyard.api.sse import frame

PIECE: Final = 65_536
MOST_TAIL: Final = 4 * 1024 * 1024
# How long a quiet log is left alone: a growing one is looked at often, a silent one twice a second.
SHORTEST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 0.5
# A job is looked at when an event names it, and now and then for safety.
WAITING_PAUSE: Final = 5.0

EMPTY: Final = LogChunk(data=b"", offset=0, end=0, size=0)


async def read(core: Core, run: AttemptView, offset: int | None, limit: int = PIECE) -> LogChunk:
    """A piece of a run's log; empty when there is none (not started yet, or purged). Raises Unavailable and Busy."""
    try:
        asked = ReadLog(fence=run.fence, offset=offset, limit=limit, host=run.host)
        chunk: LogChunk = await core.ask(names.LOGS, asked)
    except NotFound:
        return EMPTY
    return chunk


async def tail(core: Core, run: AttemptView, lines: int | None) -> tuple[bytes, int, int]:
    """(data, its offset, the log's size): the last 64 KiB, or the last `lines` lines up to 4 MiB."""
    chunk = await read(core, run, None)
    data, offset = chunk.data, chunk.offset
    if lines is None:
        return data, offset, chunk.size
    while offset > 0 and data.count(b"\n") <= lines and len(data) < MOST_TAIL:
        before = await read(core, run, max(0, offset - PIECE), min(PIECE, offset))
        if not before.data:
            break
        data, offset = before.data + data, before.offset
    start = last_lines(data, lines)
    return data[start:], offset + start, chunk.size


async def before(core: Core, run: AttemptView, end: int) -> tuple[bytes, int, int]:
    """(data, its offset, the log's size): up to 64 KiB before byte `end`, from the start of a line on."""
    start = max(0, end - PIECE)
    chunk = await read(core, run, start, end - start) if end > start else EMPTY
    cut = chunk.data.find(b"\n") + 1 if start > 0 else 0
    return chunk.data[cut:], start + cut, chunk.size


class Follower:
    """Follows all attempts of one job (or one of them), and ends with it.

    Offsets are those of the attempts' logs one behind the other, so that one number says where to go on. Watches the
    core's events, to notice the end at once.
    """

    def __init__(self, core: Core, viewer: Viewer, record: JobRecord, attempt: int | None) -> None:
        self._core = core
        self._viewer = viewer
        self._record = record
        self._job_id = record.entry.job_id
        self._only = attempt
        self._news = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._looked_at = self._clock()

    def published(self, events: Sequence[EventRow], revision: int) -> None:
        if any(event.job_id == self._job_id for event in events):
            self._news.set()

    def interrupted(self) -> None:
        self._news.set()

    async def start_of_tail(self, lines: int) -> int:
        """The offset of the last `lines` lines there are now."""
        base = 0
        attempts = self._attempts()
        for attempt in attempts[:-1]:
            base += (await self._read(attempt, 0, 1)).size
        return base + (await tail(self._core, attempts[-1], lines))[1] if attempts else 0

    async def frames(self, after: int) -> AsyncGenerator[bytes, None]:
        """Events from byte `after` on; the last one is `done` with the job's status."""
        self._core.watch(self)
        try:
            base = number = 0
            yield b"retry: 1000\n\n"
            while True:
                await self._look_again()
                attempts = self._attempts()
                if number < len(attempts):
                    splitter = LineSplitter(max(0, after - base))
                    async with aclosing(self._attempt(attempts[number], splitter)) as pieces:
                        async for lines in pieces:
                            yield line_frames(lines, base)
                    base += splitter.offset
                    number += 1
                elif self._ended():
                    yield frame(self._record.entry.status, event="done")
                    return
                else:
                    await self._wait(WAITING_PAUSE)
        finally:
            self._core.unwatch(self)

    async def _attempt(self, run: AttemptView, splitter: LineSplitter) -> AsyncGenerator[list[Line], None]:
        """The lines of one attempt, until it has ended and all is read."""
        pause = SHORTEST_PAUSE
        while True:
            over = self._over(run.fence)  # known before the read: what is read after the end is all there is
            chunk = await self._read(run, splitter.offset)
            if chunk.data:
                pause = SHORTEST_PAUSE
                if lines := splitter.feed(chunk.data):
                    yield lines
                continue
            if chunk.size < splitter.offset:
                splitter.go_on_at(chunk.size)  # the log was cut at its cap
            elif over:
                if lines := splitter.finish():
                    yield lines
                return
            else:
                if await self._wait(pause) or self._clock() - self._looked_at > WAITING_PAUSE:
                    await self._look_again()
                pause = min(LONGEST_PAUSE, pause * 1.5)

    async def _read(self, run: AttemptView, offset: int, limit: int = PIECE) -> LogChunk:
        """A piece; nothing new while a worker's log is out of reach: it goes on when the worker is back."""
        try:
            return await read(self._core, run, offset, limit)
        except (Unavailable, Busy):
            if not is_worker(run.host):
                raise
            return LogChunk(data=b"", offset=offset, end=offset, size=offset)

    async def _wait(self, seconds: float) -> bool:
        """Until there is news of the job; False when there was none for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    async def _look_again(self) -> None:
        """The job as it is stored now. Raises NotFound once it is deleted."""
        self._news.clear()
        self._looked_at = self._clock()
        self._record = await lookup.stored(self._core, self._viewer, self._job_id)

    def _attempts(self) -> list[AttemptView]:
        return [one for one in self._record.attempts if self._only is None or one.number == self._only]

    def _over(self, fence: int) -> bool:
        found = next((one for one in self._record.attempts if one.fence == fence), None)
        return found is None or found.ended_at is not None

    def _ended(self) -> bool:
        """Nothing more will come: the job has ended, or the one attempt that was asked for was read."""
        if self._record.entry.status in TERMINAL:
            return True
        return self._only is not None and bool(self._attempts())


def line_frames(lines: list[Line], base: int) -> bytes:
    """One event a line; its id is where to go on after it."""
    return b"".join(frame(line.text, id=base + line.after) for line in lines)
