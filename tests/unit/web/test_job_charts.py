"""Pictures of a job: its life in stretches that add up, and its own GPUs over its own time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from gpuyard.actors.model.clock import epoch, iso
from gpuyard.api.samples import GpuSample, Samples
from gpuyard.api.web import charts, job_charts
from tests.support import eventually
from tests.unit.api_routes.conftest import Yard

START = epoch("2026-11-22T10:00:00Z")


def job(status: str, attempts: list[dict[str, Any]], events: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"status": status, "queued_at": iso(START), "attempts": attempts, "events": events or []}


def attempt(number: int, start: float, end: float | None, exit_class: str | None = None) -> dict[str, Any]:
    ended = iso(START + end) if end is not None else None
    begun = iso(START + start)
    return {
        "number": number, "assigned_at": begun, "started_at": begun, "ended_at": ended, "exit_class": exit_class
    }  # fmt: skip


def test_a_life_is_told_from_the_submit_to_now() -> None:
    approved = [{"kind": "job_approved", "at": iso(START + 60)}]
    told = job("running", [attempt(1, 120, 300, "lost"), attempt(2, 360, None)], approved)
    parts = job_charts.life(told, START + 960)
    assert [(part.kind, part.words) for part in parts] == [
        ("blocked", "waited for an approval 1 min"),
        ("waiting", "waited 1 min"),
        ("failed", "attempt 1 ran 3 min"),
        ("waiting", "waited 1 min"),
        ("running", "attempt 2 runs 10 min"),
    ]
    assert parts[0].x == 0
    assert abs(parts[-1].x + parts[-1].width - charts.WIDTH) < 0.2
    assert all(before.x + before.width - after.x < 0.2 for before, after in pairwise(parts))


def test_a_life_of_no_time_at_all_is_still_drawn() -> None:
    (part,) = job_charts.life(job("pending", []), START + 5)
    assert (part.kind, part.words, part.width) == ("waiting", "waits 5.0 s", charts.WIDTH)
    assert job_charts.life(job("failed", []), START) == []


def test_a_chart_shows_its_own_gpus_over_its_own_time() -> None:
    moments = [{"at": iso(START + at), "utilization": at, "memory_used_gb": at / 2} for at in (-10, 10, 20, 30, 90)]
    history = [{"uuid": name, "samples": moments} for name in ("a", "b", "other")]
    load, memory = job_charts.use(history, {"b": 1, "a": 0}, START, START + 40, 80)
    assert [(line.gpu, line.now) for line in load.lines] == [(0, "30 %"), (1, "30 %")]
    assert load.lines[0].edge.count("L") >= 2 and load.lines[0].edge.startswith("M250.0 ")
    assert (memory.top, memory.middle, memory.lines[0].now) == ("80", "40", "15 GB")
    assert job_charts.use(history, {"gone": 0}, START, START + 40, 80) == []


def test_a_column_stands_for_each_day_also_an_idle_one() -> None:
    days = [{"period": "2026-11-22", "gpu_hours": 12.0, "runs": 3}]
    bars, top = job_charts.columns(days, ["2026-11-21", "2026-11-22"])
    assert top == 12 and [(bar["height"], bar["runs"]) for bar in bars] == [(0.0, 0), (charts.HEIGHT, 3)]
    assert job_charts.columns([], ["2026-11-22"])[1] == 0


def test_marks_are_few_and_at_even_times() -> None:
    marks = charts.marks(START + 5, START + 605)
    assert [mark.text for mark in marks] == ["10:02", "10:04", "10:06", "10:08", "10:10"]
    assert marks[0].at == iso(START + 120)
    assert charts.marks(START, START) == []


def test_the_page_of_a_job_draws_its_gpus(yard: Yard) -> None:
    samples: Samples = yard.client.app.state.samples  # type: ignore[attr-defined]
    running = yard.submit("sleep", "60", name="on two", num_processes=2)["job_id"]
    samples.gpus.clear()  # a slow machine has looked at them by now
    assert "The chart begins now" in page(yard, running)
    found = yard.running(running)
    uuids = found["attempts"][-1]["gpu_uuids"]
    assert len(uuids) == 2
    begun = epoch(found["started_at"])
    for uuid in uuids:
        samples.gpus.setdefault(("local", uuid), samples.gpus.get(("local", uuid)) or type(samples.queue)(maxlen=9))
        samples.gpus["local", uuid].extend(GpuSample(begun + at / 100, 90, 20 << 30) for at in (1, 2, 3))
    text = eventually(lambda: text if "Load over the run" in (text := page(yard, running)) else "")
    assert "GPU 0 90 % at the end; GPU 1 90 % at the end" in text and "20 GB" in text
    on_cpu = yard.submit("sleep", "60", num_processes=0)["job_id"]
    assert "It runs on the CPU" in page(yard, on_cpu)
    waits = yard.submit("sleep", "60", num_processes=4, requires_approval=True)["job_id"]
    assert "It has no GPU yet" in page(yard, waits)


def page(yard: Yard, job_id: str) -> str:
    return str(yard.client.get(f"/jobs/{job_id}").text)


def test_how_far_a_job_is_stands_in_the_api_and_in_the_tables(yard: Yard) -> None:
    script = "printf '\\033[1mstep 30/60\\033[0m loss 0.5\\n'; sleep 60"
    told = yard.submit("sh", "-c", script, name="teller", num_processes=0)["job_id"]
    silent = yard.submit("sleep", "60", num_processes=0)["job_id"]
    said = eventually(lambda: one if (one := yard.get(f"/api/jobs/{told}/progress"))["share"] else {})
    assert said == {"job_id": told, "share": 0.5, "text": "step 30/60 loss 0.5", "loss": "0.5"}
    assert yard.get(f"/api/jobs/{silent}/progress") == {"job_id": silent, "share": None, "text": None, "loss": None}
    for path in ("/", "/jobs", f"/jobs/{told}"):
        text = eventually(lambda path=path: text if "50 %" in (text := yard.client.get(path).text) else "")  # type: ignore[misc]
        assert 'value="50.0"' in text
