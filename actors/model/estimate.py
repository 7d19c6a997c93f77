"""When will a pending job start? The policy run forward over how long such runs took before (DESIGN 6, last rule).

Three futures are played: every run short (10th percentile of its config's past), usual (median) and long (90th).
A job whose config has no past takes its time limit; a job with neither may run for ever, and when the answer hangs on
such a one there is none. A play costs about one heap step a job, so 500 jobs take a few milliseconds.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from enum import Enum
from typing import Final

from gpuyard.actors.model.views import Forecast

MOST_AHEAD: Final = 500
NEVER: Final = math.inf

RunTimes = dict[str, list[float]]


class Future(Enum):
    """`quantile` of the past runs, and what a run that outlived them all still takes as a share of its age."""

    SHORT = (0.1, 0.0)
    USUAL = (0.5, 0.1)
    LONG = (0.9, 1.0)

    @property
    def quantile(self) -> float:
        return self.value[0]

    @property
    def overtime(self) -> float:
        return self.value[1]


def forecast(forecast: Forecast, run_times: RunTimes) -> tuple[float, float, float] | None:
    """(low, likely, high) seconds until the job starts; None when that cannot be told.

    `run_times` are the seconds of past completed runs by config name, in any order.
    """
    if forecast.ahead is None or len(forecast.ahead) > MOST_AHEAD or forecast.need > forecast.gpus:
        return None
    waits = sorted(_play(forecast, run_times, future) for future in Future)
    if waits[-1] == NEVER:
        return None
    low, likely, high = waits
    return low, likely, high


def _play(forecast: Forecast, run_times: RunTimes, future: Future) -> float:
    """Seconds until the job starts in one future. Jobs that do not fit are skipped, as the Scheduler does."""
    free = forecast.gpus - sum(gpus for _, gpus, _, _ in forecast.running)
    slots = math.inf if forecast.slots is None else forecast.slots - len(forecast.running)
    ends = [
        (_remaining(run_times.get(config or "", []), limit, age, future), gpus)
        for age, gpus, config, limit in forecast.running
    ]
    heapq.heapify(ends)
    # One queue for each number of GPUs: the next to start is the first in order among those that fit.
    waiting: dict[int, deque[tuple[int, float]]] = {}
    order = itertools.count()
    for gpus, config, limit in forecast.ahead or []:
        length = _remaining(run_times.get(config or "", []), limit, 0.0, future)
        waiting.setdefault(gpus, deque()).append((next(order), length))
    ours = next(order)
    waiting.setdefault(forecast.need, deque()).append((ours, NEVER))
    now = 0.0
    while True:
        while slots > 0 and (fitting := [gpus for gpus, queue in waiting.items() if queue and gpus <= free]):
            gpus = min(fitting, key=lambda need: waiting[need][0])
            number, length = waiting[gpus].popleft()
            if number == ours:
                return now
            free, slots = free - gpus, slots - 1
            heapq.heappush(ends, (now + length, gpus))
        if not ends or ends[0][0] == NEVER:
            return NEVER
        now, gpus = heapq.heappop(ends)
        free, slots = free + gpus, slots + 1


def _remaining(past: list[float], limit: float | None, age: float, future: Future) -> float:
    """Seconds that a run of this age still takes."""
    left = NEVER if limit is None else max(0.0, limit - age)
    longer = sorted(seconds - age for seconds in past if seconds > age)
    if longer:
        return min(left, longer[min(len(longer) - 1, int(future.quantile * len(longer)))])
    return min(left, future.overtime * age) if past else left
