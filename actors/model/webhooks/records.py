"""What is stored of webhooks: each with where it stands in the story, and each message until it has been taken."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from gpuyard.actors.model.registers import PutRecord

WEBHOOK, DELIVERY = "webhook", "webhook_delivery"
REGISTERS: Final = (WEBHOOK, DELIVERY)


class Type(StrEnum):
    """What is told of a job; the word is that of the option, the message's type is `job.` and the word."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BLOCKED = "blocked"
    APPROVED = "approved"


ENDS: Final = (Type.COMPLETED, Type.FAILED, Type.CANCELLED)


class Scope(StrEnum):
    """Whose jobs: one's own; those of one's own team (leads and admins); everybody's (admins)."""

    OWN = "own"
    TEAM = "team"
    ALL = "all"


class State(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """`owner` is a user's id, `why` says why it is disabled. Events up to `cursor` have been looked at. Nothing was
    taken since `failing_since`; `delivered_at` is when something was. Times are epoch seconds."""

    id: str
    owner: int
    url: str
    events: tuple[str, ...]
    scope: str
    cursor: int
    created_at: float
    created_by: str = ""
    enabled: bool = True
    why: str = ""
    failing_since: float | None = None
    delivered_at: float | None = None

    def row(self) -> PutRecord:
        return PutRecord(register=WEBHOOK, values=msgspec.structs.asdict(self))


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A message to one webhook, the same `body` at each attempt. `status` and `why` are of the last one."""

    id: str
    webhook_id: str
    event_id: int
    type: str
    body: str
    created_at: float
    next_at: float
    state: str = State.PENDING
    attempts: int = 0
    ended_at: float | None = None
    status: int | None = None
    why: str = ""

    def row(self) -> PutRecord:
        return PutRecord(register=DELIVERY, values=msgspec.structs.asdict(self))


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an attempt: an HTTP status, or `why` there was none. `retry_after` is what the receiver asks for."""

    status: int | None = None
    why: str = ""
    seconds: float = 0.0
    retry_after: float | None = None

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        return self.status == 410


def webhook_from(row: dict[str, Any]) -> Webhook:
    return msgspec.convert({**row, "events": msgspec.json.decode(row["events"])}, Webhook, strict=False)


def delivery_from(row: dict[str, Any]) -> Delivery:
    return msgspec.convert(row, Delivery, strict=False)
