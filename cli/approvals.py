"""Approvals and their rules as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpuyard.cli.output import flat
from gpuyard.cli.tables import Cell, Column, Table
from gpuyard.cli.text import clean, local_time

Item = dict[str, Any]

STATUSES = ("pending", "approved", "rejected", "expired", "cancelled")
COLOURS = {"pending": "magenta", "approved": "green", "rejected": "red", "expired": "red"}
FIELDS = (
    "id",
    "job_id",
    "status",
    "user_id",
    "username",
    "config_name",
    "estimated_cost",
    "requested_at",
    "reason",
    "rule_id",
    "rule_name",
    "required_approver_level",
    "decided_by",
    "decided_at",
    "decision_reason",
)
RULE_FIELDS = (
    "id",
    "name",
    "type",
    "condition",
    "threshold",
    "enabled",
    "required_approver_level",
    "exempt_levels",
    "precedence",
)


def approval_table(approvals: Sequence[Item]) -> Table:
    columns = [
        Column("id", keep=True, right=True),
        Column("job", keep=True),
        Column("by", keep=True),
        Column("status", keep=True),
        Column("asked", keep=True),
        Column("approver", keep=True),
        Column("why"),
    ]
    return Table(columns, [_approval(approval) for approval in approvals])


def _approval(approval: Item) -> list[Cell | str]:
    status = str(approval.get("status"))
    return [
        str(approval.get("id")),
        clean(approval.get("job_id")),
        clean(approval.get("username") or f"user {approval.get('user_id')}"),
        Cell(clean(status), COLOURS.get(status)),
        local_time(approval.get("requested_at")),
        clean(approval.get("decided_by") or approval.get("required_approver_level")),
        clean(approval.get("decision_reason") or approval.get("reason") or ""),
    ]


def rule_table(rules: Sequence[Item]) -> Table:
    columns = [
        Column("id", keep=True, right=True),
        Column("name"),
        Column("blocks", keep=True),
        Column("approver", keep=True),
        Column("exempt"),
        Column("precedence", right=True),
        Column("", keep=True),
    ]
    return Table(columns, [_rule(rule) for rule in rules])


def _rule(rule: Item) -> list[Cell | str]:
    enabled = bool(rule.get("enabled"))
    return [
        str(rule.get("id")),
        clean(rule.get("name")),
        clean(what(rule)),
        clean(rule.get("required_approver_level")),
        clean(flat(rule.get("exempt_levels") or [])) or Cell("-", dim=True),
        str(rule.get("precedence")),
        "" if enabled else Cell("disabled", "yellow"),
    ]


def what(rule: Item) -> str:
    """What a rule blocks, in short: `cost_exceeds 50`, `hardware_type h100* above 2`."""
    threshold = rule.get("threshold")
    words = [str(rule.get("type")), str(rule.get("condition") or "")]
    if threshold is not None:
        words.append(f"above {threshold:g}" if rule.get("condition") else f"{threshold:g}")
    return " ".join(word for word in words if word)
