"""What the routes of webhooks answer."""

from __future__ import annotations

from gpuyard.actors.model.views import DeliveryView, WebhookView
from gpuyard.api.answers import Answer


class WebhookList(Answer, frozen=True, kw_only=True):
    webhooks: list[WebhookView]


class WebhookCreated(WebhookView, frozen=True, kw_only=True, tag="WebhookCreated"):
    """`secret` signs every message; it is shown this once."""

    secret: str
    success: bool = True


class DeliveryList(Answer, frozen=True, kw_only=True):
    deliveries: list[DeliveryView]
