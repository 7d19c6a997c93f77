"""Charts as plain numbers for SVG: where a bar lies, which way a line runs. Pure; templates draw them.

A chart is WIDTH units wide whatever it shows; the page scales it. Nothing needs a script.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from gpuyard.actors.model.clock import epoch, iso

WIDTH: Final = 1_000
HEIGHT: Final = 120
COLOURS: Final = 8
MOST_POINTS: Final = 400
# Bars that end within so many units are drawn as one.
NEAR: Final = 4.0
# Of these so many are named.
NAMED: Final = 5


class Bar(NamedTuple):
    """`colour` numbers a class of the style sheet, so that one job keeps its colour on all its GPUs. `jobs` are several
    where they lie too close to be told apart."""

    x: float
    width: float
    job_id: str | None
    title: str
    colour: int
    live: bool
    failed: bool
    jobs: int = 1

    @property
    def words(self) -> str:
        """What it says under the pointer."""
        if self.jobs == 1:
            return self.title
        return f"{self.jobs} jobs: {self.title}{', …' if self.jobs > NAMED else ''}"


class Row(NamedTuple):
    name: str
    bars: list[Bar]

    @property
    def jobs(self) -> int:
        return sum(bar.jobs for bar in self.bars)


class Mark(NamedTuple):
    """`at` is the moment in ISO, from which the browser says the hour where its person is."""

    x: float
    text: str
    at: str


def rows(timeline: dict[str, Any], names: dict[tuple[str, str], str]) -> list[Row]:
    """A row for each GPU in `names` ((host, UUID) → what it is called), with what ran on it.

    The spans are told from the newest on.
    """
    start, end = epoch(timeline["since"]), epoch(timeline["until"])
    found: dict[tuple[str, str], list[Bar]] = {gpu: [] for gpu in names}
    for span in timeline["spans"]:
        gpu = (span["host"], span["uuid"])
        if gpu not in found:
            continue
        left = max(0.0, _along(epoch(span["started_at"]), start, end))
        right = _along(epoch(span["ended_at"]), start, end) if span["ended_at"] else float(WIDTH)
        _add(
            found[gpu],
            Bar(
                x=round(left, 1),
                width=round(max(1.5, right - left), 1),
                job_id=span["job_id"],
                title=span["title"] or "somebody's job",
                colour=sum(map(ord, span["job_id"] or "")) % COLOURS,
                live=span["ended_at"] is None,
                failed=span["exit_class"] not in (None, "completed", "cancelled"),
            ),
        )
    return [Row(names[gpu], bars) for gpu, bars in found.items()]


def _add(bars: list[Bar], bar: Bar) -> None:
    """Older ones come behind newer ones. A thousand short jobs are no thousand bars that nobody could hit."""
    last = bars[-1] if bars else None
    if last is None or last.live or last.x + last.width - bar.x > NEAR:
        bars.append(bar)
        return
    x = min(last.x, bar.x)
    bars[-1] = last._replace(
        x=x,
        width=round(max(last.x + last.width, bar.x + bar.width) - x, 1),
        job_id=None,
        title=f"{last.title}, {bar.title}" if last.jobs < NAMED else last.title,
        failed=last.failed or bar.failed,
        jobs=last.jobs + 1,
    )


def hours(since: str, until: str) -> list[Mark]:
    """A mark at each full hour between."""
    return marks(epoch(since), epoch(until), (3600,))


STEPS: Final = (10, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400)
MOST_MARKS: Final = 7


def marks(start: float, end: float, steps: Sequence[int] = STEPS) -> list[Mark]:
    """Marks at full minutes or hours between, at most `MOST_MARKS` where the steps allow it."""
    length = end - start
    if length <= 0:
        return []
    step = next((step for step in steps if length / step <= MOST_MARKS), steps[-1])
    first = int(start // step + 1) * step
    found = []
    for at in range(first, int(end) + 1, step):
        text = f"{at // 3600 % 24:02d}:{at // 60 % 60:02d}" + (f":{at % 60:02d}" if step < 60 else "")
        found.append(Mark(round(_along(at, start, end), 1), text, iso(at)))
    return found


def area(points: Sequence[tuple[float, float]], since: float, until: float, top: float) -> tuple[str, str]:
    """`points` (time, value) as the path of an area and that of its upper edge; "" for fewer than two."""
    if len(points) < 2:
        return "", ""
    step = max(1, len(points) // MOST_POINTS)
    kept = [*points[::step], points[-1]]
    edge = " ".join(
        f"{'M' if number == 0 else 'L'}{_along(at, since, until):.1f} {HEIGHT - HEIGHT * min(1.0, value / top):.1f}"
        for number, (at, value) in enumerate(kept)
    )
    first, last = _along(kept[0][0], since, until), _along(kept[-1][0], since, until)
    return f"{edge} L{last:.1f} {HEIGHT} L{first:.1f} {HEIGHT} Z", edge


def round_up(value: float) -> int:
    """A top for an axis.

    >>> [round_up(v) for v in (0, 3, 7, 12, 80, 4_200)]
    [5, 5, 10, 20, 100, 5000]
    """
    size = 1
    while True:
        for factor in (5, 10, 20):
            if value <= factor * size:
                return factor * size
        size *= 10


def _along(at: float, start: float, end: float) -> float:
    return WIDTH * (at - start) / max(1.0, end - start)
