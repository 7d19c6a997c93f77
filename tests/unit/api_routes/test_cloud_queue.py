"""Limits, priority, approvals and cancels are the same for local jobs and for cloud ones: each sentence over both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import eventually
from tests.unit.api_routes.conftest import Yard


@dataclass
class Place:
    """Jobs of one target: how one is submitted, and what its limits are called."""

    yard: Yard
    target: str

    @property
    def cloud(self) -> bool:
        return self.target == "cloud"

    def limit(self, at_once: int, of_user: int | None = None) -> None:
        names = (
            ("max_concurrent", "user_max_concurrent") if self.cloud else ("local_job_max_concurrent", "user_max_gpus")
        )
        values = {names[0]: at_once, names[1]: of_user or (20 if self.cloud else None)}
        self.yard.post("/api/queue/concurrency", values)

    def submit(self, seconds: float = 600.0, by: str = "owner", **more: Any) -> str:
        if self.cloud:
            more |= {"target": "cloud", "provider": "simulated", "provider_options": {"run_seconds": seconds}}
        return str(self.yard.submit("sleep", str(seconds), by=by, **more)["job_id"])

    def status(self, job_id: str) -> str:
        return str(self.yard.job(job_id)["status"])

    def running(self) -> set[str]:
        entries = self.yard.get("/api/queue?status=running&limit=200")["entries"]
        return {entry["job_id"] for entry in entries}

    def reasons(self, job_id: str) -> list[str]:
        return [reason["code"] for reason in self.yard.get(f"/api/queue/position/{job_id}")["reasons"]]

    def order(self) -> list[str]:
        """Waiting jobs as they stand."""
        entries = self.yard.get("/api/queue?status=pending&limit=200")["entries"]
        assert [entry["position"] for entry in entries] == list(range(1, len(entries) + 1))
        return [entry["job_id"] for entry in entries]


@pytest.fixture(params=["local", "cloud"])
def place(request: pytest.FixtureRequest, yard: Yard) -> Iterator[Place]:
    yield Place(yard, request.param)


def test_no_more_run_at_once_than_the_limit_allows_and_the_reason_says_so(place: Place) -> None:
    place.limit(2)
    jobs = [place.submit() for _ in range(4)]
    assert place.running() == set(jobs[:2])
    assert place.reasons(jobs[2]) == ["GlobalLimit" if place.cloud else "LocalJobLimit"]
    place.limit(3)
    assert place.running() == set(jobs[:3])


def test_a_dry_run_tells_the_limit_that_it_would_wait_for_and_leaves_nothing(place: Place) -> None:
    place.limit(1)
    place.submit()
    wish: dict[str, Any] = {"command": ["x"], "dry_run": True, "time_limit": 3600}
    if place.cloud:
        wish |= {"target": "cloud", "provider": "simulated", "provider_options": {"hardware": "a100"}}
    answer = place.yard.post("/api/queue/submit", wish)
    assert answer["status"] == "queued" and answer["job_id"] is None
    assert answer["reasons"][0]["code"] == ("GlobalLimit" if place.cloud else "LocalJobLimit")
    assert (answer["estimated_cost"] > 0) is place.cloud
    assert len(place.running()) == 1 and not place.order()


def test_the_next_one_starts_when_one_ends(place: Place) -> None:
    place.limit(1)
    first, second = place.submit(0.3), place.submit(0.1)
    assert place.status(second) == "pending"
    assert place.yard.wait(second)["status"] == "completed" and place.status(first) == "completed"


def test_higher_levels_go_first_and_equals_in_order_of_submission(place: Place) -> None:
    place.limit(1)
    place.submit()
    young, younger = place.submit(by="ann"), place.submit(by="bob")
    lead = place.submit(by="lead")
    urgent = place.submit(by="ann")
    place.yard.post(f"/api/queue/{urgent}/priority", {"priority": 35}, by="lead")
    assert place.order() == [urgent, lead, young, younger]


def test_a_user_at_the_limit_hides_nobody(place: Place) -> None:
    place.limit(3, of_user=1)
    first, *rest = [place.submit(by="ann") for _ in range(10)]
    other = place.submit(by="bob")
    assert place.running() == {first, other}
    assert place.reasons(rest[0]) == ["UserLimit"]


def test_a_job_that_waits_for_approval_starts_once_it_is_approved(place: Place) -> None:
    blocked = place.submit(0.1, requires_approval=True)
    assert place.status(blocked) == "blocked" and not place.running()
    place.yard.post(f"/api/queue/{blocked}/approve")
    assert place.yard.wait(blocked)["status"] == "completed"


def test_a_rule_about_cost_blocks_what_is_dear(place: Place) -> None:
    place.yard.post("/api/approvals/rules", {"name": "dear", "type": "cost_exceeds", "threshold": 50})
    cheap, dear = place.submit(0.1, estimated_cost=10), place.submit(0.1, estimated_cost=60)
    assert place.yard.wait(cheap)["status"] == "completed" and place.status(dear) == "blocked"
    place.yard.post(f"/api/queue/{dear}/reject?reason=too+dear")
    assert place.status(dear) == "failed"


def test_a_held_job_waits_until_it_is_released(place: Place) -> None:
    place.limit(1)
    first, second = place.submit(0.3), place.submit(0.1)
    place.yard.post(f"/api/queue/{second}/hold")
    place.yard.wait(first)
    assert place.reasons(second) == ["Held"]
    place.yard.post(f"/api/queue/{second}/release")
    assert place.yard.wait(second)["status"] == "completed"


def test_a_cancel_of_a_running_job_starts_the_next_in_the_cloud_and_nothing_here(place: Place) -> None:
    place.limit(1)
    first, second = place.submit(), place.submit()
    place.yard.running(first)
    answer = place.yard.post(f"/api/jobs/{first}/cancel")
    assert answer["processing_held"] is not place.cloud
    assert place.yard.wait(first)["status"] == "cancelled"
    if place.cloud:
        eventually(lambda: place.running() == {second}, timeout=30)
    else:
        assert place.status(second) == "pending" and "ProcessingHeld" in place.reasons(second)


def test_a_bulk_cancel_is_not_outrun(place: Place) -> None:
    place.limit(2)
    jobs = [place.submit() for _ in range(6)]
    answer = place.yard.post("/api/jobs/cancel", {"all": True})
    assert set(answer["cancelled"]) == set(jobs)
    assert {place.yard.wait(job_id)["status"] for job_id in jobs} == {"cancelled"}
    started = [job_id for job_id in jobs if place.yard.job(job_id)["attempts"]]
    assert started == jobs[:2], "none that waited was started meanwhile"


def test_a_failed_job_is_submitted_again_as_it_was(place: Place) -> None:
    place.limit(2)
    job_id = place.submit()
    place.yard.running(job_id)
    place.yard.post(f"/api/jobs/{job_id}/cancel")
    place.yard.wait(job_id)
    again = place.yard.post(f"/api/jobs/{job_id}/retry")["job_id"]
    job = place.yard.running(again)
    assert job["target"] == place.yard.job(job_id)["target"] and job["retry_of"] == job_id


def test_with_fair_share_a_team_leaves_room_for_others(yard: Yard) -> None:
    place = Place(yard, "cloud")
    limits = {"max_concurrent": 6, "user_max_concurrent": 2, "team_max_concurrent": 3, "enable_fair_share": True}
    yard.post("/api/queue/concurrency", limits)
    lead = [place.submit(by="lead") for _ in range(2)]
    ann = [place.submit(by="ann") for _ in range(2)]
    bob = [place.submit(by="bob") for _ in range(3)]
    assert place.running() == {*lead, ann[0], *bob[:2]}
    assert place.reasons(ann[1]) == ["TeamLimit"] and place.reasons(bob[2]) == ["UserLimit"]
    yard.post(f"/api/jobs/{ann[0]}/cancel")
    eventually(lambda: ann[1] in place.running(), timeout=30)


def test_cloud_jobs_and_local_ones_do_not_stand_in_each_others_way(yard: Yard) -> None:
    cloud, local = Place(yard, "cloud"), Place(yard, "local")
    cloud.limit(1)
    local.limit(1)
    jobs = [cloud.submit(), cloud.submit(), local.submit(), local.submit()]
    assert cloud.running() == {jobs[0], jobs[2]}
    stats = yard.get("/api/queue/stats")
    assert (stats["running"], stats["queue_depth"]) == (1, 1)
    assert (stats["local"]["running_jobs"], stats["local"]["pending_jobs"]) == (1, 1)
