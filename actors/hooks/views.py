"""What is shown of webhooks and their messages."""

from __future__ import annotations

import msgspec

from gpuyard.actors.model.clock import iso, iso_or_none
from gpuyard.actors.model.views import DeliveryView, WebhookView
from gpuyard.actors.model.webhooks.records import Delivery, State, Webhook


def webhook(known: Webhook, waiting: int) -> WebhookView:
    return WebhookView(
        id=known.id,
        user_id=known.owner,
        username=known.created_by,
        url=known.url,
        events=list(known.events),
        scope=known.scope,
        enabled=known.enabled,
        why=known.why,
        waiting=waiting,
        created_at=iso(known.created_at),
        delivered_at=iso_or_none(known.delivered_at),
        failing_since=iso_or_none(known.failing_since),
    )


def delivery(known: Delivery) -> DeliveryView:
    return DeliveryView(
        id=known.id,
        event=known.type,
        job_id=msgspec.json.decode(known.body)["data"].get("job_id"),
        state=known.state,
        attempts=known.attempts,
        created_at=iso(known.created_at),
        next_at=iso(known.next_at) if known.state == State.PENDING else None,
        ended_at=iso_or_none(known.ended_at),
        status=known.status,
        why=known.why,
    )
