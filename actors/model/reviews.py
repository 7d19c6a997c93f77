"""Reviews: which submits must be approved, the decisions on them, and the rules that ask for them.

A blocked job stands in no queue, so nothing but `approve` can start it. What is asked for is settled at the submit and
written down with it: who may decide does not change when its rule does.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec

from gpuyard.actors.model import approvals, policy
from gpuyard.actors.model.approval_book import HOUR
from gpuyard.actors.model.approvals import Approval, ApprovalRule, Candidate, Decision, RuleType, provider_of
from gpuyard.actors.model.cancel import visible_job
from gpuyard.actors.model.clock import iso, iso_or_none
from gpuyard.actors.model.commands import (
    AddRule,
    ApproveJob,
    ChangeRule,
    GetRules,
    RejectJob,
    RemoveRule,
    SubmitJob,
    TryRule,
)
from gpuyard.actors.model.errors import InvalidInput, NotAllowed, NotFound, WrongState
from gpuyard.actors.model.hardware import hardware_of
from gpuyard.actors.model.job import Job, JobEvent, Status
from gpuyard.actors.model.outbox import Now, Outbox
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.actors.model.reasons import Reason, ReasonCode
from gpuyard.actors.model.registers import AppendAudit, DropRecord, PutRecord
from gpuyard.actors.model.views import JobChanged, RuleMatch
from gpuyard.actors.model.yard import Yard

BY_AUTHOR = "Its author asked for an approval."
EXPIRED = "Approval expired"
# More than so many at once would keep the queue waiting; the rest follows at once.
EXPIRED_AT_ONCE = 200


def asked_for(yard: Yard, command: SubmitJob, now: Now) -> Approval | None:
    """The approval that this submit needs, not yet numbered; None when it needs none."""
    spec, by = command.spec, command.by
    rules = [rule for rule in yard.book.rules.values() if rule.enabled]
    found = approvals.first_match(rules, _candidate(yard, command, rules, now)) if rules else None
    if found is None and not command.requires_approval:
        return None
    rule, why = found if found is not None else (None, "")
    return Approval(
        id=0,
        job_id="",
        user_id=by.user_id,
        requested_at=now.wall,
        reason=BY_AUTHOR if rule is None else f"Rule {rule.name}: {why}.",
        config_name=spec.config_name,
        estimated_cost=spec.estimated_cost,
        rule_id=rule.id if rule is not None else None,
        rule_name=rule.name if rule is not None else None,
        required_approver_level=rule.required_approver_level if rule is not None else "admin",
    )


def _candidate(yard: Yard, command: SubmitJob, rules: list[ApprovalRule], now: Now) -> Candidate:
    spec, by = command.spec, command.by
    looked_at = any(rule.type is RuleType.HARDWARE_TYPE for rule in rules)
    return Candidate(
        level=by.level,
        estimated_cost=spec.estimated_cost,
        # A name for each GPU of the fleet: only where a rule asks.
        hardware=hardware_of(yard, spec) if looked_at else (),
        gpus=spec.num_processes,
        submitted_today=yard.book.submitted_today(by.user_id, now),
        first_job=by.user_id not in yard.book.let_in,
        config_name=spec.config_name,
        provider=provider_of(spec.target, spec.provider),
    )


def waiting(yard: Yard, approval: Approval | None, job_id: str) -> Reason:
    """Why a blocked job waits, and until when somebody may decide."""
    level = approval.required_approver_level if approval is not None else "admin"
    whose = "an administrator's approval" if level == "admin" else f"the approval of a {level} or an administrator"
    hours = yard.limits.approval_expiry_hours
    expires = yard.book.expires_at(approval, hours) if approval is not None else None
    words = [f"It waits for {whose}."]
    if approval is not None:
        words.append(approval.reason)
    if expires is not None:
        words.append(f"It fails when nobody has decided by {iso(expires)}.")
    return Reason(
        code=ReasonCode.AWAITING_APPROVAL,
        text=" ".join(words),
        detail=_detail(approval, expires) if approval is not None else {},
        unblock=f"gpuyard jobs approval {job_id} approve" if job_id else "submit it, and ask for its approval",
        never=True,
    )


def _detail(approval: Approval, expires: float | None) -> dict[str, Any]:
    return {
        "approval_id": approval.id or None,
        "rule_id": approval.rule_id,
        "rule": approval.rule_name,
        "required_approver_level": approval.required_approver_level,
        "requested_at": iso(approval.requested_at),
        "expires_at": iso_or_none(expires),
    }


# --- decisions ---------------------------------------------------------------------------------------------------


def approve(yard: Yard, command: ApproveJob, now: Now, out: Outbox) -> JobChanged:
    """T2: blocked → pending, at the end of the queue. Raises NotActive, NotAllowed, WrongState."""
    job = _decidable(yard, command.job_id, command.by)
    reason = command.reason.strip()
    seq, ranked_at = yard.rank(now)
    yard.change(job, out, JobEvent.APPROVED, seq=seq, ranked_at=ranked_at)
    yard.book.close(job.approval_id, Decision.APPROVED, now, out, command.by.username, reason)
    yard.book.note_let_in(job.user_id, now, out)
    said = {"reason": reason} if reason else {}
    out.row(yard.event(out, now, "job_approved", job, command.by, **said))
    policy.process(yard, now, out)
    return _changed(yard, job)


def reject(yard: Yard, command: RejectJob, now: Now, out: Outbox) -> JobChanged:
    """T2: blocked → failed("Rejected: reason"). Raises NotActive, NotAllowed, WrongState, InvalidInput."""
    reason = command.reason.strip()
    if not reason:
        raise InvalidInput("reason: say why it is rejected", field="reason")
    job = _decidable(yard, command.job_id, command.by)
    _fail(yard, job, f"Rejected: {reason}", "rejected", now, out)
    yard.book.close(job.approval_id, Decision.REJECTED, now, out, command.by.username, reason)
    out.row(yard.event(out, now, "job_rejected", job, command.by, reason=reason))
    return _changed(yard, job)


def expire(yard: Yard, now: Now, out: Outbox) -> None:
    """Fail the blocked jobs on whose approval nobody decided in time (`approval_expiry_hours`)."""
    hours = yard.limits.approval_expiry_hours
    if hours is None:
        return
    words = f"{EXPIRED}: nobody decided within {hours:g} h"
    due = [a for a in islice(yard.book.pending.values(), EXPIRED_AT_ONCE) if a.requested_at + hours * HOUR <= now.wall]
    for approval in due:
        yard.book.close(approval.id, Decision.EXPIRED, now, out, None, words)
        job = yard.jobs.get(approval.job_id)
        if job is not None and job.status is Status.BLOCKED:
            _fail(yard, job, words, "approval_expired", now, out)
            out.row(yard.event(out, now, "approval_expired", job, approval_id=approval.id))
    yard.watch_approvals()


def _decidable(yard: Yard, job_id: str, by: Viewer) -> Job:
    if not by.is_lead:
        raise NotAllowed("only an admin, or a lead where its rule says so, may approve or reject")
    job = visible_job(yard, job_id, by)
    if job.status is not Status.BLOCKED:
        raise WrongState(f"job {job_id} is {job.status}: it does not wait for an approval", status=str(job.status))
    approval = yard.book.pending.get(job.approval_id or 0)
    level = approval.required_approver_level if approval is not None else "admin"
    if by.level < Level[level.upper()]:
        raise NotAllowed(f"job {job_id} needs the approval of an {level}")
    if not by.is_admin and job.user_id == by.user_id:
        raise NotAllowed(f"job {job_id} is your own: another lead or an admin decides on it")
    return job


def _fail(yard: Yard, job: Job, words: str, exit_class: str, now: Now, out: Outbox) -> None:
    yard.change(job, out, JobEvent.REJECTED, completed_at=now.wall, error_message=words, exit_class=exit_class)


def _changed(yard: Yard, job: Job) -> JobChanged:
    attempt = yard.attempt_of.get(job.job_id)
    phase = attempt.phase if attempt is not None else None
    return JobChanged(job_id=job.job_id, status=job.status, phase=phase, processing_held=yard.processing_held)


# --- rules -------------------------------------------------------------------------------------------------------


def add_rule(yard: Yard, command: AddRule, now: Now, out: Outbox) -> ApprovalRule:
    """In force for every submit after it. Without a `precedence` it comes last. Raises InvalidInput, NotAllowed."""
    _admin(command.by)
    book = yard.book
    if len(book.rules) >= approvals.MAX_RULES:
        raise InvalidInput(f"there are {approvals.MAX_RULES} rules already: remove one", field="name")
    last = max((rule.precedence for rule in book.rules.values()), default=0)
    rule = approvals.checked(book.next_rule, {"precedence": last + 10, **command.values})
    _named_once(yard, rule)
    book.next_rule += 1
    return _keep(yard, rule, "approval_rule_added", command.by, now, out)


def change_rule(yard: Yard, command: ChangeRule, now: Now, out: Outbox) -> ApprovalRule:
    """Jobs that are blocked already stay as they are. Raises NotFound, InvalidInput, NotAllowed."""
    _admin(command.by)
    old = rule_of(yard, command.rule_id)
    values = {name: getattr(old, name) for name in approvals.FIELDS}
    if "type" in command.changes and command.changes["type"] != old.type:
        values |= {"condition": "", "threshold": None}
    rule = approvals.checked(old.id, {**values, **command.changes})
    _named_once(yard, rule)
    return _keep(yard, rule, "approval_rule_changed", command.by, now, out)


def remove_rule(yard: Yard, command: RemoveRule, now: Now, out: Outbox) -> ApprovalRule:
    """Jobs that are blocked already stay as they are. Raises NotFound, NotAllowed."""
    _admin(command.by)
    rule = rule_of(yard, command.rule_id)
    del yard.book.rules[rule.id]
    out.row(DropRecord("approval_rule", {"id": rule.id}))
    out.row(_audit("approval_rule_removed", rule, command.by, now, out))
    return rule


def rules(yard: Yard, question: GetRules, now: Now) -> list[ApprovalRule]:
    """In the order in which they are looked at."""
    return approvals.in_order(yard.book.rules.values())


def try_rule(yard: Yard, question: TryRule, now: Now) -> list[RuleMatch]:
    """Which of these submits the rule would have blocked. Raises NotFound, NotAllowed."""
    _admin(question.by)
    rule = rule_of(yard, question.rule_id)
    found = []
    for past in question.submits:
        candidate = msgspec.structs.replace(past.candidate, hardware=hardware_of(yard, past.spec))
        why = approvals.matched(rule, candidate)
        if why is not None:
            found.append(RuleMatch(job_id=past.job_id, reason=f"Rule {rule.name}: {why}."))
    return found


def rule_of(yard: Yard, rule_id: int) -> ApprovalRule:
    try:
        return yard.book.rules[rule_id]
    except KeyError:
        raise NotFound(f"there is no approval rule {rule_id}", rule_id=rule_id) from None


def _named_once(yard: Yard, rule: ApprovalRule) -> None:
    if any(other.name == rule.name and other.id != rule.id for other in yard.book.rules.values()):
        raise InvalidInput(f"name {rule.name!r} is taken by another rule", field="name")


def _keep(yard: Yard, rule: ApprovalRule, action: str, by: Viewer, now: Now, out: Outbox) -> ApprovalRule:
    yard.book.rules[rule.id] = rule
    out.row(PutRecord("approval_rule", {**msgspec.structs.asdict(rule), "type": str(rule.type)}))
    out.row(_audit(action, rule, by, now, out))
    return rule


def _audit(action: str, rule: ApprovalRule, by: Viewer, now: Now, out: Outbox) -> AppendAudit:
    return AppendAudit(
        at=now.wall,
        action=action,
        user_id=by.user_id,
        username=by.username,
        token_id=by.token_id,
        address=by.address,
        subject=f"rule {rule.id}",
        detail=msgspec.to_builtins(rule),
        cause=out.cause,
    )


def _admin(by: Viewer) -> None:
    if not by.is_admin:
        raise NotAllowed("only an admin may change or try approval rules")
