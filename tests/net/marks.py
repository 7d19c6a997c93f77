"""What runs wrote while they lived, and what it proves: no two runs of one job lived at the same time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple


class Span(NamedTuple):
    """One run: from its first to its last mark (CLOCK_BOOTTIME)."""

    fence: int
    begin: float
    end: float


def spans(path: Path) -> list[Span]:
    """The runs of one job, in the order in which they began."""
    found: dict[int, Span] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        fence, at = int(line.split()[0]), float(line.split()[1])
        before = found.get(fence, Span(fence, at, at))
        found[fence] = Span(fence, min(before.begin, at), max(before.end, at))
    return sorted(found.values(), key=lambda span: span.begin)


def check_none_overlap(path: Path) -> list[Span]:
    """The runs. An AssertionError names two that lived at the same time."""
    runs = spans(path)
    for earlier, later in pairwise(runs):
        assert earlier.end < later.begin, f"{path.stem}: two runs lived together: {earlier} and {later}"
        assert earlier.fence < later.fence, f"{path.stem}: an older fence lived later: {earlier}, {later}"
    return runs
