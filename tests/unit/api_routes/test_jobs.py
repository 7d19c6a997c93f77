"""The jobs' routes: past and present in one list, and what may be done to a job."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gpuyard.actors.model.clock import epoch
from tests.support import eventually
from tests.unit.api_routes.conftest import Yard

SLEEP = ("sleep", "600")
MORE = {
    *("created_at", "finished_at", "duration_seconds", "exit_code", "exit_class", "cost_usd", "is_active"),
    *("is_terminal", "queue_position", "attempts"),
}
LATER = "2999-01-01T00:00:00Z"


def ids(yard: Yard, query: str = "", by: str = "owner") -> list[str]:
    return [job["job_id"] for job in yard.get(f"/api/jobs{query}", by)["jobs"]]


def test_a_finished_job_tells_all(yard: Yard) -> None:
    job_id = yard.submit("sh", "-c", "exit 7", num_processes=2)["job_id"]
    yard.wait(job_id)
    [job] = yard.get("/api/jobs")["jobs"]
    assert set(job) >= MORE
    assert (job["status"], job["exit_code"], job["exit_class"]) == ("failed", 7, "exit:7")
    assert (job["is_active"], job["is_terminal"], job["queue_position"]) == (False, True, None)
    assert job["created_at"] == job["queued_at"]
    assert job["finished_at"] == job["completed_at"]
    assert job["duration_seconds"] == pytest.approx(epoch(job["completed_at"]) - epoch(job["started_at"]), abs=0.01)
    [attempt] = job["attempts"]
    assert (attempt["number"], attempt["gpus"], attempt["exit_code"]) == (1, [0, 1], 7)
    assert "7" in job["error_message"]
    assert all("type" not in part for part in (job, attempt))


def test_a_signal_is_128_and_more(yard: Yard) -> None:
    job = yard.wait(yard.submit("sh", "-c", "kill -9 $$")["job_id"])
    assert (job["exit_code"], job["exit_class"]) == (137, "signal:SIGKILL")


def test_a_running_job_is_shown_as_it_is_now(yard: Yard) -> None:
    job = yard.running(yard.submit(*SLEEP)["job_id"])
    assert (job["status"], job["is_active"], job["allocated_gpus"]) == ("running", True, [0])
    assert (job["finished_at"], job["exit_code"]) == (None, None)
    assert job["duration_seconds"] >= 0
    assert job["attempts"][0]["phase"] == "running"
    waiting = yard.submit(*SLEEP, num_processes=4)["job_id"]
    assert yard.job(waiting)["duration_seconds"] is None
    assert yard.job(waiting)["reasons"]


def test_the_list_is_newest_first_with_filters_and_pages(yard: Yard) -> None:
    done = yard.submit("true", name="first")["job_id"]
    yard.wait(done)
    running = yard.submit(*SLEEP, num_processes=4, target="local")["job_id"]
    pending = yard.submit(*SLEEP, name="first")["job_id"]
    assert ids(yard) == [pending, running, done]
    assert ids(yard, "?limit=1&offset=1") == [running]
    assert yard.get("/api/jobs?limit=1")["total"] == 3
    assert ids(yard, "?status=completed") == [done]
    assert ids(yard, "?status=queued,running") == [pending, running]
    assert ids(yard, "?target=local") == [running]
    assert ids(yard, "?name=first") == [pending, done]
    assert ids(yard, "?user_id=1&status=pending") == [pending]
    assert ids(yard, "?user_id=99") == []
    assert ids(yard, "?offset=3") == []


@pytest.mark.parametrize(
    "query",
    [
        *("?limit=0", "?limit=501", "?offset=-1", "?status=done", "?user_id=-1", "?user_id=x", "?target=moon"),
        *("?user_id=9223372036854775808", "?limit=99999999999999999999", "?name=" + "x" * 201),
    ],
)
def test_a_malformed_filter_is_422(calm: Yard, query: str) -> None:
    response = calm.ask("GET", f"/api/jobs{query}")
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)


def test_a_filter_may_hold_anything(calm: Yard) -> None:
    for name in ("%27%3B--", "%25", "%ff", "%C3%A9", "%F0%9F%9F%AB"):
        assert calm.get(f"/api/jobs?name={name}")["jobs"] == []


def test_one_job_with_its_story(yard: Yard) -> None:
    job_id = yard.submit("true", metadata={"run_name": "x"})["job_id"]
    yard.wait(job_id)
    job = yard.job(job_id)
    kinds = [event["kind"] for event in job["events"]]
    assert kinds[0] == "job_submitted"
    assert kinds[-1] == "job_completed"
    story = yard.get(f"/api/jobs/{job_id}/events")
    assert story == {"job_id": job_id, "events": job["events"]}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["at"]) for event in job["events"])
    assert job["events"][0]["by"] == "owner"
    rest = yard.get(f"/api/jobs/{job_id}/events?after={job['events'][0]['id']}&limit=1")["events"]
    assert rest == job["events"][1:2]


def test_the_secrets_of_a_jobs_environment_are_in_no_answer(yard: Yard) -> None:
    job_id = yard.submit("true", env={"HF_TOKEN": "hf_canary_1234"})["job_id"]
    yard.wait(job_id)
    for path in ("", "/events", "/logs"):
        assert "canary" not in yard.ask("GET", f"/api/jobs/{job_id}{path}").text
    for path in ("/api/jobs", "/api/queue?include_completed=true", "/api/queue/me"):
        assert "canary" not in yard.ask("GET", path).text


def test_a_unique_prefix_is_enough_to_read(yard: Yard) -> None:
    job_id = yard.submit("true")["job_id"]
    yard.wait(job_id)
    assert yard.get(f"/api/jobs/{job_id[:6]}")["job"]["job_id"] == job_id
    assert yard.get(f"/api/jobs/{job_id[:6]}/logs")["job_id"] == job_id
    others = [yard.submit("true", not_before=LATER)["job_id"] for _ in range(40)]
    shared = next(one[0] for one in [job_id, *others] if sum(other[0] == one[0] for other in [job_id, *others]) > 1)
    ambiguous = yard.ask("GET", f"/api/jobs/{shared}")
    assert ambiguous.status_code == 404
    assert "more letters" in ambiguous.json()["detail"]


@pytest.mark.parametrize(
    "job_id", ["nosuchjob", "%2e%2e", "a" * 300, "%ff%fe", "NOSUCHJOB", "%F0%9F%9F%AB", "*", "%25", "~"]
)
def test_an_unknown_id_is_404_everywhere(calm: Yard, job_id: str) -> None:
    for method, path in (
        *(("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry")),
        *(("GET", "/logs"), ("GET", "/logs/stream"), ("GET", "/events")),
    ):
        for prefix in ("/api/jobs/", "/api/cloud/jobs/"):
            response = calm.ask(method, prefix + job_id + path)
            assert response.status_code in (404, 405), (method, path, response.text)
            assert isinstance(response.json()["detail"], str)
    for verb in ("cancel", "approve", "reject?reason=x", "hold", "release"):
        assert calm.ask("POST", f"/api/queue/{job_id}/{verb}").status_code in (404, 405)


def test_the_second_name_answers_the_same(yard: Yard) -> None:
    job_id = yard.submit("true")["job_id"]
    yard.wait(job_id)
    for path in ("", f"/{job_id}", f"/{job_id}/logs", f"/{job_id}/events"):
        assert yard.get(f"/api/cloud/jobs{path}") == yard.get(f"/api/jobs{path}")


def test_cancel_of_a_running_job_waits_for_nothing(yard: Yard) -> None:
    job_id = yard.running(yard.submit("sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")["job_id"])["job_id"]
    answer = yard.post(f"/api/cloud/jobs/{job_id}/cancel")
    assert (answer["success"], answer["status"], answer["phase"]) == (True, "running", "stopping")
    assert yard.post(f"/api/jobs/{job_id}/cancel")["phase"] == "stopping"
    job = yard.wait(job_id)
    assert (job["status"], job["error_message"]) == ("cancelled", "cancelled by owner")
    again = yard.ask("POST", f"/api/jobs/{job_id}/cancel")
    assert again.status_code == 409
    assert "cancelled" in again.json()["detail"]


def test_bulk_cancel_lets_none_slip_through(yard: Yard) -> None:
    yard.submit(*SLEEP, num_processes=4)
    bodies = [{"command": ["true"]}] * 100
    yard.post("/api/queue/submit", bodies)
    answer = yard.post("/api/jobs/cancel", {"all": True})
    assert (len(answer["cancelled"]), answer["failed"], answer["still_pending"]) == (101, [], 0)
    assert answer["processing_held"] is True
    eventually(lambda: yard.get("/api/queue/stats")["total_running"] == 0, timeout=30)
    assert yard.get("/api/queue/stats")["by_status"] == {"cancelled": 101}


def test_bulk_cancel_by_status_and_by_id(yard: Yard) -> None:
    running = yard.submit(*SLEEP, num_processes=4)["job_id"]
    first, second, third = (yard.submit(*SLEEP)["job_id"] for _ in range(3))
    answer = yard.post("/api/jobs/cancel", {"job_ids": [first, first, "nosuchjob"]})
    assert answer["cancelled"] == [first]
    assert [failed["job_id"] for failed in answer["failed"]] == ["nosuchjob"]
    assert answer["still_pending"] == 2
    assert sorted(yard.post("/api/jobs/cancel", {"status": ["queued"]})["cancelled"]) == sorted([second, third])
    assert yard.job(running)["status"] == "running"


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"all": False}, {"all": True, "status": ["pending"]}, {"status": []}, {"status": ["completed"]}),
        *({"status": "pending"}, {"job_ids": []}, {"job_ids": [1]}, {"job_ids": ["a"] * 10_001}, {"al": True}, []),
        *({"all": "yes"}, {"all": 1}, {"all_users": True}, {"status": [None]}),
    ],
    ids=lambda body: str(body)[:40],
)
def test_a_malformed_bulk_cancel_is_422(calm: Yard, body: Any) -> None:
    assert calm.ask("POST", "/api/jobs/cancel", body).status_code == 422


def test_retry_is_a_new_job_of_the_same_spec(yard: Yard) -> None:
    (yard.configs / "fails.toml").write_text('command = ["sh", "-c", "exit 3"]\nnum_processes = 2\n')
    job_id = yard.post("/api/queue/submit", {"config_name": "fails", "metadata": {"a": 1}})["job_id"]
    yard.wait(job_id)
    (yard.configs / "fails.toml").unlink()
    answer = yard.post(f"/api/jobs/{job_id}/retry")
    assert (answer["success"], answer["status"]) == (True, "running")
    assert answer["job_id"] != job_id
    again = yard.wait(answer["job_id"])
    old = yard.job(job_id)
    assert again["retry_of"] == job_id
    for key in ("command", "num_processes", "metadata", "config_name", "config_hash", "workdir", "exit_code"):
        assert again[key] == old[key], key


def test_only_failed_and_cancelled_jobs_are_retried(yard: Yard) -> None:
    done = yard.submit("true")["job_id"]
    yard.wait(done)
    running = yard.submit(*SLEEP)["job_id"]
    for job_id in (done, running):
        assert yard.ask("POST", f"/api/jobs/{job_id}/retry").status_code == 409
    yard.post(f"/api/jobs/{running}/cancel")
    yard.wait(running, "cancelled")
    assert yard.post(f"/api/jobs/{running}/retry")["success"]


def test_a_retried_job_needs_its_approval_again(yard: Yard) -> None:
    job_id = yard.submit("true", requires_approval=True)["job_id"]
    yard.post(f"/api/queue/{job_id}/reject?reason=no")
    answer = yard.post(f"/api/jobs/{job_id}/retry")
    assert (answer["status"], answer["requires_approval"]) == ("blocked", True)


def test_a_retry_with_a_key_is_one_job(yard: Yard) -> None:
    job_id = yard.submit("false")["job_id"]
    yard.wait(job_id)
    first, again = (yard.post(f"/api/jobs/{job_id}/retry", Idempotency_Key="r") for _ in range(2))
    assert first["job_id"] == again["job_id"]
    assert again["idempotent_hit"] is True


def test_delete_is_for_jobs_that_have_ended(yard: Yard) -> None:
    done = yard.submit("true")["job_id"]
    yard.wait(done)
    waiting = yard.submit(*SLEEP, not_before=LATER)["job_id"]
    assert yard.ask("DELETE", f"/api/jobs/{waiting}").status_code == 409
    response = yard.ask("DELETE", f"/api/jobs/{done}")
    assert (response.status_code, response.json()) == (200, {"success": True, "job_id": done})
    assert yard.ask("GET", f"/api/jobs/{done}").status_code == 404
    assert yard.ask("DELETE", f"/api/jobs/{done}").status_code == 404
    assert ids(yard) == [waiting]


# --- people ---


def test_people_see_their_own_jobs_and_leads_see_all(yard: Yard) -> None:
    mine = yard.submit(*SLEEP, by="ann", not_before=LATER)["job_id"]
    other = yard.submit(*SLEEP, by="bob", not_before=LATER)["job_id"]
    assert ids(yard, by="ann") == [mine]
    assert ids(yard, by="lead") == [other, mine]
    assert [entry["job_id"] for entry in yard.get("/api/queue", by="ann")["entries"]] == [mine]
    assert yard.get("/api/queue", by="ann")["total_pending"] == 1
    assert yard.ask("GET", "/api/jobs?user_id=4", by="ann").status_code == 403
    assert ids(yard, "?user_id=4", by="lead") == [other]
    assert yard.ask("GET", "/api/queue/user/4", by="ann").status_code == 403


def test_another_persons_job_does_not_exist_on_any_route(yard: Yard) -> None:
    done = yard.submit("false", by="ann")["job_id"]
    yard.wait(done)
    waiting = yard.submit(*SLEEP, by="ann", not_before=LATER)["job_id"]
    for job_id in (done, waiting):
        for method, path in (
            *(("GET", f"/api/jobs/{job_id}"), ("GET", f"/api/jobs/{job_id}/logs"), ("DELETE", f"/api/jobs/{job_id}")),
            *(("GET", f"/api/jobs/{job_id}/logs/stream"), ("GET", f"/api/jobs/{job_id}/events")),
            *(("POST", f"/api/jobs/{job_id}/cancel"), ("POST", f"/api/jobs/{job_id}/retry")),
            *(("POST", f"/api/queue/{job_id}/cancel"), ("POST", f"/api/queue/{job_id}/hold")),
            *(("POST", f"/api/queue/{job_id}/release"), ("GET", f"/api/queue/position/{job_id}")),
        ):
            response = yard.ask(method, path, by="bob")
            assert response.status_code == 404, (method, path, response.text)
            assert response.json()["detail"] == f"there is no job {job_id}"
    failed = yard.post("/api/jobs/cancel", {"job_ids": [waiting]}, by="bob")
    assert (failed["cancelled"], len(failed["failed"])) == ([], 1)
    assert yard.post("/api/jobs/cancel", {"all": True}, by="bob")["cancelled"] == []
    assert yard.job(waiting)["status"] == "pending"
    assert yard.ask("POST", "/api/jobs/cancel", {"all": True, "all_users": True}, by="lead").status_code == 403


def test_a_viewer_submits_configs_but_no_commands(yard: Yard) -> None:
    (yard.configs / "train.toml").write_text('command = ["true"]\n')
    for body in ({"command": ["true"]}, {"config_name": "train", "env": {"A": "1"}}):
        assert yard.ask("POST", "/api/queue/submit", body, by="eve").status_code == 403
    answer = yard.post("/api/queue/submit", {"config_name": "train"}, by="eve")
    assert yard.job(answer["job_id"])["priority"] == 0


def test_forbidden_fields_of_submit_are_403(yard: Yard) -> None:
    for body in ({"priority_override": 5}, {"team_id": "blue"}):
        assert yard.ask("POST", "/api/queue/submit", {"command": ["true"], **body}, by="ann").status_code == 403
    assert yard.ask("POST", "/api/queue/submit", {"command": ["true"], "team_id": "red"}, by="ann").status_code == 200
    body = {"command": ["true"], "priority_override": 40}
    assert yard.ask("POST", "/api/queue/submit", body, by="lead").status_code == 403
