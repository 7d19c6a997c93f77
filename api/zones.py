"""Time zones: from a name to the offsets that a queue window computes with (`model/windows.py` reads no file).

The names and rules are those of the system's zone database, or of the `tzdata` package where there is none.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from gpuyard.actors.model.windows import Window

LOCALTIME: Final = Path("/etc/localtime")
DATABASE: Final = "zoneinfo/"
# Rules further ahead change before a job waits so long; later than that the last offset holds.
YEARS: Final = 6
# No zone sets its clocks twice in a week.
WEEK: Final = 7 * 86_400


def server_zone() -> str:
    """The name of this machine's zone: TZ, else where /etc/localtime leads, else UTC."""
    named = os.environ.get("TZ", "").removeprefix(":")
    if named and exists(named):
        return named
    _, _, name = os.path.realpath(LOCALTIME).partition(DATABASE)
    name = name.removeprefix("posix/").removeprefix("right/")
    return name if name and exists(name) else "UTC"


def exists(name: str) -> bool:
    return _zone(name) is not None


def known(window: Window) -> Window:
    """The same, if the zone that it names exists. Raises ValueError."""
    if window.zone and not exists(window.zone):
        raise ValueError(f"names the time zone {window.zone}, which does not exist: write it as Europe/Berlin or UTC")
    return window


def resolved(window: Window, default: str, now: float) -> Window:
    """`window` with its zone named, `default` where it names none, and its offsets known."""
    name = window.zone or default or server_zone()
    # From the beginning of the year, so that the windows of all jobs of a year are the same one.
    return msgspec.structs.replace(window, zone=name, offsets=_offsets(name, datetime.fromtimestamp(now, UTC).year))


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


@lru_cache(maxsize=512)
def _offsets(name: str, year: int) -> tuple[tuple[int, int], ...]:
    """(epoch seconds, offset in seconds from then on) for some years."""
    zone = ZoneInfo(name)
    start, end = (int(datetime(y, 1, 1, tzinfo=UTC).timestamp()) for y in (year, year + YEARS))
    found = [(start, _offset(zone, start))]
    for week in range(start, end, WEEK):
        offset = _offset(zone, week + WEEK)
        if offset != found[-1][1]:
            found.append((_when(zone, week, week + WEEK), offset))
    return tuple(found)


def _when(zone: ZoneInfo, before: int, after: int) -> int:
    """The second of the change between two moments."""
    old = _offset(zone, before)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == old:
            before = middle
        else:
            after = middle
    return after


def _offset(zone: ZoneInfo, at: int) -> int:
    offset = datetime.fromtimestamp(at, zone).utcoffset() or timedelta()
    return round(offset / timedelta(seconds=1))
