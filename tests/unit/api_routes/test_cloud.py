"""Cloud jobs and providers over HTTP, through the real actors and the simulated provider."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import eventually
from tests.unit.api_routes.conftest import Yard

CLOUD = {"target": "cloud", "provider": "simulated"}


def script(yard: Yard, **how: Any) -> None:
    """From now on the provider behaves so."""
    folder = yard.data / "simulated_cloud"
    folder.mkdir(exist_ok=True)
    (folder / "script.new").write_text(json.dumps(how))
    (folder / "script.new").replace(folder / "script.json")


def provider(yard: Yard, name: str = "simulated") -> dict[str, Any]:
    found: dict[str, Any] = next(p for p in yard.get("/api/cloud/providers")["providers"] if p["name"] == name)
    return found


def events(yard: Yard, job_id: str) -> list[str]:
    return [event["kind"] for event in yard.get(f"/api/jobs/{job_id}/events")["events"]]


def test_a_cloud_job_goes_its_way_with_its_log(yard: Yard) -> None:
    job_id = yard.submit("echo", "hi", **CLOUD)["job_id"]
    job = yard.wait(job_id)
    assert (job["status"], job["exit_class"], job["provider"], job["job_type"]) == (
        "completed",
        "completed",
        "simulated",
        "cloud",
    )
    assert job["worker_id"] is None and job["allocated_gpus"] == []
    assert events(yard, job_id) == ["job_submitted", "job_assigned", "job_accepted", "job_started", "job_completed"]
    log = yard.get(f"/api/jobs/{job_id}/logs")["logs"]
    assert log.splitlines()[1:] == ["simulated: echo hi", "step 1/3", "step 2/3", "step 3/3"]


def test_a_log_is_followed_to_its_end(yard: Yard) -> None:
    job_id = yard.submit("echo", "hi", **CLOUD, provider_options={"run_seconds": 0.5, "log_lines": 5})["job_id"]
    with yard.client.stream("GET", f"/api/jobs/{job_id}/logs/stream", headers={"X-API-Key": "owner"}) as stream:
        text = "".join(stream.iter_text())
    assert "data: step 5/5" in text and text.rstrip().endswith("data: completed")


def test_what_the_provider_says_of_a_run_is_shown_while_it_is_true(yard: Yard) -> None:
    job_id = yard.submit("echo", "hi", **CLOUD, provider_options={"queue_seconds": 600})["job_id"]
    eventually(lambda: yard.job(job_id)["progress"] == "waiting there", timeout=30)
    assert yard.get("/api/queue?status=running")["entries"][0]["progress"] == "waiting there"
    for page in (f"/jobs/{job_id}", "/jobs", "/cloud"):
        assert "waiting there" in yard.ask("GET", page).text, page
    yard.post(f"/api/jobs/{job_id}/cancel")
    assert yard.wait(job_id)["progress"] is None
    other = yard.submit("echo", "hi", **CLOUD, provider_options={"queue_seconds": 0.6, "run_seconds": 600})["job_id"]
    assert yard.running(other)["progress"] is None, "it waits no more"


def test_a_job_that_fails_there_fails_here(yard: Yard) -> None:
    job_id = yard.submit("false", **CLOUD, provider_options={"run_seconds": 0.1, "exit_code": 3})["job_id"]
    job = yard.wait(job_id)
    assert (job["status"], job["exit_class"], job["exit_code"]) == ("failed", "exit:3", 3)


def test_a_cancel_is_confirmed_before_it_is_cancelled_and_holds_nothing_back(yard: Yard) -> None:
    job_id = yard.submit("sleep", "600", **CLOUD, provider_options={"run_seconds": 600})["job_id"]
    yard.running(job_id)
    script(yard, down="unplugged")
    answer = yard.post(f"/api/jobs/{job_id}/cancel")
    assert (answer["status"], answer["phase"], answer["processing_held"]) == ("running", "stopping", False)
    eventually(lambda: provider(yard)["circuit"] == "open", timeout=30)
    assert yard.job(job_id)["phase"] == "stopping", "nobody confirmed it"
    script(yard)
    yard.post("/api/cloud/providers/simulated/test")
    assert yard.wait(job_id)["status"] == "cancelled"


def test_an_outage_keeps_jobs_as_they_are_and_says_why_others_wait(yard: Yard) -> None:
    running = yard.submit("sleep", "600", **CLOUD, provider_options={"run_seconds": 600})["job_id"]
    yard.running(running)
    script(yard, down="the cable is cut")
    eventually(lambda: provider(yard)["circuit"] == "open", timeout=30)
    waiting = yard.submit("echo", "later", **CLOUD)
    assert waiting["status"] == "queued" and "the cable is cut" in waiting["reason"]
    reason = yard.get(f"/api/queue/position/{waiting['job_id']}")["reasons"][0]
    assert reason["code"] == "ProviderDown" and reason["unblock"] == "gpuyard cloud providers test simulated"
    assert f"asked again at {reason['detail']['retry_at']}" in reason["text"]
    assert yard.job(running)["status"] == "running"
    assert provider(yard)["health"] == "down"
    script(yard)
    assert yard.post("/api/cloud/providers/simulated/test")["success"]
    assert yard.wait(waiting["job_id"])["status"] == "completed"
    assert yard.job(waiting["job_id"])["attempt"] == 1, "what never began does not count"
    assert yard.job(running)["status"] == "running"


def test_a_submit_that_the_provider_will_never_take_fails_at_once(yard: Yard) -> None:
    script(yard, refuse="no such model")
    job = yard.wait(yard.submit("true", **CLOUD)["job_id"])
    assert (job["status"], job["exit_class"], job["error_message"]) == ("failed", "start_failed", "no such model")


def test_a_lost_answer_makes_no_second_job(yard: Yard) -> None:
    script(yard, vanish=1.0)
    job_id = yard.submit("echo", "once", **CLOUD, provider_options={"run_seconds": 0.2})["job_id"]
    assert yard.wait(job_id)["status"] == "completed"
    assert len(list((yard.data / "simulated_cloud/jobs").iterdir())) == 1


def test_what_it_costs_is_told_before_and_after(yard: Yard) -> None:
    script(yard, usd_per_hour={"a100": 3600.0})
    wish = {**CLOUD, "provider_options": {"hardware": "a100", "run_seconds": 1}, "num_processes": 2}
    assert yard.post("/api/queue/submit", {"command": ["x"], **wish, "time_limit": 1, "dry_run": True})[
        "estimated_cost"
    ] == pytest.approx(20.0), "2 GPUs for a second, by the price table"
    job = yard.wait(yard.submit("x", **wish, time_limit=1)["job_id"])
    assert job["estimated_cost"] == pytest.approx(20.0)
    assert job["cost_usd"] == pytest.approx(2.0), "the provider's own word counts"
    cost = yard.get("/api/cloud/cost?by=user")
    assert cost["total_usd"] == pytest.approx(2.0) and cost["costs"][0]["key"] == "1"
    assert yard.get("/api/cloud/cost?by=month")["costs"][0]["key"] == job["queued_at"][:7]
    assert yard.get("/api/cloud/cost?by=job")["costs"][0]["key"] == job["job_id"]
    assert yard.get("/api/cloud/cost?until=2020-01-01T00:00:00Z")["total_jobs"] == 0
    assert provider(yard)["cost_usd"] == pytest.approx(2.0)


def test_only_leads_see_what_others_jobs_cost(yard: Yard) -> None:
    script(yard, usd_per_hour={"a100": 36.0})
    yard.wait(yard.submit("x", **CLOUD, provider_options={"hardware": "a100"}, by="ann")["job_id"])
    assert yard.ask("GET", "/api/cloud/cost", by="bob").json()["total_jobs"] == 0
    assert yard.ask("GET", "/api/cloud/cost", by="ann").json()["total_jobs"] == 1
    assert yard.ask("GET", "/api/cloud/cost", by="lead").json()["total_jobs"] == 1


def test_a_disabled_provider_is_sent_nothing_and_goes_on_with_what_it_has(yard: Yard) -> None:
    running = yard.submit("sleep", "1", **CLOUD, provider_options={"run_seconds": 1})["job_id"]
    yard.running(running)
    yard.post("/api/queue/concurrency", {"max_concurrent": 1})
    waiting = yard.submit("true", **CLOUD)["job_id"]
    answer = yard.ask("PATCH", "/api/cloud/providers/simulated", {"enabled": False})
    assert answer.status_code == 200 and answer.json()["health"] == "disabled"
    assert yard.wait(running)["status"] == "completed"
    reasons = yard.get(f"/api/queue/position/{waiting}")["reasons"]
    assert reasons[0]["code"] == "ProviderDown" and reasons[0]["never"]
    refused = yard.post("/api/queue/submit", {"command": ["true"], **CLOUD})
    assert (refused["success"], refused["error"]) == (False, "provider_not_configured")
    assert "disabled" in refused["reason"]
    assert yard.ask("PATCH", "/api/cloud/providers/simulated", {"enabled": True}).json()["enabled"]
    assert yard.wait(waiting)["status"] == "completed"
    lines = [line for line in yard.get("/api/audit")["entries"] if line["action"].startswith("provider_")]
    assert [line["action"] for line in lines] == ["provider_enabled", "provider_disabled"]


def test_providers_that_are_not_configured_say_what_to_set(yard: Yard) -> None:
    for name, word in (("replicate", "token_file"), ("slurm", "[providers.slurm]"), ("ray", "address")):
        view = provider(yard, name)
        assert view["health"] == "not_configured" and word in view["why"], view
        assert yard.ask("POST", f"/api/cloud/providers/{name}/test").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/cloud/providers/moon/test", None, 404),
        ("PATCH", "/api/cloud/providers/simulated", {"enabled": "yes"}, 422),
        ("PATCH", "/api/cloud/providers/simulated", {"enabled": True, "more": 1}, 422),
        ("GET", "/api/cloud/cost?since=yesterday", None, 422),
        ("GET", "/api/cloud/cost?by=moon", None, 422),
        ("POST", "/api/cloud/webhooks?provider=moon", {}, 404),
        ("POST", "/api/cloud/webhooks?provider=simulated", {}, 404),
        ("POST", "/api/cloud/webhooks", {}, 422),
    ],
)
def test_bad_input_is_refused_in_words(calm: Yard, method: str, path: str, body: Any, status: int) -> None:
    answer = calm.ask(method, path, body)
    assert answer.status_code == status, answer.text
    assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize(("method", "path"), [("POST", "/test"), ("PATCH", "")])
def test_only_admins_test_and_change_providers(calm: Yard, method: str, path: str) -> None:
    body = {"enabled": False} if method == "PATCH" else None
    assert calm.ask(method, f"/api/cloud/providers/simulated{path}", body, by="lead").status_code == 403
