"""Approvals: what waits for a person, the decisions, and the rules that ask for them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from gpuyard.actors.model import names
from gpuyard.actors.model.approvals import ApprovalRule, Decision
from gpuyard.actors.model.commands import (
    AddRule,
    ApproveJob,
    ChangeRule,
    GetApproval,
    GetPastSubmits,
    GetRules,
    ListApprovals,
    PastSubmit,
    RejectJob,
    RemoveRule,
    TryRule,
)
from gpuyard.actors.model.errors import InvalidInput, NotFound, WrongState
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import Viewer
from gpuyard.actors.model.views import ApprovalPage, ApprovalView, JobChanged, RuleMatch
from gpuyard.api import lookup
from gpuyard.api.answers import Changed
from gpuyard.api.answers_rules import ApprovalList, RuleGone, RuleList, RuleTried
from gpuyard.api.core import Core
from gpuyard.api.deps import CoreDep, HubDep, ViewerDep
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse
from gpuyard.api.routes.params import Offset
from gpuyard.api.schemas.rules import ApproveBody, NewRuleBody, RejectBody, RuleBody

router = APIRouter(prefix="/api/approvals", tags=["approvals"])

Number = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.get("", operation_id="list_approvals", responses=answer("list_approvals", ApprovalList))
async def list_approvals(
    core: CoreDep,
    viewer: ViewerDep,
    status: Annotated[
        str | None,
        Query(
            max_length=200, description="One or several with commas: pending, approved, rejected, expired, cancelled."
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    offset: Offset = 0,
) -> Response:
    """Those that wait, oldest first, then the decided ones, newest first; your own unless you are a lead or admin."""
    user_id = None if viewer.is_lead else viewer.user_id
    question = ListApprovals(statuses=_statuses(status), user_id=user_id, limit=limit, offset=offset)
    page: ApprovalPage = await core.ask(names.HISTORY, question)
    return JsonResponse(ApprovalList(approvals=page.approvals, total=page.total))


def _statuses(text: str | None) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(word.strip().lower() for word in text.split(","))) if text is not None else ()
    if any(word not in {*Decision} for word in words):
        raise InvalidInput("status must be one of " + ", ".join(Decision), field="status")
    return words


@router.get("/rules", operation_id="list_rules", responses=answer("list_rules", RuleList))
async def list_rules(core: CoreDep) -> Response:
    """All rules, in the order in which they are looked at: the first that matches blocks a job."""
    return JsonResponse(RuleList(rules=await core.ask(names.SCHEDULER, GetRules())))


@router.post("/rules", operation_id="add_rule", responses=answer("add_rule", ApprovalRule))
async def add_rule(core: CoreDep, hub: HubDep, viewer: ViewerDep, body: NewRuleBody) -> Response:
    """Add a rule, in force for every later submit."""
    rule: ApprovalRule = await core.ask(names.SCHEDULER, AddRule(values=body.values(), by=viewer))
    hub.settings_changed()
    return JsonResponse(rule)


@router.get("/rules/{rule_id}", operation_id="get_rule", responses=answer("get_rule", ApprovalRule))
async def get_rule(core: CoreDep, rule_id: Number) -> Response:
    """One rule."""
    rules: list[ApprovalRule] = await core.ask(names.SCHEDULER, GetRules())
    for rule in rules:
        if rule.id == rule_id:
            return JsonResponse(rule)
    raise NotFound(f"there is no approval rule {rule_id}")


@router.patch("/rules/{rule_id}", operation_id="change_rule", responses=answer("change_rule", ApprovalRule))
async def change_rule(core: CoreDep, hub: HubDep, viewer: ViewerDep, rule_id: Number, body: RuleBody) -> Response:
    """Change a rule for later submits; jobs that are blocked stay so, and who may decide on them stays too."""
    message = ChangeRule(rule_id=rule_id, changes=body.changes(), by=viewer)
    rule: ApprovalRule = await core.ask(names.SCHEDULER, message)
    hub.settings_changed()
    return JsonResponse(rule)


@router.delete("/rules/{rule_id}", operation_id="remove_rule", responses=answer("remove_rule", RuleGone))
async def remove_rule(core: CoreDep, hub: HubDep, viewer: ViewerDep, rule_id: Number) -> Response:
    """Remove a rule; jobs that are blocked stay so."""
    await core.ask(names.SCHEDULER, RemoveRule(rule_id=rule_id, by=viewer))
    hub.settings_changed()
    return JsonResponse(RuleGone(id=rule_id))


@router.post("/rules/{rule_id}/test", operation_id="try_rule", responses=answer("try_rule", RuleTried))
async def try_rule(
    core: CoreDep, viewer: ViewerDep, rule_id: Number, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> Response:
    """Which of the last submits the rule would have blocked, had it been enabled. Nothing is changed."""
    past: list[PastSubmit] = await core.ask(names.HISTORY, GetPastSubmits(limit=limit))
    message = TryRule(rule_id=rule_id, submits=tuple(past), by=viewer)
    found: list[RuleMatch] = await core.ask(names.SCHEDULER, message)
    return JsonResponse(RuleTried(rule_id=rule_id, tested=len(past), matched=len(found), matches=found))


@router.post("/{approval_id}/approve", operation_id="approve", responses=answer("approve", Changed))
async def approve(core: CoreDep, viewer: ViewerDep, approval_id: Number, body: ApproveBody | None = None) -> Response:
    """Let the job into the queue. Admins may, leads where the approval says so, but not on a job of their own."""
    job_id = await _waiting(core, viewer, approval_id)
    reason = body.reason if body is not None else None
    return await _decide(core, viewer, job_id, ApproveJob(job_id=job_id, by=viewer, reason=reason or ""))


@router.post("/{approval_id}/reject", operation_id="reject", responses=answer("reject", Changed))
async def reject(core: CoreDep, viewer: ViewerDep, approval_id: Number, body: RejectBody) -> Response:
    """Refuse the job; it fails with "Rejected: …". Who may is as for approving."""
    job_id = await _waiting(core, viewer, approval_id)
    return await _decide(core, viewer, job_id, RejectJob(job_id=job_id, by=viewer, reason=body.reason))


async def _waiting(core: Core, viewer: Viewer, approval_id: int) -> str:
    """The job that waits for this approval. Raises NotFound, WrongState when it was decided."""
    approval: ApprovalView = await core.ask(names.HISTORY, GetApproval(approval_id=approval_id))
    if approval.status != Decision.PENDING:
        by = f" by {approval.decided_by}" if approval.decided_by else ""
        raise WrongState(f"approval {approval_id} is {approval.status} already{by}", status=approval.status)
    return approval.job_id


async def _decide(core: Core, viewer: Viewer, job_id: str, message: Message) -> Response:
    done: JobChanged = await lookup.act(core, viewer, job_id, message)
    return JsonResponse(Changed(**msgspec.structs.asdict(done)))


async def asked_by_author(core: Core, approval_id: int | None) -> bool:
    """Did the author of a job ask for this approval, as against a rule?"""
    if approval_id is None:
        return True
    approval: ApprovalView = await core.ask(names.HISTORY, GetApproval(approval_id=approval_id))
    return approval.rule_id is None
