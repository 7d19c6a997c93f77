"""Charts are drawn from what the API says: every bar lies where its job ran, others' jobs have no name."""

from __future__ import annotations

import time
from typing import Any

from gpuyard.api.samples import KEPT, Samples
from gpuyard.api.web import charts
from tests.unit.api_routes.conftest import Yard

TIMELINE: dict[str, Any] = {
    "since": "2026-11-22T00:00:00Z",
    "until": "2026-11-22T06:00:00Z",
    "spans": [
        {"host": "local", "uuid": "a", "job_id": "one", "title": "x", "started_at": "2026-11-22T03:00:00Z",
         "ended_at": None, "exit_class": None},
        {"host": "local", "uuid": "a", "job_id": None, "title": None, "started_at": "2026-11-21T20:00:00Z",
         "ended_at": "2026-11-22T01:30:00Z", "exit_class": "exit:1"},
        {"host": "local", "uuid": "gone", "job_id": "two", "title": "y", "started_at": "2026-11-22T03:00:00Z",
         "ended_at": None, "exit_class": None},
    ],
}  # fmt: skip


def test_a_bar_lies_where_its_job_ran() -> None:
    a, b = charts.rows(TIMELINE, {("local", "a"): "GPU 0", ("local", "b"): "GPU 1"})
    assert [(bar.x, bar.width, bar.live, bar.failed) for bar in a.bars] == [
        (500.0, 500.0, True, False),
        (0.0, 250.0, False, True),
    ]
    assert (b.name, b.bars) == ("GPU 1", [])
    marks = charts.hours(TIMELINE["since"], TIMELINE["until"])
    assert [mark.text for mark in marks] == ["01:00", "02:00", "03:00", "04:00", "05:00", "06:00"]
    assert marks[-1].x == charts.WIDTH


def test_short_jobs_that_lie_too_close_are_one_bar() -> None:
    """From the newest on, as the API tells them: one that runs, ten of a second each, one an hour before."""
    ends: list[tuple[str, str | None, str | None]] = [("05:59:30", None, None)]
    ends += [(f"05:59:{second:02d}", f"05:59:{second + 1:02d}", "completed") for second in range(20, 10, -1)]
    ends.append(("04:00:00", "05:00:00", "exit:1"))
    spans = [
        {"host": "local", "uuid": "a", "job_id": began, "title": "x", "started_at": f"2026-11-22T{began}Z",
         "ended_at": ended and f"2026-11-22T{ended}Z", "exit_class": exit_class}
        for began, ended, exit_class in ends
    ]  # fmt: skip
    [row] = charts.rows({**TIMELINE, "spans": spans}, {("local", "a"): "GPU 0"})
    live, short, long = row.bars
    assert (live.live, live.jobs, live.job_id) == (True, 1, "05:59:30")
    assert (short.words, short.job_id, short.jobs, short.failed) == ("10 jobs: x, x, x, x, x, …", None, 10, False)
    assert short.x <= charts.WIDTH * (6 * 3600 - 49) / (6 * 3600) + 0.1 and short.width <= charts.NEAR
    assert (long.jobs, long.failed) == (1, True) and row.jobs == 12


def test_an_area_needs_two_points_and_never_many() -> None:
    assert charts.area([(0.0, 1.0)], 0, 1, 5) == ("", "")
    path, edge = charts.area([(float(at), at % 7) for at in range(10_000)], 0, 9_999, 10)
    assert edge.startswith("M0.0 120.0 L") and path.endswith("Z")
    assert edge.count("L") <= charts.MOST_POINTS + 2


def test_the_timeline_tells_who_had_which_gpu(yard: Yard) -> None:
    job = yard.submit("sleep", "30", by="ann", name="mine", num_processes=2)
    yard.running(job["job_id"])
    mine = yard.get("/api/gpus/timeline", by="ann")["spans"]
    assert [(span["index"], span["title"], span["ended_at"]) for span in mine] == [(0, "mine", None), (1, "mine", None)]
    others = yard.get("/api/gpus/timeline", by="bob")["spans"]
    assert [(span["job_id"], span["title"]) for span in others] == [(None, None)] * 2
    yard.post(f"/api/jobs/{job['job_id']}/cancel", by="ann")
    yard.wait(job["job_id"])
    assert yard.get("/api/gpus/timeline")["spans"][0]["exit_class"] == "cancelled"


def test_figures_over_time_are_kept_for_some_hours(yard: Yard) -> None:
    samples: Samples = yard.client.app.state.samples  # type: ignore[attr-defined]
    assert yard.get("/api/queue/history")["samples"] == []

    async def look() -> None:
        from gpuyard.actors.model import names
        from gpuyard.actors.model.commands import GetGpus, GetStats

        core = yard.client.app.state.core  # type: ignore[attr-defined]
        stats, page = await core.ask(names.SCHEDULER, GetStats()), await core.ask(names.SCHEDULER, GetGpus())
        now = time.time()
        for number in range(KEPT + 50):
            samples.add(now - (KEPT + 50 - number) * 0.1, stats, page)

    assert yard.client.portal is not None
    yard.client.portal.call(look)
    history = yard.get("/api/queue/history")
    assert len(history["samples"]) == KEPT and history["samples"][0]["gpus_total"] == 4
    series = yard.get("/api/gpus/history")["gpus"]
    assert len(series) == 4 and {len(one["samples"]) for one in series} == {KEPT}
    one = series[0]["uuid"]
    assert [found["uuid"] for found in yard.get(f"/api/gpus/history?gpu={one}")["gpus"]] == [one]
    assert "The chart begins now" not in yard.client.get("/").text
