"""Files that nobody needs any more, removed a little at a time: starts and ends never wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from gpuyard.actors.keeper.folders import Folders

# Seconds that one step may take (one folder more may be begun in it), and to wait until the next.
STEP = 0.02
# Seconds between two looks for what has become old.
PAUSE = 600.0


class Tidier:
    """`in_use` tells of a fence that its folder must stay: it is known here, or an order for it may be on its way.
    `wake_in` has `step` called after so many seconds.

    Acknowledged runs are purged after `keep_days`; None: when somebody says so."""

    def __init__(
        self,
        folders: Folders,
        in_use: Callable[[int], bool],
        wake_in: Callable[[float], None],
        keep_days: float | None = None,
    ) -> None:
        self._folders = folders
        self._in_use = in_use
        self._wake_in = wake_in
        self._keep_days = keep_days
        self._due = False
        self._look_at = 0.0
        self._acknowledged: list[int] = []
        self._purged: list[int] = []

    def acknowledge(self, fence: int) -> None:
        """Its end is durable: of its folder the records and the log stay."""
        self._acknowledged.append(fence)
        self._soon()

    def purge(self, fences: Iterable[int]) -> None:
        """Its folder may go."""
        self._purged.extend(fences)
        self._soon()

    def look(self) -> None:
        """For what has become too old to be kept, and for folders that were in use when they were purged."""
        if self._keep_days is not None and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + PAUSE
            self._purged.extend(self._folders.older_than(self._keep_days * 86_400))
        self._soon()

    def clear(self) -> None:
        """Their fences mean other runs from now on."""
        self._acknowledged.clear()
        self._purged.clear()

    def step(self) -> None:
        """As much as STEP seconds allow, and the next step is due in as many; folders in use wait for a later look."""
        self._due = False
        until = time.monotonic() + STEP
        while self._acknowledged and time.monotonic() < until:
            self._folders.acknowledge(self._acknowledged.pop())
        waiting = []
        while self._purged and time.monotonic() < until:
            fence = self._purged.pop()
            if self._in_use(fence):
                waiting.append(fence)
            else:
                self._folders.remove(fence)
        more = bool(self._acknowledged or self._purged)
        self._purged += waiting
        if more:
            self._soon()

    def _soon(self) -> None:
        if not self._due and (self._acknowledged or self._purged):
            self._due = True
            self._wake_in(STEP)
