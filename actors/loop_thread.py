"""A thread with an event loop of its own: what waits for a network there delays no actor."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

log = logging.getLogger("gpuyard.actors")

JOIN_SECONDS: Final = 5.0


class LoopThread:
    """`close` is awaited in the loop as the last, when all work there has been given up. Made in any thread, and so are
    its methods called; what is bound to a loop may be made before `start`."""

    def __init__(self, name: str, close: Callable[[], Awaitable[None]]) -> None:
        self.loop = asyncio.new_event_loop()
        self._name = name
        self._close = close
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Have this done in the loop, unless `stop` comes first."""
        try:
            self.loop.call_soon_threadsafe(self._go, work)
        except RuntimeError:  # it has been closed
            work.close()

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Have a function called in the loop, unless `stop` comes first."""
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            log.debug("%s has ended: %s is not called", self._name, function)

    def stop(self) -> None:
        """Give up what is under way and end the thread."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(JOIN_SECONDS)

    # --- in the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(self._end())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close()

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed: %s", self._name, type(error).__name__, exc_info=error)
