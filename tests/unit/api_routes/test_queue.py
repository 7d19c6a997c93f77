"""The queue's routes: lists across the seam of active and finished, positions, and what may be done to a job."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import eventually
from tests.unit.api_routes.conftest import Yard

ENTRY = {
    *("id", "job_id", "user_id", "team_id", "provider", "config_name", "job_type", "target", "priority"),
    *("priority_name", "priority_override", "effective_priority", "status", "phase", "position", "queued_at"),
    *("started_at", "completed_at", "estimated_cost", "requires_approval", "approval_id", "attempt", "max_attempts"),
    *("error_message", "num_processes", "allocated_gpus", "worker_id", "reasons", "metadata"),
}
SLEEP = ("sleep", "600")


def listed(yard: Yard, query: str = "", by: str = "owner") -> dict[str, Any]:
    answer: dict[str, Any] = yard.get(f"/api/queue{query}", by)
    return answer


def test_an_entry_has_every_field_of_the_contract_and_nothing_of_the_wire(yard: Yard) -> None:
    yard.submit(*SLEEP, num_processes=4)
    yard.submit(*SLEEP)
    running, pending = listed(yard)["entries"]
    for entry in (running, pending):
        assert set(entry) >= ENTRY
        assert "type" not in entry
    assert (running["status"], running["allocated_gpus"], running["position"]) == ("running", [0, 1, 2, 3], None)
    assert (pending["status"], pending["allocated_gpus"], pending["position"]) == ("pending", None, 1)
    assert running["provider"] == "local"
    assert (pending["priority"], pending["priority_name"]) == (30, "urgent")
    assert pending["reasons"][0]["code"] == "GpusBusy"
    assert pending["reasons"][0]["blocking_jobs"] == [running["job_id"]]


def test_the_list_is_running_then_pending_by_position_then_blocked_then_finished(yard: Yard) -> None:
    done = [yard.submit("true")["job_id"] for _ in range(3)]
    for job_id in done:
        yard.wait(job_id)
    ended = [job["job_id"] for job in sorted(map(yard.job, done), key=lambda job: job["completed_at"], reverse=True)]
    blocked = yard.submit(*SLEEP, requires_approval=True)["job_id"]
    running = yard.submit(*SLEEP, num_processes=4)["job_id"]
    low = yard.submit(*SLEEP, priority_override=5)["job_id"]
    high = yard.submit(*SLEEP)["job_id"]
    expected = [running, high, low, blocked, *ended]
    everything = listed(yard, "?include_completed=true")
    assert [entry["job_id"] for entry in everything["entries"]] == expected
    assert (everything["total"], everything["total_pending"], everything["total_running"]) == (7, 2, 1)
    assert [entry["job_id"] for entry in listed(yard)["entries"]] == expected[:4]


def test_pages_meet_exactly_at_the_seam(yard: Yard) -> None:
    done = [yard.submit("true")["job_id"] for _ in range(4)]
    for job_id in done:
        yard.wait(job_id)
    yard.submit(*SLEEP, num_processes=4)
    for _ in range(4):
        yard.submit(*SLEEP)
    whole = [entry["job_id"] for entry in listed(yard, "?include_completed=true&limit=200")["entries"]]
    assert len(whole) == 9
    for size in (1, 2, 3, 5, 9, 20):
        pages: list[str] = []
        for offset in range(0, 12, size):
            page = listed(yard, f"?include_completed=true&limit={size}&offset={offset}")
            assert page["total"] == 9
            pages += [entry["job_id"] for entry in page["entries"]]
        assert pages == whole, size


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *(("pending", 1), ("queued", 1), ("running", 1), ("blocked", 1), ("completed", 1), ("failed", 0)),
        *(("running,pending", 2), ("completed,running", 2), ("PENDING", 1), (" queued , pending ", 1)),
    ],
)
def test_the_status_filter(yard: Yard, status: str, expected: int) -> None:
    yard.wait(yard.submit("true")["job_id"])
    yard.submit(*SLEEP, num_processes=4)
    yard.submit(*SLEEP)
    yard.submit(*SLEEP, requires_approval=True)
    page = listed(yard, f"?status={status}")
    assert (len(page["entries"]), page["total"]) == (expected, expected)
    assert (page["total_pending"], page["total_running"]) == (1, 1)


@pytest.mark.parametrize(
    "query",
    [
        *("?status=canceled", "?status=", "?status=pending,", "?status=" + "a" * 999, "?status=%ed%a0%80"),
        *("?limit=0", "?limit=201", "?limit=x", "?limit=1e2", "?limit=", "?include_completed=maybe"),
        *("?offset=-1", "?offset=9223372036854775808", "?offset=NaN"),
    ],
)
def test_a_malformed_query_is_422_with_a_sentence(calm: Yard, query: str) -> None:
    response = calm.ask("GET", f"/api/queue{query}")
    assert response.status_code == 422
    body = response.json()
    assert isinstance(body["detail"], str) and body["detail"]
    assert body["code"] == "invalid_input"
    assert body["errors"][0]["field"] in ("status", "limit", "offset", "include_completed")


def test_position_is_the_same_in_every_place(yard: Yard) -> None:
    yard.submit(*SLEEP, num_processes=4)
    waiting = [yard.submit(*SLEEP) for _ in range(3)]
    assert [answer["queue_position"] for answer in waiting] == [1, 2, 3]
    entries = {entry["job_id"]: entry["position"] for entry in listed(yard, "?status=pending")["entries"]}
    mine = {entry["job_id"]: entry["position"] for entry in yard.get("/api/queue/me")["pending_jobs"]}
    jobs = {job["job_id"]: job["queue_position"] for job in yard.get("/api/jobs?status=pending")["jobs"]}
    assert entries == mine == jobs == {answer["job_id"]: n for n, answer in enumerate(waiting, 1)}
    for job_id, place in entries.items():
        assert yard.get(f"/api/queue/position/{job_id}")["position"] == place
        assert yard.job(job_id)["position"] == place


def test_my_queue_counts_as_the_requirement_says(yard: Yard) -> None:
    yard.submit(*SLEEP, num_processes=4)
    yard.submit(*SLEEP)
    yard.submit(*SLEEP, by="ann")
    yard.submit(*SLEEP, requires_approval=True)
    me = yard.get("/api/queue/me")
    assert {key: me[key] for key in me if not key.endswith("_jobs")} == {
        "pending_count": 1,
        "running_count": 1,
        "blocked_count": 1,
        "best_position": 1,
    }
    ann = yard.get("/api/queue/me", by="ann")
    assert (ann["pending_count"], ann["running_count"], ann["best_position"]) == (1, 0, 2)
    assert yard.get("/api/queue/user/3", by="lead") == ann
    assert yard.get("/api/queue/user/99") == {
        "pending_count": 0,
        "running_count": 0,
        "blocked_count": 0,
        "best_position": None,
        "pending_jobs": [],
        "running_jobs": [],
    }


def test_stats_have_the_fields_of_both_examples(yard: Yard) -> None:
    yard.wait(yard.submit("true")["job_id"])
    yard.submit(*SLEEP, num_processes=3)
    yard.submit(*SLEEP, num_processes=2, by="ann")
    stats = yard.get("/api/queue/stats")
    assert (stats["queue_depth"], stats["running"]) == (0, 0)
    assert (stats["total_pending"], stats["total_running"]) == (1, 1)
    assert stats["by_status"] == {"completed": 1, "pending": 1, "running": 1}
    assert stats["by_user"] == {"1": 1, "3": 1}
    assert stats["local"] == {
        "running_jobs": 1,
        "pending_jobs": 1,
        "cpu_running_jobs": 0,
        "allocated_gpus": [0, 1, 2],
        "available_gpus": [3],
        "total_gpus": 4,
        "max_concurrent_gpus": None,
        "max_concurrent_jobs": 4,
    }
    assert stats["workers"]["total_workers"] == 0
    assert (stats["max_concurrent"], stats["user_max_concurrent"], stats["team_max_concurrent"]) == (5, 2, 10)
    assert (stats["local_gpu_max_concurrent"], stats["local_job_max_concurrent"]) == (None, 4)
    assert stats["processing_held"] is False
    assert stats["avg_wait_seconds"] >= 0
    assert "limits" not in stats and "type" not in stats["local"]


def test_estimates_come_from_past_runs_of_the_config(yard: Yard) -> None:
    (yard.configs / "quick.toml").write_text('command = ["true"]\nnum_processes = 4\n')
    (yard.configs / "slow.toml").write_text('command = ["sleep", "600"]\nnum_processes = 4\ntime_limit = "1h"\n')
    yard.wait(yard.post("/api/queue/submit", {"config_name": "quick"})["job_id"])
    first = yard.post("/api/queue/submit", {"config_name": "slow"})
    second = yard.post("/api/queue/submit", {"config_name": "quick"})
    third = yard.post("/api/queue/submit", {"config_name": "quick"})
    # The later one is asked first: waits shrink while one asks.
    waits = [yard.get(f"/api/queue/position/{job['job_id']}") for job in (third, second)]
    for view in waits:
        assert (
            3_000 < view["estimated_wait_low"] <= view["estimated_wait_seconds"] <= view["estimated_wait_high"] < 3_700
        )
    assert waits[1]["estimated_wait_seconds"] <= waits[0]["estimated_wait_seconds"]
    assert yard.get(f"/api/queue/position/{first['job_id']}")["estimated_wait_seconds"] is None


def test_an_estimate_that_cannot_be_made_is_null(yard: Yard) -> None:
    yard.submit(*SLEEP, num_processes=4)
    waiting = yard.submit(*SLEEP)["job_id"]
    view = yard.get(f"/api/queue/position/{waiting}")
    assert [view[key] for key in view if key.startswith("estimated")] == [None, None, None]
    assert set(view["reasons"][0]) == {"code", "text", "detail", "blocking_jobs", "unblock", "never"}


def test_the_position_of_an_ended_job_is_null_and_of_none_404(yard: Yard) -> None:
    done = yard.submit("true")["job_id"]
    yard.wait(done)
    view = yard.get(f"/api/queue/position/{done}")
    assert (view["position"], view["status"], view["reasons"]) == (None, "completed", [])
    assert yard.ask("GET", "/api/queue/position/nosuchjob").status_code == 404


def test_the_position_may_be_asked_by_a_prefix(yard: Yard) -> None:
    yard.submit(*SLEEP, num_processes=4)
    waiting = yard.submit(*SLEEP)["job_id"]
    assert yard.get(f"/api/queue/position/{waiting[:8]}") == yard.get(f"/api/queue/position/{waiting}")


def test_cancel_here_is_for_jobs_that_have_not_started(yard: Yard) -> None:
    running = yard.submit(*SLEEP, num_processes=4)["job_id"]
    waiting = yard.submit(*SLEEP)["job_id"]
    refused = yard.ask("POST", f"/api/queue/{running}/cancel")
    assert refused.status_code == 409
    assert f"/api/jobs/{running}/cancel" in refused.json()["detail"]
    assert yard.post(f"/api/queue/{waiting}/cancel")["status"] == "cancelled"
    again = yard.ask("POST", f"/api/queue/{waiting}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")
    assert "cancelled" in again.json()["detail"]
    assert yard.ask("POST", "/api/queue/nosuchjob/cancel").status_code == 404


def test_a_blocked_job_waits_for_approval_and_starts_after_it(yard: Yard) -> None:
    answer = yard.submit("true", requires_approval=True)
    assert (answer["status"], answer["requires_approval"], answer["queue_position"]) == ("blocked", True, None)
    job_id = answer["job_id"]
    yard.post("/api/queue/process")
    assert yard.job(job_id)["reasons"][0]["code"] == "AwaitingApproval"
    assert yard.ask("POST", f"/api/queue/{job_id}/approve", by="ann").status_code == 403
    assert yard.ask("POST", f"/api/queue/{job_id}/approve", by="lead").status_code == 403
    assert yard.post(f"/api/queue/{job_id}/approve")["job_id"] == job_id
    assert yard.wait(job_id)["status"] == "completed"
    assert yard.ask("POST", f"/api/queue/{job_id}/approve").status_code == 409


def test_a_rejected_job_fails_with_the_reason(yard: Yard) -> None:
    job_id = yard.submit("true", requires_approval=True)["job_id"]
    for query in ("", "?reason=", "?reason=%20%20", "?reason=a%0Ab", "?reason=" + "x" * 300):
        assert yard.ask("POST", f"/api/queue/{job_id}/reject{query}").status_code == 422
    assert yard.post(f"/api/queue/{job_id}/reject?reason=too%20dear")["status"] == "failed"
    assert yard.job(job_id)["error_message"] == "Rejected: too dear"
    pending = yard.submit(*SLEEP, not_before="2999-01-01T00:00:00Z")["job_id"]
    assert yard.ask("POST", f"/api/queue/{pending}/reject?reason=no").status_code == 409


def test_priority_override_moves_a_job_and_null_takes_it_back(yard: Yard) -> None:
    yard.submit(*SLEEP, num_processes=4)
    first, second = (yard.submit(*SLEEP)["job_id"] for _ in range(2))
    assert yard.post(f"/api/queue/{second}/priority", {"priority": 45}) == {
        "success": True,
        "job_id": second,
        "previous_effective_priority": 30,
        "new_effective_priority": 45,
        "priority_override": 45,
    }
    assert [entry["job_id"] for entry in listed(yard, "?status=pending")["entries"]] == [second, first]
    assert yard.job(second)["priority_name"] == "critical"
    assert yard.post(f"/api/queue/{second}/priority", {"priority": None})["priority_override"] is None
    assert [entry["job_id"] for entry in listed(yard, "?status=pending")["entries"]] == [first, second]


@pytest.mark.parametrize("body", [{}, {"priority": 51}, {"priority": -1}, {"priority": "5"}, {"priority": 5.0}, [], 5])
def test_a_malformed_priority_is_422(calm: Yard, body: Any) -> None:
    assert calm.ask("POST", "/api/queue/nosuchjob/priority", body).status_code == 422


def test_priority_is_for_leads_and_the_highest_for_admins(yard: Yard) -> None:
    job_id = yard.submit(*SLEEP, not_before="2999-01-01T00:00:00Z", by="ann")["job_id"]
    path = f"/api/queue/{job_id}/priority"
    assert yard.ask("POST", path, {"priority": 5}, by="ann").status_code == 403
    assert yard.ask("POST", path, {"priority": 40}, by="lead").status_code == 403
    assert yard.post(path, {"priority": 39}, by="lead")["new_effective_priority"] == 39
    running = yard.submit(*SLEEP)["job_id"]
    assert yard.ask("POST", f"/api/queue/{running}/priority", {"priority": 1}).status_code == 409


def test_a_held_job_does_not_start_until_it_is_released(yard: Yard) -> None:
    yard.submit(*SLEEP, num_processes=4)
    held = yard.submit("true")["job_id"]
    assert yard.post(f"/api/queue/{held}/hold")["status"] == "pending"
    yard.post("/api/jobs/cancel", {"status": ["running"]})
    eventually(lambda: yard.get("/api/queue/stats")["total_running"] == 0)
    assert yard.post("/api/queue/process") == {"success": True, "dispatched": 0, "job_ids": []}
    assert "Held" in [reason["code"] for reason in yard.job(held)["reasons"]]
    yard.post(f"/api/queue/{held}/release")
    assert yard.wait(held)["status"] == "completed"


def test_processing_starts_what_a_cancel_held_back(yard: Yard) -> None:
    running = yard.submit(*SLEEP, num_processes=4)["job_id"]
    waiting = yard.submit("true")["job_id"]
    answer = yard.post(f"/api/jobs/{running}/cancel")
    assert (answer["status"], answer["phase"], answer["processing_held"]) == ("running", "stopping", True)
    yard.wait(running, "cancelled")
    assert yard.get("/api/queue/stats")["processing_held"] is True
    assert yard.job(waiting)["reasons"][0]["code"] == "ProcessingHeld"
    assert yard.post("/api/queue/process") == {"success": True, "dispatched": 1, "job_ids": [waiting]}
    assert yard.wait(waiting)["status"] == "completed"
    assert yard.ask("POST", "/api/queue/process", by="lead").status_code == 403


def test_cleanup_deletes_old_jobs_only_and_bounds_its_days(yard: Yard) -> None:
    yard.wait(yard.submit("true")["job_id"])
    assert yard.post("/api/queue/cleanup?days=7") == {"success": True, "deleted": 0, "days": 7}
    assert yard.post("/api/queue/cleanup")["days"] == 30
    for days in ("0", "366", "-1", "1.5", "x", "99999999999999999999"):
        assert yard.ask("POST", f"/api/queue/cleanup?days={days}").status_code == 422
    assert yard.ask("POST", "/api/queue/cleanup", by="lead").status_code == 403
