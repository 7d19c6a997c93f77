"""What the routes of approvals and their rules answer."""

from __future__ import annotations

from gpuyard.actors.model.approvals import ApprovalRule
from gpuyard.actors.model.views import ApprovalView, RuleMatch
from gpuyard.api.answers import Answer


class ApprovalList(Answer, frozen=True, kw_only=True):
    """`total` counts all that match."""

    approvals: list[ApprovalView]
    total: int


class RuleList(Answer, frozen=True, kw_only=True):
    """In the order in which they are looked at; the first that matches blocks a job."""

    rules: list[ApprovalRule]


class RuleGone(Answer, frozen=True, kw_only=True):
    id: int
    success: bool = True


class RuleTried(Answer, frozen=True, kw_only=True):
    """Of the `tested` last submits the rule, enabled or not, would have blocked these, newest first."""

    rule_id: int
    tested: int
    matched: int
    matches: list[RuleMatch]
