"""Time as the core sees it: handed in, never read (DESIGN 2).

`now` is seconds since the epoch (UTC), for what is stored and shown. `monotonic` is for intervals.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """Where actors take the time from."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Seconds that never jump (CLOCK_BOOTTIME where there is one)."""


class ManualClock:
    """A clock that moves only when told: for tests and the simulation."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._monotonic = 1_000.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Both readings grow by `seconds`."""
        self._now += seconds
        self._monotonic += seconds


def iso(at: float) -> str:
    """`at` (epoch seconds) as ISO-8601 UTC of fixed width, so that text order is time order.

    Rounded to the millisecond, so that `iso(epoch(text))` is `text` again.

    >>> iso(1_700_000_000.5)
    '2023-11-14T22:13:20.500Z'
    """
    seconds, milliseconds = divmod(round(at * 1000), 1000)
    return f"{_iso_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=1024)
def _iso_second(seconds: int) -> str:
    # A decision stamps all its rows with one moment, and formatting is what costs.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def iso_or_none(at: float | None) -> str | None:
    return None if at is None else iso(at)


def utc_day(at: float) -> str:
    """The UTC day of `at` (epoch seconds), `2026-11-22`."""
    return iso(at)[:10]


def epoch(text: str) -> float:
    """Epoch seconds of an ISO-8601 time; one without an offset is taken as UTC. Raises ValueError."""
    parsed = datetime.fromisoformat(text)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def epoch_or_none(text: str | None) -> float | None:
    return None if text is None else epoch(text)
