"""An actor's inbox: messages, timers and ready file descriptors behind one `get`.

A deque and an eventfd instead of a queue and a lock: an actor that owns sockets or child processes needs no second
thread, gets timers, and has a bound (DESIGN 12, "pykka"). `put` may be called from any thread; all else only from
the actor's own.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
import time
from collections import deque
from typing import Any

from pykka import ActorDeadError
from pykka._envelope import Envelope

from gpuyard.actors.model.errors import Busy
from gpuyard.actors.model.message import Message

# How many messages may be served in a row before the descriptors are looked at again.
FAIRNESS = 64


class FdReady(Message, frozen=True, kw_only=True):
    """A watched descriptor is readable (or its peer is gone). From: the actor's own inbox. Repeat: harmless."""

    fd: int


class Inbox:
    """`limit` bounds what waits; a full inbox raises Busy in the sender's thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queue: deque[Envelope[Any]] = deque()
        self._timers: list[tuple[float, int, Message]] = []
        self._numbers = itertools.count()
        self._ready: deque[int] = deque()
        self._served = 0
        self._sleeping = False
        self._closed = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)

    def __del__(self) -> None:
        # Only when nobody can put any more: a late writer must never hit a reused descriptor.
        os.close(self._wake)

    def put(self, envelope: Envelope[Any], /) -> None:
        if len(self._queue) >= self._limit:
            raise Busy(f"an inbox holds {self._limit} messages: try again shortly")
        self._queue.append(envelope)
        if self._closed:
            # Looked at after the append: whoever closes drains after closing, so no message falls in between.
            raise ActorDeadError("the actor has ended")
        if self._sleeping:
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """From now on `put` raises ActorDeadError; drain afterwards."""
        self._closed = True

    @property
    def closed(self) -> bool:
        return self._closed

    def get(self) -> Envelope[Any]:
        while True:
            if self._timers and self._timers[0][0] <= time.monotonic():
                return Envelope(heapq.heappop(self._timers)[2])
            if self._ready:
                return Envelope(FdReady(fd=self._ready.popleft()))
            if self._queue and self._served < FAIRNESS:
                self._served += 1
                return self._queue.popleft()
            self._served = 0
            self._wait()

    def empty(self) -> bool:
        return not self._queue

    def depth(self) -> int:
        return len(self._queue)

    def after(self, seconds: float, message: Message) -> None:
        """Receive `message` in `seconds`."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), message))

    def watch(self, fd: int) -> None:
        """Receive `FdReady` whenever `fd` is readable (level-triggered)."""
        self._poll.register(fd, select.POLLIN)

    def unwatch(self, fd: int) -> None:
        self._poll.unregister(fd)
        if fd in self._ready:
            self._ready.remove(fd)

    def _wait(self) -> None:
        self._sleeping = True
        # A put between the last look and this line sees `_sleeping` only from here on: look again.
        timeout: float | None = 0 if self._queue else None
        if timeout is None and self._timers:
            timeout = max(0.0, self._timers[0][0] - time.monotonic()) * 1000
        ready = self._poll.poll(timeout)
        self._sleeping = False
        for fd, _ in ready:
            if fd == self._wake:
                os.eventfd_read(self._wake)
            else:
                self._ready.append(fd)
