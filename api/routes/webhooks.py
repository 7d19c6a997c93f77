"""Webhooks: what happens to jobs, told to an address of your choice, signed as Standard Webhooks."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import (
    AddWebhook,
    ListDeliveries,
    ListWebhooks,
    RemoveWebhook,
    SetWebhook,
    TestWebhook,
)
from gpuyard.actors.model.views import WebhookMade, WebhookTested, WebhookView
from gpuyard.api.answers_webhooks import DeliveryList, WebhookCreated, WebhookList
from gpuyard.api.deps import CoreDep, ViewerDep
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse
from gpuyard.api.schemas.webhooks import NewWebhookBody, WebhookBody

router = APIRouter(prefix="/api/webhooks", tags=["people"])

WebhookId = Annotated[str, Path(min_length=1, max_length=64)]
# A receiver has 15 s; its name and those before it in line some more.
TEST_SECONDS = 30.0


@router.get("", operation_id="list_webhooks", responses=answer("list_webhooks", WebhookList))
async def list_webhooks(
    core: CoreDep,
    viewer: ViewerDep,
    all_users: Annotated[bool, Query(description="Everybody's, for admins.")] = False,
) -> Response:
    """Your webhooks, oldest first."""
    message = ListWebhooks(everybody=all_users, by=viewer)
    return JsonResponse(WebhookList(webhooks=await core.ask(names.WEBHOOKS, message)))


@router.post("", operation_id="add_webhook", responses=answer("add_webhook", WebhookCreated))
async def add_webhook(core: CoreDep, viewer: ViewerDep, body: NewWebhookBody) -> Response:
    """Have an address told what happens to jobs from now on; answers the signing secret, this once.

    Each message is sent until it is taken (a status below 300), for a bit more than a day, at least once. The header
    `webhook-id` is the same at each attempt; `webhook-signature` is that of Standard Webhooks.
    """
    message = AddWebhook(url=body.url, events=tuple(body.events), scope=body.scope, by=viewer)
    made: WebhookMade = await core.ask(names.WEBHOOKS, message)
    return JsonResponse(WebhookCreated(**msgspec.structs.asdict(made.webhook), secret=made.secret))


@router.patch("/{webhook_id}", operation_id="change_webhook", responses=answer("change_webhook", WebhookView))
async def change_webhook(core: CoreDep, viewer: ViewerDep, webhook_id: WebhookId, body: WebhookBody) -> Response:
    """Enable or disable a webhook; what waits for a disabled one is given up."""
    message = SetWebhook(id=webhook_id, enabled=body.enabled, by=viewer)
    return JsonResponse(await core.ask(names.WEBHOOKS, message))


@router.delete("/{webhook_id}", operation_id="remove_webhook", responses=answer("remove_webhook", WebhookView))
async def remove_webhook(core: CoreDep, viewer: ViewerDep, webhook_id: WebhookId) -> Response:
    """Delete a webhook, its messages and its secret."""
    return JsonResponse(await core.ask(names.WEBHOOKS, RemoveWebhook(id=webhook_id, by=viewer)))


@router.post("/{webhook_id}/test", operation_id="test_webhook", responses=answer("test_webhook", WebhookTested))
async def test_webhook(core: CoreDep, viewer: ViewerDep, webhook_id: WebhookId) -> Response:
    """Send a message of type `webhook.test` now, once, and answer what came of it."""
    message = TestWebhook(id=webhook_id, by=viewer)
    return JsonResponse(await core.ask(names.WEBHOOKS, message, timeout=TEST_SECONDS))


@router.get(
    "/{webhook_id}/deliveries", operation_id="list_deliveries", responses=answer("list_deliveries", DeliveryList)
)
async def list_deliveries(core: CoreDep, viewer: ViewerDep, webhook_id: WebhookId) -> Response:
    """The messages of a webhook, newest first: those that wait, and the last that ended."""
    message = ListDeliveries(id=webhook_id, by=viewer)
    return JsonResponse(DeliveryList(deliveries=await core.ask(names.WEBHOOKS, message)))
