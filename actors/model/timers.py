"""Time rules: when a waiting job's time comes, a queue window changes, or something else of the queue is due.

Nothing is polled: the Scheduler is called at `next`, and asks what is due.
"""

from __future__ import annotations

from heapq import heappop, heappush

from gpuyard.actors.model.windows import Watch, Window


class Timers:
    """Moments are epoch seconds."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._calls: set[float] = set()
        self._windows = Watch()

    @property
    def next(self) -> float | None:
        """When something is due first."""
        return self._heap[0][0] if self._heap else None

    def wake(self, job_id: str, at: float) -> None:
        """This job's time comes then."""
        heappush(self._heap, (at, job_id))

    def call_at(self, at: float) -> None:
        """Something is due then that is no single job's."""
        if at not in self._calls:
            self._calls.add(at)
            heappush(self._heap, (at, ""))

    def watch(self, window: Window, at: float) -> bool:
        """From now on the window is due when it changes; False when it was watched already."""
        change = self._windows.add(window, at)
        if change is not None:
            self.call_at(change)
        return change is not None

    def jobs_due(self, at: float) -> list[str]:
        """Jobs whose time has come; each is told once."""
        found = []
        while self._heap and self._heap[0][0] <= at:
            when, job_id = heappop(self._heap)
            if job_id:
                found.append(job_id)
            else:
                self._calls.discard(when)
        return found

    def windows_due(self, at: float) -> list[Window]:
        """Windows that have changed; each is watched no more unless it is watched again."""
        return self._windows.due(at)
