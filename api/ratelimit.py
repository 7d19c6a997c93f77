"""Token buckets: so many requests a second for each identity, with a burst."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from gpuyard.api.errors import RateLimited

MOST_BUCKETS = 10_000


class RateLimiter:
    """`rate` requests a second and bursts of `burst`. The buckets that were unused longest are forgotten first."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> None:
        """One request of `key`. Raises RateLimited with the whole seconds to wait."""
        now = self._clock()
        left, since = self._buckets.get(key, (float(self._burst), now))
        left = min(float(self._burst), left + (now - since) * self._rate)
        if left < 1:
            wait = max(1, math.ceil((1 - left) / self._rate))
            raise RateLimited(f"more than {self._rate:g} requests a second: try again in {wait} s", retry_after=wait)
        self._buckets[key] = (left - 1, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > MOST_BUCKETS:
            self._buckets.popitem(last=False)
