"""Answers about approvals and their rules."""

from __future__ import annotations

from gpuyard.actors.model.views.base import View


class ApprovalView(View, frozen=True, kw_only=True):
    """An approval as it is stored. `decided_by` is a username, null for one that expired."""

    id: int
    job_id: str
    user_id: int
    username: str | None
    status: str
    requested_at: str
    reason: str
    config_name: str | None
    estimated_cost: float
    rule_id: int | None
    rule_name: str | None
    required_approver_level: str
    decided_by: str | None
    decided_at: str | None
    decision_reason: str | None


class ApprovalPage(View, frozen=True, kw_only=True):
    """`total` counts all that match."""

    approvals: list[ApprovalView]
    total: int


class RuleMatch(View, frozen=True, kw_only=True):
    """A job that a rule would have blocked, and why."""

    job_id: str
    reason: str
