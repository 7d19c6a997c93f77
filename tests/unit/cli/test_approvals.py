"""`gpuyard approvals …` against a real HTTP server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.cli.conftest import Gpuyard
from tests.unit.cli.recorder import Answer, Recorder, job

A = "aaaaaaaaaaaa"
APPROVAL: dict[str, Any] = {
    "id": 7,
    "job_id": A,
    "user_id": 2,
    "username": "ann",
    "status": "pending",
    "requested_at": "2026-11-22T02:05:00.000Z",
    "reason": "Rule dear: its estimated cost of $120.00 is above $50.00.",
    "config_name": None,
    "estimated_cost": 120.0,
    "rule_id": 3,
    "rule_name": "dear",
    "required_approver_level": "lead",
    "decided_by": None,
    "decided_at": None,
    "decision_reason": None,
}
RULE: dict[str, Any] = {
    "id": 3,
    "name": "big GPUs",
    "type": "hardware_type",
    "condition": "h100*",
    "threshold": 4.0,
    "enabled": False,
    "required_approver_level": "lead",
    "exempt_levels": ["admin", "lead"],
    "precedence": 10,
}
CHANGED = {"job_id": A, "status": "pending", "success": True}


def test_the_list_shows_who_waits_for_what(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/approvals", Answer({"approvals": [APPROVAL], "total": 1}))
    result = gpuyard("approvals", "list", "--status", "pending", "--status", "expired")
    assert result.exit_code == 0
    for word in ("7", A, "ann", "pending", "lead", "Rule dear"):
        assert word in result.stdout
    assert server.asked[0].query == {"status": "pending,expired", "limit": "20"}
    assert json.loads(gpuyard("approvals", "list", "--format", "json").stdout) == [APPROVAL]
    assert gpuyard("approvals", "list", "--format", "csv", "-o", "id,job_id").stdout == f"id,job_id\n7,{A}\n"


@pytest.mark.parametrize(
    ("words", "path", "body", "query"),
    [
        (["approve", "7"], "/api/approvals/7/approve", None, {}),
        (["approve", "7", "--reason", "ok"], "/api/approvals/7/approve", {"reason": "ok"}, {}),
        (["reject", "7", "--reason", "dear"], "/api/approvals/7/reject", {"reason": "dear"}, {}),
        (["approve", A, "--reason", "ok"], f"/api/queue/{A}/approve", None, {"reason": "ok"}),
        (["reject", A, "--reason", "dear"], f"/api/queue/{A}/reject", None, {"reason": "dear"}),
    ],
)
def test_a_decision_by_number_or_by_job(
    gpuyard: Gpuyard, server: Recorder, words: list[str], path: str, body: Any, query: dict[str, str]
) -> None:
    server.on("POST", path, Answer(CHANGED))
    result = gpuyard("approvals", *words)
    assert (result.exit_code, result.stdout) == (0, f"{A} pending\n")
    [asked] = server.of("POST", path)
    assert (asked.body, asked.query) == (body, query)


def test_a_beginning_of_a_job_id_will_do_and_a_rejection_needs_a_reason(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/jobs/aaaa", Answer({"job": job(A)}))
    server.on("POST", f"/api/queue/{A}/approve", Answer(CHANGED))
    assert gpuyard("approvals", "approve", "aaaa").exit_code == 0
    assert gpuyard("approvals", "reject", "7").exit_code == 2


def test_a_decision_that_is_not_ones_own_or_too_late_has_its_exit_code(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("POST", "/api/approvals/7/approve", Answer({"detail": "no", "code": "not_allowed"}, 403))
    assert gpuyard("approvals", "approve", "7").exit_code == 4
    server.on("POST", "/api/approvals/7/approve", Answer({"detail": "rejected already", "code": "wrong_state"}, 409))
    assert gpuyard("approvals", "approve", "7").exit_code == 6


def test_rules_are_shown_in_words(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/approvals/rules", Answer({"rules": [RULE]}))
    text = gpuyard("approvals", "rules", "list").stdout
    for word in ("big GPUs", "hardware_type h100* above 4", "lead", "admin,lead", "disabled"):
        assert word in text
    server.on("GET", "/api/approvals/rules", Answer({"rules": []}))
    assert gpuyard("approvals", "rules", "list", "--format", "json").stdout == "[]\n"


def test_a_rule_is_added_from_its_flags(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("POST", "/api/approvals/rules", Answer(RULE))
    words = ["big", "hardware_type", "--condition", "h100*", "--threshold", "4", "--approver", "lead"]
    words += ["--exempt", "admin,lead", "--disabled"]
    assert gpuyard("approvals", "rules", "add", *words).exit_code == 0
    assert server.asked[0].body == {
        "name": "big",
        "type": "hardware_type",
        "condition": "h100*",
        "threshold": 4.0,
        "required_approver_level": "lead",
        "exempt_levels": ["admin", "lead"],
        "enabled": False,
    }
    assert gpuyard("approvals", "rules", "add", "x", "first_job", "--exempt", "king").exit_code == 2
    assert gpuyard("approvals", "rules", "add", "x", "nothing").exit_code == 2


def test_a_rule_is_changed_field_by_field(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("PATCH", "/api/approvals/rules/3", Answer(RULE))
    words = ["threshold=7.5", "enabled=off", "exempt-levels=admin", "name=very dear", "precedence=-1"]
    assert gpuyard("approvals", "rules", "set", "3", *words).exit_code == 0
    assert server.asked[0].body == {
        "threshold": 7.5,
        "enabled": False,
        "exempt_levels": ["admin"],
        "name": "very dear",
        "precedence": -1,
    }
    assert gpuyard("approvals", "rules", "set", "3", "threshold=none").exit_code == 0
    assert server.asked[1].body == {"threshold": None}
    for wrong in ("threshold", "id=4", "enabled=maybe", "threshold=much"):
        assert gpuyard("approvals", "rules", "set", "3", wrong).exit_code == 2


def test_a_rule_is_removed_and_tried(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("DELETE", "/api/approvals/rules/3", Answer({"id": 3, "success": True}))
    assert gpuyard("approvals", "rules", "remove", "3").stdout == "rule 3 removed\n"
    matches = [{"job_id": A, "reason": "Rule big: it may get H100"}]
    tried = {"rule_id": 3, "tested": 40, "matched": 1, "matches": matches}
    server.on("POST", "/api/approvals/rules/3/test", Answer(tried))
    result = gpuyard("approvals", "rules", "test", "3", "--last", "40")
    assert A in result.stdout and "of the last 40 jobs it would have blocked 1" in result.stderr
    assert server.asked[-1].query == {"limit": "40"}
    assert json.loads(gpuyard("approvals", "rules", "test", "3", "--format", "json").stdout) == matches
