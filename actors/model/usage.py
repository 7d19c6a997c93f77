"""Usage: GPU time by user, team, place and UTC day.

What an attempt used is added to the sums of its days in the commit that ends it, so nothing is counted twice or lost,
and the sums stay when their jobs are cleaned up. Time is that of the program, from its start to its end, in whole
milliseconds; GPU time is that times the GPUs of the job. Runs that still live are counted up to the moment of asking.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Final, Literal

import msgspec

from gpuyard.actors.model.attempt import LOCAL_HOST, Attempt
from gpuyard.actors.model.clock import utc_day
from gpuyard.actors.model.commit import AddUsage
from gpuyard.actors.model.entry import CLOUD_HOST_PREFIX
from gpuyard.actors.model.job import Job

DAY_MS: Final = 86_400_000
# A worker's clock may be wrong by this much; what it says beyond that is cut.
SKEW: Final = 86_400.0

Period = Literal["day", "week", "month", "total"]
Key = Literal["user", "team", "place"]
PERIODS: Final[tuple[Period, ...]] = ("day", "week", "month", "total")
KEYS: Final[tuple[Key, ...]] = ("user", "team", "place")


class LiveRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has not ended: what is needed to count it up to now."""

    fence: int
    user_id: int
    team_id: str
    place: str
    gpus: int
    started_at: float


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a report. What is not asked for is None; `running` are runs that live now."""

    period: str
    user_id: int | None
    team_id: str | None
    place: str | None
    runs: int
    running: int
    run_ms: int
    gpu_ms: int


def place_of(host: str) -> str:
    """local, worker or cloud."""
    if host == LOCAL_HOST:
        return "local"
    return "cloud" if host.startswith(CLOUD_HOST_PREFIX) else "worker"


def of_attempt(job: Job, attempt: Attempt, now: float) -> Iterator[AddUsage]:
    """What an attempt that has just ended adds, a row a UTC day; one even if its program never lived."""
    ended = min(now + SKEW, attempt.ended_at if attempt.ended_at is not None else now)
    started = attempt.started_at if attempt.started_at is not None else ended
    parts = shares(max(started, attempt.assigned_at - SKEW), ended)
    last = utc_day(ended)
    for day in sorted({*parts, last}):
        run_ms = parts.get(day, 0)
        yield AddUsage(
            day=day,
            user_id=job.user_id,
            team_id=job.team_id or "",
            place=place_of(attempt.host),
            runs=int(day == last),
            run_ms=run_ms,
            gpu_ms=run_ms * job.spec.num_processes,
        )


def of_live(run: LiveRun, now: float) -> list[AddUsage]:
    """What a live run has used so far, the last day last; it is no ended run yet."""
    parts = shares(run.started_at, now) or {utc_day(now): 0}
    return [
        AddUsage(day, run.user_id, run.team_id, run.place, 0, run_ms, run_ms * run.gpus)
        for day, run_ms in parts.items()
    ]


def shares(started: float, ended: float) -> dict[str, int]:
    """Milliseconds between two moments (epoch seconds) by UTC day; nothing where none have passed."""
    at, end = round(started * 1000), round(ended * 1000)
    found: dict[str, int] = {}
    while at < end:
        midnight = (at // DAY_MS + 1) * DAY_MS
        found[utc_day(at / 1000)] = min(midnight, end) - at
        at = midnight
    return found


def report(
    ended: Iterable[AddUsage],
    live: Iterable[LiveRun],
    now: float,
    period: Period,
    keys: Iterable[Key],
    between: tuple[str, str] = ("0000", "9999"),
) -> list[Line]:
    """Sums by period and `keys`, the periods in order, the most GPU time first within each.

    `ended` are rows of the days asked for; of the `live` runs what lies `between` these days (both included) counts.
    """
    wanted = frozenset(keys)
    sums: dict[tuple[str, int | None, str | None, str | None], Counter[str]] = {}

    def add(row: AddUsage, running: int = 0) -> None:
        user = row.user_id if "user" in wanted else None
        team = row.team_id if "team" in wanted else None
        place = row.place if "place" in wanted else None
        found = sums.setdefault((period_of(row.day, period), user, team, place), Counter())
        found.update(runs=row.runs, run_ms=row.run_ms, gpu_ms=row.gpu_ms, running=running)

    for row in ended:
        add(row)
    for run in live:
        parts = of_live(run, now)
        for row in parts:
            if between[0] <= row.day <= between[1]:
                add(row, int(row is parts[-1]))
    lines = [
        Line(period=label, user_id=user, team_id=team, place=place, **{name: found[name] for name in SUMMED})
        for (label, user, team, place), found in sums.items()
    ]
    return sorted(lines, key=lambda line: (line.period, -line.gpu_ms, -line.run_ms, line.user_id or 0))


SUMMED: Final = ("runs", "running", "run_ms", "gpu_ms")


def period_of(day: str, period: Period) -> str:
    """The period that a UTC day lies in: `2026-11-22`, `2026-W47` (ISO week), `2026-11`, or `total`."""
    match period:
        case "day":
            return day
        case "week":
            year, week, _ = date.fromisoformat(day).isocalendar()
            return f"{year}-W{week:02d}"
        case "month":
            return day[:7]
        case "total":
            return "total"
