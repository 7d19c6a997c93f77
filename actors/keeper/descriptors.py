"""What an actor does when one of its descriptors becomes readable."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gpuyard.actors.inbox import Inbox


class Descriptors:
    """Calls by descriptor. Belongs to one actor and is used in its thread only."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._calls: dict[int, Callable[[], Any]] = {}

    def watch(self, fd: int, call: Callable[[], Any]) -> None:
        self._calls[fd] = call
        self._inbox.watch(fd)

    def unwatch(self, fd: int) -> None:
        """To be done before the descriptor is closed. One that is not watched is no error."""
        if self._calls.pop(fd, None) is not None:
            with suppress(KeyError):
                self._inbox.unwatch(fd)

    def ready(self, fd: int) -> None:
        call = self._calls.get(fd)
        if call is not None:
            call()
