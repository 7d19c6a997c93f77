"""Approvals over HTTP: rules, what they block, who decides, and what is told of it afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api_routes.conftest import Yard

DEAR = {
    "name": "dear",
    "type": "cost_exceeds",
    "threshold": 50,
    "required_approver_level": "lead",
    "exempt_levels": ["admin"],
}


def add(yard: Yard, **values: Any) -> dict[str, Any]:
    rule: dict[str, Any] = yard.post("/api/approvals/rules", {"name": values.get("type"), **values})
    return rule


def dear(yard: Yard, by: str = "ann") -> str:
    answer = yard.submit("true", by=by, estimated_cost=120)
    assert answer["status"] == "blocked"
    return str(answer["job_id"])


def test_a_rule_blocks_a_lead_lets_in_and_the_record_says_so(yard: Yard) -> None:
    rule = add(yard, **DEAR)
    assert {key: rule[key] for key in DEAR} == {**DEAR, "threshold": 50.0}
    assert (rule["enabled"], rule["condition"], rule["precedence"]) == (True, "", 10)
    job_id = dear(yard)
    job = yard.job(job_id)
    reason = job["reasons"][0]
    assert reason["code"] == "AwaitingApproval" and "Rule dear" in reason["text"]
    assert reason["detail"]["approval_id"] == job["approval_id"]
    [waiting] = yard.get("/api/approvals?status=pending", by="ann")["approvals"]
    assert (waiting["id"], waiting["job_id"], waiting["rule_id"]) == (job["approval_id"], job_id, rule["id"])
    path = f"/api/approvals/{waiting['id']}"
    assert yard.ask("POST", f"{path}/approve", by="ann").status_code == 403
    assert yard.post(f"{path}/approve", {"reason": "deadline"}, by="lead")["job_id"] == job_id
    assert yard.wait(job_id)["status"] == "completed"
    [decided] = yard.get("/api/approvals", by="ann")["approvals"]
    assert (decided["status"], decided["decided_by"], decided["decision_reason"]) == ("approved", "lead", "deadline")
    again = yard.ask("POST", f"{path}/reject", {"reason": "no"})
    assert again.status_code == 409 and "approved already by lead" in again.json()["detail"]


def test_a_rejection_needs_a_reason_and_the_author_is_told(yard: Yard) -> None:
    add(yard, **DEAR)
    job_id = dear(yard)
    path = f"/api/approvals/{yard.job(job_id)['approval_id']}/reject"
    for body in (None, {}, {"reason": ""}, {"reason": " "}, {"reason": "a\nb"}, {"reason": None}):
        assert yard.ask("POST", path, body).status_code == 422
    assert yard.post(path, {"reason": "too dear"}, by="lead")["status"] == "failed"
    assert yard.job(job_id)["error_message"] == "Rejected: too dear"


def test_an_approval_that_is_not_there_is_404(calm: Yard) -> None:
    assert calm.ask("POST", "/api/approvals/4711/approve").status_code == 404
    assert calm.ask("POST", "/api/approvals/x/approve").status_code == 422
    assert calm.ask("POST", "/api/approvals/0/approve").status_code == 422


def test_people_see_their_own_approvals_and_leads_all(yard: Yard) -> None:
    add(yard, **DEAR)
    mine, other = dear(yard, by="ann"), dear(yard, by="bob")
    assert [a["job_id"] for a in yard.get("/api/approvals", by="ann")["approvals"]] == [mine]
    page = yard.get("/api/approvals?limit=1", by="lead")
    assert (page["total"], [a["job_id"] for a in page["approvals"]]) == (2, [mine]), "the oldest waits longest"
    assert [a["job_id"] for a in yard.get("/api/approvals?offset=1", by="lead")["approvals"]] == [other]
    yard.post(f"/api/queue/{mine}/cancel", by="ann")
    states = {a["job_id"]: a["status"] for a in yard.get("/api/approvals", by="lead")["approvals"]}
    assert states == {mine: "cancelled", other: "pending"}
    assert yard.ask("GET", "/api/approvals?status=open").status_code == 422


def test_rules_are_listed_changed_and_removed(yard: Yard) -> None:
    first = add(yard, type="first_job", exempt_levels=["admin", "lead"])
    second = add(yard, type="provider", condition="replicate")
    assert [rule["id"] for rule in yard.get("/api/approvals/rules", by="eve")["rules"]] == [first["id"], second["id"]]
    path = f"/api/approvals/rules/{second['id']}"
    changed = yard.ask("PATCH", path, {"precedence": 1, "enabled": False}).json()
    assert (changed["precedence"], changed["enabled"], changed["condition"]) == (1, False, "replicate")
    assert [rule["id"] for rule in yard.get("/api/approvals/rules")["rules"]] == [second["id"], first["id"]]
    assert yard.get(path) == changed
    assert yard.ask("DELETE", path).json() == {"id": second["id"], "success": True}
    assert yard.ask("GET", path).status_code == yard.ask("DELETE", path).status_code == 404
    assert yard.ask("PATCH", path, {"enabled": True}).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x"}, "type"),
        ({"name": "x", "type": "cost_exceeds"}, "threshold"),
        ({"name": "x", "type": "cost_exceeds", "threshold": "50"}, "threshold"),
        ({"name": "x", "type": "cost_exceeds", "threshold": -1}, "threshold"),
        ({"name": "x", "type": "first_job", "required_approver_level": "viewer"}, "required_approver_level"),
        ({"name": "x", "type": "first_job", "exempt_levels": ["king"]}, "exempt_levels"),
        ({"name": "x", "type": "first_job", "id": 3}, "id"),
        ({"name": "", "type": "first_job"}, "name"),
        ({"name": "x", "type": "provider", "condition": "a\u0007"}, "condition"),
        ({"name": "x", "type": "provider", "condition": 7}, "condition"),
    ],
)
def test_a_wrong_rule_is_422_naming_the_field(calm: Yard, body: dict[str, Any], field: str) -> None:
    answer = calm.ask("POST", "/api/approvals/rules", body)
    assert answer.status_code == 422
    assert field in answer.json()["detail"], answer.text


def test_a_change_that_says_nothing_is_422(yard: Yard) -> None:
    path = f"/api/approvals/rules/{add(yard, **DEAR)['id']}"
    for body in ({}, {"name": None}, {"enabled": None}, {"threshold": None}, {"type": "provider"}):
        assert yard.ask("PATCH", path, body).status_code == 422, body
    assert yard.get(path)["threshold"] == 50.0


def test_only_admins_change_rules(calm: Yard) -> None:
    for by in ("lead", "ann", "eve"):
        assert calm.ask("POST", "/api/approvals/rules", DEAR, by=by).status_code == 403
        assert calm.ask("PATCH", "/api/approvals/rules/1", {"enabled": False}, by=by).status_code == 403
        assert calm.ask("DELETE", "/api/approvals/rules/1", by=by).status_code == 403
        assert calm.ask("POST", "/api/approvals/rules/1/test", by=by).status_code == 403


def test_a_rule_is_tried_on_what_was_submitted(yard: Yard) -> None:
    cheap = yard.submit("true", by="ann")["job_id"]
    costly = yard.submit("true", by="ann", estimated_cost=99)["job_id"]
    exempt = yard.submit("true", by="owner", estimated_cost=99)["job_id"]
    for job_id in (cheap, costly, exempt):
        yard.wait(job_id)
    rule = add(yard, **DEAR, enabled=False)
    tried = yard.post(f"/api/approvals/rules/{rule['id']}/test")
    assert (tried["tested"], tried["matched"]) == (3, 1)
    assert tried["matches"] == [
        {"job_id": costly, "reason": "Rule dear: its estimated cost of $99.00 is above $50.00."}
    ]
    second = add(yard, type="daily_jobs_exceed", threshold=1)
    assert [m["job_id"] for m in yard.post(f"/api/approvals/rules/{second['id']}/test")["matches"]] == [costly]
    third = add(yard, type="first_job")
    found = yard.post(f"/api/approvals/rules/{third['id']}/test")["matches"]
    assert [match["job_id"] for match in found] == [exempt, cheap]
    fourth = add(yard, type="hardware_type", condition="a100")
    assert yard.post(f"/api/approvals/rules/{fourth['id']}/test?limit=2")["matched"] == 2


def test_a_retry_is_looked_at_by_the_rules_of_today(yard: Yard) -> None:
    rule = add(yard, **DEAR)
    job_id = dear(yard)
    yard.post(f"/api/queue/{job_id}/reject?reason=later", by="lead")
    assert yard.post(f"/api/jobs/{job_id}/retry", by="ann")["status"] == "blocked"
    yard.ask("PATCH", f"/api/approvals/rules/{rule['id']}", {"threshold": 500})
    assert yard.post(f"/api/jobs/{job_id}/retry", by="ann")["status"] in ("queued", "running")


def test_the_submit_says_which_approval_it_waits_for_and_a_dry_run_predicts_it(yard: Yard) -> None:
    add(yard, **DEAR)
    body = {"command": ["true"], "estimated_cost": 120}
    predicted = yard.post("/api/queue/submit", {**body, "dry_run": True}, by="ann")
    assert (predicted["status"], predicted["approval_id"]) == ("blocked", None)
    assert "$120.00" in predicted["reason"]
    refused = yard.post("/api/queue/submit", {**body, "no_wait": True}, by="ann")
    assert (refused["success"], refused["error"]) == (False, "approval_required")
    asked = yard.post("/api/queue/submit", {**body, "no_wait": True, "for_approval": True}, by="ann")
    assert asked["status"] == "blocked" and asked["approval_id"] == yard.job(asked["job_id"])["approval_id"]
    listed = yard.post("/api/queue/submit", [body, {"command": ["true"]}], by="ann")
    assert [one["status"] for one in listed] == ["blocked", "running"]


def test_nobody_decided_in_time(yard: Yard) -> None:
    yard.post("/api/queue/concurrency", {"approval_expiry_hours": 0.0002})
    job_id = yard.submit("true", requires_approval=True)["job_id"]
    job = yard.wait(job_id)
    assert (job["status"], job["exit_class"]) == ("failed", "approval_expired")
    assert job["error_message"].startswith("Approval expired")
    [approval] = yard.get("/api/approvals?status=expired")["approvals"]
    assert (approval["job_id"], approval["decided_by"]) == (job_id, None)
