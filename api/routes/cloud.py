"""Cloud providers: how they are, whether they take jobs, what they cost, and what they say by themselves."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from gpuyard.actors.model import bounds, names
from gpuyard.actors.model.clock import epoch
from gpuyard.actors.model.commands import GetCloudCost, HearWebhook, ListProviders, SetProvider, TestProvider
from gpuyard.actors.model.errors import InvalidInput
from gpuyard.actors.model.views import CloudCost, ProviderTested, ProviderView
from gpuyard.api.answers_cloud import CostList, ProviderList, ProviderTest, WebhookHeard
from gpuyard.api.core import Core
from gpuyard.api.deps import CoreDep, HubDep, ViewerDep
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse
from gpuyard.api.schemas.cloud import ProviderBody

router = APIRouter(prefix="/api/cloud", tags=["cloud"])

Name = Annotated[str, Path(pattern=bounds.PROVIDER, max_length=64)]
Moment = Annotated[str | None, Query(max_length=64, description="ISO-8601; jobs submitted from then on.")]
# What a provider signs its webhooks with.
SIGNATURE = ("webhook-id", "webhook-timestamp", "webhook-signature")
# A test waits for the provider as long as one of its own calls may take.
TEST_SECONDS = 180.0


@router.get("/providers", operation_id="list_providers", responses=answer("list_providers", ProviderList))
async def list_providers(core: CoreDep) -> Response:
    """All known providers, configured or not: health, circuit, what runs there, what it cost so far."""
    found: list[ProviderView] = await core.ask(names.CLOUD, ListProviders())
    spent = await _spent(core)
    views = [msgspec.structs.replace(view, cost_usd=spent.get(view.name, 0.0)) for view in found]
    return JsonResponse(ProviderList(providers=views))


@router.post("/providers/{name}/test", operation_id="test_provider", responses=answer("test_provider", ProviderTest))
async def test_provider(core: CoreDep, viewer: ViewerDep, name: Name) -> Response:
    """Ask a provider now whether it answers, with our credential."""
    tested: ProviderTested = await core.ask(names.CLOUD, TestProvider(name=name, by=viewer), timeout=TEST_SECONDS)
    return JsonResponse(ProviderTest(success=tested.ok, name=name, detail=tested.detail, seconds=tested.seconds))


@router.patch("/providers/{name}", operation_id="set_provider", responses=answer("set_provider", ProviderView))
async def set_provider(core: CoreDep, hub: HubDep, viewer: ViewerDep, name: Name, body: ProviderBody) -> Response:
    """Let a provider take jobs, or no more. What runs there goes on; it stays so over restarts."""
    view: ProviderView = await core.ask(names.CLOUD, SetProvider(name=name, enabled=body.enabled, by=viewer))
    hub.settings_changed()
    return JsonResponse(msgspec.structs.replace(view, cost_usd=(await _spent(core)).get(name, 0.0)))


@router.get("/cost", operation_id="cloud_cost", responses=answer("cloud_cost", CostList))
async def cloud_cost(
    core: CoreDep,
    viewer: ViewerDep,
    by: Literal["provider", "user", "team", "day", "month", "job"] = "provider",
    since: Moment = None,
    until: Annotated[str | None, Query(max_length=64, description="ISO-8601; jobs submitted before.")] = None,
) -> Response:
    """What cloud jobs cost, and what was expected of them; your own unless you are a lead or admin."""
    query = GetCloudCost(
        by=by,
        since=_moment(since, "since"),
        until=_moment(until, "until"),
        user_id=None if viewer.is_lead else viewer.user_id,
    )
    costs: list[CloudCost] = await core.ask(names.HISTORY, query)
    total = round(sum(line.cost_usd for line in costs), 4)
    return JsonResponse(CostList(by=by, costs=costs, total_usd=total, total_jobs=sum(line.jobs for line in costs)))


@router.post("/webhooks", operation_id="hear_webhook", responses=answer("hear_webhook", WebhookHeard))
async def hear_webhook(
    core: CoreDep,
    request: Request,
    provider: Annotated[str, Query(pattern=bounds.PROVIDER, max_length=64)],
    token: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """A provider tells of one of its jobs. Its signature is what lets it in; it only makes us look at once."""
    headers = {name: request.headers[name] for name in SIGNATURE if name in request.headers}
    body = await request.body()
    await core.ask(names.CLOUD, HearWebhook(provider=provider, token=token, headers=headers, body=body), timeout=60.0)
    return JsonResponse(WebhookHeard())


async def _spent(core: Core) -> dict[str, float]:
    costs: list[CloudCost] = await core.ask(names.HISTORY, GetCloudCost())
    return {line.key: line.cost_usd for line in costs}


def _moment(text: str | None, field: str) -> float | None:
    if text is None:
        return None
    try:
        return epoch(text)
    except (ValueError, OverflowError):
        raise InvalidInput(f"{field} must be an ISO-8601 time", field=field) from None
