"""Limits while jobs run; the machine's status as the requirement shows it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gpuyard.actors.model import limits
from tests.unit.api_routes.conftest import Yard

LIMITS = set(limits.Limits.__struct_fields__)


def test_the_limits_of_the_contract_are_there() -> None:
    assert {"max_concurrent", "user_max_concurrent", "team_max_concurrent", "enable_fair_share"} < LIMITS
    assert {"local_gpu_max_concurrent", "local_job_max_concurrent", "local_cpu_job_max_concurrent"} < LIMITS
    assert {"user_max_gpus", "starvation_threshold_minutes", "reserve_after_seconds", "cancel_hold_seconds"} < LIMITS


def test_limits_are_read_and_changed_one_by_one(yard: Yard) -> None:
    before = yard.get("/api/queue/concurrency")
    assert set(before) == LIMITS
    after = yard.post("/api/queue/concurrency", {"max_concurrent": 10, "user_max_concurrent": 3})
    assert after == {"success": True, **before, "max_concurrent": 10, "user_max_concurrent": 3}
    assert yard.get("/api/queue/concurrency") == {key: after[key] for key in LIMITS}


def test_null_lifts_and_absent_leaves(yard: Yard) -> None:
    yard.post("/api/queue/concurrency", {"local_gpu_max_concurrent": 2})
    assert yard.post("/api/queue/concurrency", {"max_concurrent": 6})["local_gpu_max_concurrent"] == 2
    assert yard.post("/api/queue/concurrency", {"local_gpu_max_concurrent": None})["local_gpu_max_concurrent"] is None
    assert yard.post("/api/queue/concurrency", {"cancel_hold_seconds": 0.5})["cancel_hold_seconds"] == 0.5
    assert yard.post("/api/queue/concurrency", {})["cancel_hold_seconds"] == 0.5


WRONG: list[Any] = [
    {"max_concurrent": 0},
    {"max_concurrent": 101},
    {"max_concurrent": None},
    {"max_concurrent": "5"},
    {"max_concurrent": 5.0},
    {"max_concurrent": True},
    {"user_max_concurrent": 21},
    {"team_max_concurrent": 51},
    {"enable_fair_share": 1},
    {"enable_fair_share": None},
    {"local_gpu_max_concurrent": 0},
    {"local_job_max_concurrent": 65},
    {"local_job_max_concurrent": None},
    {"reserve_after_seconds": 86_401},
    {"reserve_after_seconds": -1},
    {"starvation_threshold_minutes": 0},
    {"starvation_threshold_minutes": "60"},
    {"reserve_after_seconds": True},
    {"cancel_hold_seconds": "soon"},
    {"cancel_hold_seconds": []},
    {"max_concurrent": 2**63},
    {"no_such_limit": 1},
    [],
    "x",
]


@pytest.mark.parametrize("body", WRONG)
def test_a_wrong_limit_is_422_and_changes_nothing(calm: Yard, body: Any) -> None:
    before = calm.get("/api/queue/concurrency")
    response = calm.ask("POST", "/api/queue/concurrency", body)
    assert response.status_code == 422
    if isinstance(body, dict):
        assert response.json()["errors"][0]["field"] == next(iter(body))
    assert calm.get("/api/queue/concurrency") == before


def test_limits_are_an_admins(yard: Yard) -> None:
    assert yard.ask("POST", "/api/queue/concurrency", {"max_concurrent": 9}, by="lead").status_code == 403
    assert set(yard.get("/api/queue/concurrency", by="eve")) == LIMITS


def test_a_raised_limit_starts_the_next_job(yard: Yard) -> None:
    yard.post("/api/queue/concurrency", {"local_job_max_concurrent": 1})
    yard.submit("sleep", "600")
    waiting = yard.submit("true")["job_id"]
    assert yard.job(waiting)["reasons"][0]["code"] == "LocalJobLimit"
    yard.post("/api/queue/concurrency", {"local_job_max_concurrent": 2})
    assert yard.wait(waiting)["status"] == "completed"


def test_system_status_is_the_requirements_example(yard: Yard) -> None:
    job_id = yard.submit("sleep", "600", num_processes=2)["job_id"]
    status = yard.get("/api/system/status?include_allocation=true")
    assert abs(status["timestamp"] - time.time()) < 60
    assert isinstance(status["load_avg_5min"], float)
    assert 0 <= status["memory_percent"] <= 100
    assert status["gpu_inventory"]["backend"] == "simulated"
    assert status["gpu_inventory"]["count"] == 4
    assert isinstance(status["gpu_inventory"]["capabilities"], dict)
    assert status["uptime_seconds"] > 0
    allocation = status["gpu_allocation"]
    assert (allocation["allocated_gpus"], allocation["available_gpus"]) == ([0, 1], [2, 3])
    assert allocation["running_local_jobs"] == 1
    shown = [
        {key: device[key] for key in ("index", "name", "memory_gb", "allocated", "job_id")}
        for device in allocation["devices"]
    ]
    assert shown == [
        {"index": 0, "name": "Simulated A100", "memory_gb": 40, "allocated": True, "job_id": job_id},
        {"index": 1, "name": "Simulated A100", "memory_gb": 40, "allocated": True, "job_id": job_id},
        {"index": 2, "name": "Simulated A100", "memory_gb": 40, "allocated": False, "job_id": None},
        {"index": 3, "name": "Simulated A100", "memory_gb": 40, "allocated": False, "job_id": None},
    ]
    assert set(allocation["devices"][0]) >= {"uuid", "state", "reason", "memory_used_gb"}
    assert set(allocation["devices"][0]) >= {"utilization", "temperature_c", "power_w"}
    assert allocation["devices"] == status["gpus"]


def test_allocation_is_there_only_when_asked_for(yard: Yard) -> None:
    assert "gpu_allocation" not in yard.get("/api/system/status")
    assert "gpu_allocation" not in yard.get("/api/system/status?include_allocation=false")
    assert yard.ask("GET", "/api/system/status?include_allocation=perhaps").status_code == 422


def test_status_and_stats_agree_about_the_gpus(yard: Yard) -> None:
    yard.submit("sleep", "600", num_processes=3)
    local = yard.get("/api/queue/stats")["local"]
    allocation = yard.get("/api/system/status?include_allocation=true")["gpu_allocation"]
    assert local["allocated_gpus"] == allocation["allocated_gpus"] == [0, 1, 2]
    assert local["available_gpus"] == allocation["available_gpus"] == [3]
    assert local["running_jobs"] == allocation["running_local_jobs"] == 1
