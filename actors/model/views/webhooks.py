"""Answers about webhooks."""

from __future__ import annotations

from gpuyard.actors.model.views.base import View


class WebhookView(View, frozen=True, kw_only=True):
    """A webhook without its secret. `why` says why gpuyard disabled it, `waiting` counts messages not yet taken."""

    id: str
    user_id: int
    username: str
    url: str
    events: list[str]
    scope: str
    enabled: bool
    why: str
    waiting: int
    created_at: str
    delivered_at: str | None
    failing_since: str | None


class WebhookMade(View, frozen=True, kw_only=True):
    """`secret` is what messages are signed with: shown once."""

    secret: str
    webhook: WebhookView

    def __repr__(self) -> str:
        return f"WebhookMade(webhook={self.webhook!r})"


class WebhookTested(View, frozen=True, kw_only=True):
    """`status` is what the receiver answered, `why` what was wrong."""

    id: str
    ok: bool
    status: int | None
    why: str
    seconds: float


class DeliveryView(View, frozen=True, kw_only=True):
    """`event` is the message's type, `state` pending, delivered or given_up; `status` and `why` are of the last try."""

    id: str
    event: str
    job_id: str | None
    state: str
    attempts: int
    created_at: str
    next_at: str | None
    ended_at: str | None
    status: int | None
    why: str
