"""What a message says: its type, when it happened, and the job as it was then."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gpuyard.actors.model.clock import iso
from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.views import Entry
from gpuyard.actors.model.webhooks.records import Type

LONGEST_REASON: Final = 500
# What each kind of event tells; a refused job has failed.
TYPES: Final = {
    "job_completed": Type.COMPLETED,
    "job_failed": Type.FAILED,
    "job_rejected": Type.FAILED,
    "approval_expired": Type.FAILED,
    "job_cancelled": Type.CANCELLED,
    "job_approved": Type.APPROVED,
}
STATUS: Final = {Type.APPROVED: "pending"}


def type_of(event: EventRow) -> Type | None:
    """What `event` would be told as; None for what is not told."""
    if event.kind == "job_submitted" and event.data.get("status") == "blocked":
        return Type.BLOCKED
    return TYPES.get(event.kind) if event.job_id is not None else None


def body_of(type: Type, event: EventRow, entry: Entry, user: str) -> str:
    """The JSON text that is sent."""
    reason = str(event.data.get("message") or event.data.get("reason") or entry.error_message or "")
    data: dict[str, Any] = {
        "job_id": entry.job_id,
        "name": entry.name,
        "config_name": entry.config_name,
        "user_id": entry.user_id,
        "user": user,
        "team_id": entry.team_id,
        "target": entry.target,
        "status": STATUS.get(type, str(type)),
        "reason": reason[:LONGEST_REASON],
        "exit_code": entry.exit_code,
        "exit_class": entry.exit_class,
        "attempts": entry.attempt,
        "queued_at": entry.queued_at,
        "started_at": entry.started_at,
        "ended_at": entry.completed_at,
        "cost_usd": entry.cost_usd,
    }
    return _text(f"job.{type}", event.at, data)


def test_body(webhook_id: str, at: float) -> str:
    """What `webhooks test` sends."""
    return _text("webhook.test", at, {"webhook_id": webhook_id})


def _text(type: str, at: float, data: dict[str, Any]) -> str:
    return msgspec.json.encode({"type": type, "timestamp": iso(at), "data": data}).decode()
