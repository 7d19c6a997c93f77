"""Virtual time: a heap of things to come, one source of chance, and a story that is only written when asked for."""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Violation(AssertionError):
    """Something happened that must never happen."""


class Engine:
    """`now` is the true time in seconds; clocks of hosts are made from it. The same seed gives the same story."""

    def __init__(self, seed: int, telling: bool = False) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.story: list[str] = []
        self._telling = telling
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def after(self, seconds: float, do: Callable[..., None], *args: Any) -> None:
        """Do it in so many seconds; of two at one moment the one that was said first comes first."""
        self._count += 1
        heappush(self._heap, (self.now + max(0.0, seconds), self._count, do, args))

    def run(self, until: float, over: Callable[[], bool] = lambda: False) -> None:
        """Let time pass up to `until`, or until `over`."""
        while self._heap and self._heap[0][0] <= until and not over():
            self.now, _, do, args = heappop(self._heap)
            do(*args)
        self.now = max(self.now, min(until, self.now if over() else until))

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def between(self, low: float, high: float) -> float:
        return self.random.uniform(low, high)

    def say(self, who: str, words: str, *values: Any) -> None:
        """A line of the story, formatted only when somebody reads it."""
        if self._telling:
            self.story.append(f"{self.now:9.2f}  {who:<8} {words.format(*values)}")
