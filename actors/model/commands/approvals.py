"""Approvals: what the edges ask of the Scheduler about blocked jobs and rules."""

from __future__ import annotations

from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import OWNER, Viewer


class ApproveJob(Message, frozen=True, kw_only=True):
    """Let a blocked job into the queue. From: Frontend. To: Scheduler. Reply: JobChanged.

    Errors: NotActive, NotAllowed (admin), WrongState (not blocked). Repeat: WrongState.
    """

    job_id: str
    by: Viewer = OWNER


class RejectJob(Message, frozen=True, kw_only=True):
    """Refuse a blocked job: failed("Rejected: reason"). From: Frontend. To: Scheduler. Reply: JobChanged.

    Errors: as ApproveJob, and InvalidInput without a reason. Repeat: NotActive.
    """

    job_id: str
    reason: str
    by: Viewer = OWNER
