"""Queue windows and pauses over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gpuyard.api import zones
from tests.unit.api_routes.conftest import Yard


def hours(begin: float, end: float) -> str:
    """A window from so many hours from now to so many, in UTC."""
    now = datetime.now(UTC)
    clocks = [(now + timedelta(hours=each)).strftime("%H:%M") for each in (begin, end)]
    return f"{clocks[0]}-{clocks[1]} UTC"


def test_a_job_starts_inside_its_window_and_waits_outside(yard: Yard) -> None:
    inside = yard.submit("true", window=hours(-2, 2))
    assert inside["status"] == "running"
    answer = yard.submit("true", window=hours(2, 4))
    assert answer["status"] == "queued" and "opens at" in answer["reason"] and "UTC" in answer["reason"]
    job = yard.job(answer["job_id"])
    assert job["window"] == hours(2, 4)
    [reason] = job["reasons"]
    assert (reason["code"], reason["detail"]["zone"]) == ("Window", "UTC")
    place = yard.get(f"/api/queue/position/{answer['job_id']}")
    assert place["estimated_wait_seconds"] is None
    refused = yard.post("/api/queue/submit", {"command": ["true"], "window": hours(2, 4), "no_wait": True})
    assert (refused["success"], refused["reasons"][0]["code"]) == (False, "Window")


def test_a_window_without_a_zone_is_in_the_servers_and_says_so(yard: Yard) -> None:
    job_id = yard.submit("true", window="00:00-00:01")["job_id"]
    assert yard.job(job_id)["window"] == f"00:00-00:01 {zones.server_zone()}"
    berlin = yard.submit("true", window="22:00-07:00 Europe/Berlin")["job_id"]
    assert yard.job(berlin)["window"] == "22:00-07:00 Europe/Berlin"


@pytest.mark.parametrize(
    "window",
    ["", "night", "22-7", "22:00-22:00", "22:00-07:00 Mars/Olympus", "22:00-07:00 ../UTC", 7, ["22:00-07:00"]],
)
def test_a_wrong_window_is_422_naming_the_field(calm: Yard, window: Any) -> None:
    answer = calm.ask("POST", "/api/queue/submit", {"command": ["true"], "window": window})
    assert answer.status_code == 422 and "window" in answer.json()["detail"]


def test_a_config_may_have_a_window_and_what_is_wrong_with_it_is_said(yard: Yard) -> None:
    (yard.configs / "night.toml").write_text('command = ["true"]\nwindow = "22:00-07:00 Europe/Berlin"\n')
    assert yard.post("/api/configs/night/validate")["valid"]
    answer = yard.post("/api/queue/submit", {"config_name": "night"})
    assert yard.job(answer["job_id"])["window"] == "22:00-07:00 Europe/Berlin"
    other = yard.post("/api/queue/submit", {"config_name": "night", "window": hours(2, 4)})
    assert yard.job(other["job_id"])["window"] == hours(2, 4), "what the body says wins"
    for wrong in ("22:00-07:00 Mars/Olympus", "all night"):
        (yard.configs / "night.toml").write_text(f'command = ["true"]\nwindow = "{wrong}"\n')
        checked = yard.post("/api/configs/night/validate")
        assert not checked["valid"] and "window" in checked["errors"][0]
        assert yard.post("/api/queue/submit", {"config_name": "night"})["error"] == "invalid_config"


def test_a_window_stays_a_jobs_own_over_a_retry(yard: Yard) -> None:
    job_id = yard.submit("true", window=hours(2, 4))["job_id"]
    yard.post(f"/api/queue/{job_id}/cancel")
    again = yard.post(f"/api/jobs/{job_id}/retry")
    assert yard.job(again["job_id"])["window"] == hours(2, 4)


def test_a_paused_queue_starts_nothing_and_says_so_everywhere(yard: Yard) -> None:
    assert yard.post("/api/queue/pause", {"targets": ["local"]}) == {
        "success": True,
        "paused": ["local"],
        "dispatched": 0,
        "job_ids": [],
    }
    job_id = yard.submit("true")["job_id"]
    assert yard.job(job_id)["reasons"][0]["code"] == "QueuePaused"
    assert yard.get("/api/queue/stats")["paused"] == ["local"]
    yard.post("/api/queue/process")
    assert yard.job(job_id)["status"] == "pending"
    assert yard.post("/api/queue/pause")["paused"] == ["cloud", "local", "worker"]
    resumed = yard.post("/api/queue/resume", {"targets": ["local", "cloud"]})
    assert (resumed["paused"], resumed["job_ids"]) == (["worker"], [job_id])
    assert yard.wait(job_id)["status"] == "completed"
    assert yard.post("/api/queue/resume")["paused"] == []


def test_only_admins_pause_and_a_wrong_target_is_422(calm: Yard) -> None:
    for verb in ("pause", "resume"):
        for by in ("lead", "ann", "eve"):
            assert calm.ask("POST", f"/api/queue/{verb}", by=by).status_code == 403
        for body in ({"targets": ["moon"]}, {"targets": []}, {"targets": "local"}, {"target": ["local"]}):
            assert calm.ask("POST", f"/api/queue/{verb}", body).status_code == 422
    assert calm.get("/api/queue/stats")["paused"] == []
