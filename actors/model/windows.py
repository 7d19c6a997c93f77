"""Queue windows: the hours of the day in which a job may start (`window = "22:00-07:00 Europe/Berlin"`).

A window is open whenever the wall clock of its zone stands between its hours; whatever the clocks do in between is
taken as they show it. On the night they go forward an hour is missing (a window within that hour does not open), on
the night they go back one comes twice. The zone's offsets from UTC travel with the window, so nothing is looked up
here, and a job keeps the rules of the day it was submitted. A run that goes on when its window closes is left alone.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from heapq import heappop, heappush
from typing import Final

import msgspec

DAY: Final = 86_400
HOURS = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")
ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(/[A-Za-z0-9_+-]{1,32}){0,2}")


class Window(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """From `opens` to `closes`, seconds since midnight in `zone` (over midnight where `closes` is the smaller).

    `offsets` are (epoch seconds, seconds east of UTC from then on), in order; before the first one that one holds.
    None at all is UTC.
    """

    opens: int
    closes: int
    zone: str = ""
    offsets: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        hours = f"{_clock(self.opens)}-{_clock(self.closes)}"
        return f"{hours} {self.zone}" if self.zone else hours


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}"


def parse(text: object) -> Window:
    """`22:00-07:00`, maybe with a zone behind it; its offsets are not known yet. Raises ValueError.

    >>> str(parse("22:00-07:00 Europe/Berlin"))
    '22:00-07:00 Europe/Berlin'
    """
    form = 'must be hours such as "22:00-07:00", with a time zone where it is not the server\'s ("… Europe/Berlin")'
    if not isinstance(text, str) or len(text) > 120:
        raise ValueError(form)
    hours, _, zone = text.strip().partition(" ")
    zone = zone.strip()
    found = HOURS.fullmatch(hours)
    if found is None or (zone and not ZONE.fullmatch(zone)):
        raise ValueError(form)
    opens, closes = (int(found[n]) * 3600 + int(found[n + 1]) * 60 for n in (1, 3))
    if opens >= DAY or closes > DAY:
        raise ValueError(form)
    if opens == closes or (opens, closes) == (0, DAY):
        raise ValueError("must not be the whole day: leave it out to start at any time")
    return Window(opens=opens, closes=closes, zone=zone)


def is_open(window: Window, at: float) -> bool:
    """May a job start at `at` (epoch seconds)?"""
    return _is_open(window, _time_of_day(window, at, _offset(window, at)))


def opens_at(window: Window, at: float) -> float:
    """The first moment from `at` on at which it is open."""
    return at if is_open(window, at) else changes_at(window, at)


def changes_at(window: Window, at: float) -> float:
    """The first moment after `at` at which it opens or closes."""
    now_open = is_open(window, at)
    moment, place = at, bisect_right(window.offsets, at, key=lambda pair: pair[0])
    while True:
        offset = _offset(window, moment)
        time = _time_of_day(window, moment, offset)
        if _is_open(window, time) is not now_open:
            return moment  # the clocks were set here
        boundary = window.closes if now_open else window.opens
        found = moment + (boundary - time) % DAY
        if place >= len(window.offsets) or found < window.offsets[place][0]:
            return found
        moment, place = float(window.offsets[place][0]), place + 1


def _offset(window: Window, at: float) -> int:
    if not window.offsets:
        return 0
    place = bisect_right(window.offsets, at, key=lambda pair: pair[0])
    return window.offsets[max(0, place - 1)][1]


def _time_of_day(window: Window, at: float, offset: int) -> float:
    return (at + offset) % DAY


def _is_open(window: Window, time: float) -> bool:
    if window.opens < window.closes:
        return window.opens <= time < window.closes
    return time >= window.opens or time < window.closes


class Watch:
    """The windows of waiting jobs, and when each changes next."""

    def __init__(self) -> None:
        self._next: dict[Window, float] = {}
        self._heap: list[tuple[float, int, Window]] = []
        self._count = 0

    def add(self, window: Window, at: float) -> float | None:
        """From now on watch `window`; when it changes next, None when it was watched already."""
        return None if window in self._next else self._plan(window, at)

    def _plan(self, window: Window, at: float) -> float:
        change = changes_at(window, at)
        self._next[window] = change
        self._count += 1
        heappush(self._heap, (change, self._count, window))
        return change

    def due(self, at: float) -> list[Window]:
        """The windows that have changed by `at`; each is to be added again, or is watched no more."""
        found = []
        while self._heap and self._heap[0][0] <= at:
            _, _, window = heappop(self._heap)
            del self._next[window]
            found.append(window)
        return found
