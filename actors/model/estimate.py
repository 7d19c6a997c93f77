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
MOST_PLACES: Final = 100
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
    places = forecast.places or [(forecast.gpus, forecast.slots)]
    if forecast.ahead is None or len(forecast.ahead) > MOST_AHEAD or len(places) > MOST_PLACES:
        return None
    if forecast.need > max(gpus for gpus, _ in places):
        return None
    waits = sorted(_play(forecast, run_times, future) for future in Future)
    if waits[-1] == NEVER:
        return None
    low, likely, high = waits
    return low, likely, high


def _play(forecast: Forecast, run_times: RunTimes, future: Future) -> float:
    """Seconds until the job starts in one future. Jobs that do not fit are skipped, as the Scheduler does."""
    free: list[int] = []
    slots: list[float] = []
    for gpus, most in forecast.places or [(forecast.gpus, forecast.slots)]:
        free.append(gpus)
        slots.append(math.inf if most is None else most)
    ends: list[tuple[float, int, int]] = []
    for n, (age, gpus, config, limit) in enumerate(forecast.running):
        place = forecast.at[n] if forecast.at else 0
        free[place], slots[place] = free[place] - gpus, slots[place] - 1
        ends.append((_remaining(run_times.get(config or "", []), limit, age, future), gpus, place))
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
        room = max((free[place] for place in range(len(free)) if slots[place] > 0), default=-1)
        fitting = [gpus for gpus, queue in waiting.items() if queue and gpus <= room]
        if fitting:
            gpus = min(fitting, key=lambda need: waiting[need][0])
            number, length = waiting[gpus].popleft()
            if number == ours:
                return now
            place = min((n for n in range(len(free)) if slots[n] > 0 and free[n] >= gpus), key=free.__getitem__)
            free[place], slots[place] = free[place] - gpus, slots[place] - 1
            heapq.heappush(ends, (now + length, gpus, place))
            continue
        if not ends or ends[0][0] == NEVER:
            return NEVER
        now, gpus, place = heapq.heappop(ends)
        free[place], slots[place] = free[place] + gpus, slots[place] + 1


def _remaining(past: list[float], limit: float | None, age: float, future: Future) -> float:
    """Seconds that a run of this age still takes."""
    left = NEVER if limit is None else max(0.0, limit - age)
    longer = sorted(seconds - age for seconds in past if seconds > age)
    if longer:
        return min(left, longer[min(len(longer) - 1, int(future.quantile * len(longer)))])
    return min(left, future.overtime * age) if past else left
