"""Example answers of the routes of approvals and their rules."""

from __future__ import annotations

from typing import Any, Final

JOB_ID: Final = "3k9w2m7q1x0d"

APPROVAL: Final[dict[str, Any]] = {
    "id": 7,
    "job_id": JOB_ID,
    "user_id": 2,
    "username": "ann",
    "status": "pending",
    "requested_at": "2026-11-22T02:05:00.000Z",
    "reason": "Rule dear: its estimated cost of $120.00 is above $50.00.",
    "config_name": "my-training-config",
    "estimated_cost": 120.0,
    "rule_id": 3,
    "rule_name": "dear",
    "required_approver_level": "lead",
    "decided_by": None,
    "decided_at": None,
    "decision_reason": None,
}
RULE: Final[dict[str, Any]] = {
    "id": 3,
    "name": "dear",
    "type": "cost_exceeds",
    "condition": "",
    "threshold": 50.0,
    "enabled": True,
    "required_approver_level": "lead",
    "exempt_levels": ["admin"],
    "precedence": 10,
}
DECIDED: Final[dict[str, Any]] = {
    "job_id": JOB_ID,
    "status": "pending",
    "phase": None,
    "processing_held": False,
    "success": True,
}

# By operation id.
RULES: Final[dict[str, Any]] = {
    "list_approvals": {"approvals": [APPROVAL], "total": 1},
    "approve": DECIDED,
    "reject": DECIDED | {"status": "failed"},
    "list_rules": {"rules": [RULE]},
    "add_rule": RULE,
    "get_rule": RULE,
    "change_rule": RULE | {"enabled": False},
    "remove_rule": {"id": 3, "success": True},
    "try_rule": {
        "rule_id": 3,
        "tested": 100,
        "matched": 1,
        "matches": [{"job_id": JOB_ID, "reason": "Rule dear: its estimated cost of $120.00 is above $50.00."}],
    },
}
