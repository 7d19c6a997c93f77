"""Pictures of one job: its life as a strip of waiting and running, and how its GPUs were used over the run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from gpuyard.actors.model.clock import epoch
from gpuyard.api.web import charts
from gpuyard.api.web.words import duration

LEAST: Final = 6.0  # of charts.WIDTH: what was short is still seen


class Part(NamedTuple):
    """A stretch of a job's life. `kind` is blocked, waiting, running, completed, failed or cancelled."""

    kind: str
    words: str
    x: float
    width: float


class Line(NamedTuple):
    """One GPU in a chart; `now` is its last value, in words."""

    gpu: int
    colour: int
    edge: str
    now: str | None


class Chart(NamedTuple):
    name: str
    unit: str
    top: str
    middle: str
    lines: list[Line]


def life(job: dict[str, Any], now: float) -> list[Part]:
    """From submit to the end, or to now: when it was blocked, waited and ran. Times are epoch seconds."""
    stretches: list[tuple[str, str, float, float]] = []
    at = epoch(job["queued_at"])
    let_in = [epoch(event["at"]) for event in job["events"] if event["kind"] == "job_approved"]
    if job["status"] == "blocked" or let_in:
        until = let_in[0] if let_in else now
        stretches.append(("blocked", "waited for an approval", at, until))
        at = until
    for attempt in job["attempts"]:
        begun = epoch(attempt["started_at"] or attempt["assigned_at"])
        stretches.append(("waiting", "waited", at, begun))
        live = attempt["ended_at"] is None
        at = now if live else epoch(attempt["ended_at"])
        kind = "running" if live else _ended(attempt["exit_class"])
        verb = "runs" if live else "ran"
        number = f"attempt {attempt['number']} " if len(job["attempts"]) > 1 else ""
        stretches.append((kind, f"{number}{verb}", begun, at))
    if job["status"] == "pending":
        stretches.append(("waiting", "waits", at, now))
    shown = [one for one in stretches if one[3] - one[2] >= 0.05 or one[0] not in ("waiting", "blocked")]
    whole = sum(max(0.0, end - start) for _, _, start, end in shown) or 1.0
    room = charts.WIDTH - LEAST * len(shown)
    parts: list[Part] = []
    x = 0.0
    for kind, words, start, end in shown:
        seconds = max(0.0, end - start)
        width = LEAST + room * seconds / whole
        parts.append(Part(kind, f"{words} {duration(seconds)}", round(x, 1), round(width, 1)))
        x += width
    return parts


def _ended(exit_class: str | None) -> str:
    return exit_class if exit_class in ("completed", "cancelled") else "failed"


def use(
    history: Sequence[dict[str, Any]], names: dict[str, int], since: float, until: float, memory: float
) -> list[Chart]:
    """Load and memory of the GPUs `names` (UUID → index) between two times; `memory` is a card's size in GB. Empty
    when no GPU has two samples."""
    series = {one["uuid"]: one["samples"] for one in history}
    found = []
    for name, unit, field, top in (
        ("Load", " %", "utilization", 100.0),
        ("Memory", " GB", "memory_used_gb", memory or _highest(history)),
    ):
        lines = []
        for colour, (uuid, index) in enumerate(sorted(names.items(), key=lambda item: item[1])):
            samples = [one for one in series.get(uuid, []) if one[field] is not None]
            points = [(epoch(one["at"]), float(one[field])) for one in samples]
            points = [point for point in points if since <= point[0] <= until]
            edge = charts.area(points, since, until, top)[1]
            if edge:
                last = f"{points[-1][1]:g}{unit}"
                lines.append(Line(index, colour % charts.COLOURS, edge, last))
        if lines:
            found.append(Chart(name, unit, f"{top:g}", f"{top / 2:g}", lines))
    return found


def _highest(history: Sequence[dict[str, Any]]) -> float:
    return charts.round_up(max((one["memory_used_gb"] for gpu in history for one in gpu["samples"]), default=0.0))


def columns(days: Sequence[dict[str, Any]], every: Sequence[str]) -> tuple[list[dict[str, Any]], float]:
    """A column for each day of `every`, as high as its GPU-hours; and the highest."""
    told = {day["period"]: day for day in days}
    top = max((day["gpu_hours"] for day in days), default=0.0)
    edges = [charts.WIDTH * number / len(every) for number in range(len(every) + 1)]
    bars = []
    for day, (left, right) in zip(every, pairwise(edges), strict=True):
        hours, runs = (told[day]["gpu_hours"], told[day]["runs"]) if day in told else (0.0, 0)
        height = round(charts.HEIGHT * hours / top, 1) if top else 0.0
        bars.append(
            {
                "day": day,
                "hours": hours,
                "runs": runs,
                "x": round(left + 0.1 * (right - left), 1),
                "width": round(0.8 * (right - left), 1),
                "y": charts.HEIGHT - height,
                "height": height,
            }
        )
    return bars, top
