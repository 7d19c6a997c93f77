"""Approvals: what the edges ask of the Scheduler about blocked jobs and rules, and of History about past ones."""

from __future__ import annotations

from typing import Any

import msgspec

from gpuyard.actors.model.approvals import Candidate
from gpuyard.actors.model.job import JobSpec
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import OWNER, Viewer


class ApproveJob(Message, frozen=True, kw_only=True):
    """Let a blocked job into the queue. From: Frontend. To: Scheduler. Reply: JobChanged.

    Errors: NotActive, NotAllowed (admin, or a lead where its approval says so), WrongState (not blocked). Repeat:
    WrongState.
    """

    job_id: str
    by: Viewer = OWNER
    reason: str = ""


class RejectJob(Message, frozen=True, kw_only=True):
    """Refuse a blocked job: failed("Rejected: reason"). From: Frontend. To: Scheduler. Reply: JobChanged.

    Errors: as ApproveJob, and InvalidInput without a reason. Repeat: NotActive.
    """

    job_id: str
    reason: str
    by: Viewer = OWNER


class AddRule(Message, frozen=True, kw_only=True):
    """A new approval rule, in force for every later submit. From: Frontend. To: Scheduler. Reply: ApprovalRule.

    `values` are fields of ApprovalRule without its id; `precedence` by default the last. Errors: InvalidInput,
    NotAllowed (admin). Repeat: InvalidInput, since its name is taken.
    """

    values: dict[str, Any]
    by: Viewer = OWNER


class ChangeRule(Message, frozen=True, kw_only=True):
    """Change fields of a rule; another `type` forgets condition and threshold. Jobs blocked already stay so.

    From: Frontend. To: Scheduler. Reply: ApprovalRule. Errors: NotFound, InvalidInput, NotAllowed (admin). Repeat:
    harmless.
    """

    rule_id: int
    changes: dict[str, Any]
    by: Viewer = OWNER


class RemoveRule(Message, frozen=True, kw_only=True):
    """From: Frontend. To: Scheduler. Reply: the ApprovalRule that was. Errors: NotFound, NotAllowed (admin).

    Repeat: NotFound.
    """

    rule_id: int
    by: Viewer = OWNER


class GetRules(Message, frozen=True, kw_only=True):
    """From: Frontend. To: Scheduler. Reply: list of ApprovalRule in the order of looking. Repeat: harmless."""


class PastSubmit(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it was submitted. `candidate` lacks the hardware, which the Scheduler knows; `spec` has only what that
    depends on."""

    job_id: str
    candidate: Candidate
    spec: JobSpec


class TryRule(Message, frozen=True, kw_only=True):
    """Which of these submits would the rule have blocked, enabled or not? From: Frontend. To: Scheduler.

    Reply: list of RuleMatch. Errors: NotFound, NotAllowed (admin). Repeat: harmless.
    """

    rule_id: int
    submits: tuple[PastSubmit, ...]
    by: Viewer = OWNER


class ListApprovals(Message, frozen=True, kw_only=True):
    """Approvals, those that wait first, else the newest first. From: Frontend. To: History. Reply: ApprovalPage.

    `statuses` empty = all; `user_id` None = all users. Repeat: harmless.
    """

    statuses: tuple[str, ...] = ()
    user_id: int | None = None
    limit: int = 50
    offset: int = 0


class GetApproval(Message, frozen=True, kw_only=True):
    """One approval, by its number. From: Frontend. To: History. Reply: ApprovalView. Errors: NotFound.

    Repeat: harmless.
    """

    approval_id: int


class GetPastSubmits(Message, frozen=True, kw_only=True):
    """The last submits as approval rules see them. From: Frontend. To: History. Reply: list of PastSubmit, newest
    first. Repeat: harmless."""

    limit: int = 100
