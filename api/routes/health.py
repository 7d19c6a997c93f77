"""Is the server alive, is it ready, and how is it doing: /healthz, /readyz, /metrics."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetActorStats, GetGatewayStats, GetGpus, GetStats, Ready
from gpuyard.actors.model.errors import GpuyardError, Unavailable
from gpuyard.actors.model.message import Message
from gpuyard.api.core import Core
from gpuyard.api.deps import CoreDep, MetricsDep, SettingsDep, StreamsDep
from gpuyard.api.metrics import Present, exposition
from gpuyard.api.responses import JsonResponse

router = APIRouter(tags=["health"])

ASKED = (
    names.STORE,
    names.HISTORY,
    names.SCHEDULER,
    names.KEEPER,
    names.LOGS,
    names.GPUS,
    names.WORKERS,
    names.CLOUD,
    names.LINK,
    names.PEOPLE,
)
PATIENCE = 2.0
ALIVE = {"status": "ok", "version": "0.1.0"}


def _example(content_type: str, example: Any) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": "yes", "content": {content_type: {"example": example}}}}


@router.get("/healthz", operation_id="healthz", responses=_example("application/json", ALIVE))
async def healthz(settings: SettingsDep) -> Response:
    """The Frontend lives, and which version it is."""
    return JsonResponse({"status": "ok", "version": settings.version})


@router.get(
    "/readyz",
    operation_id="readyz",
    responses=_example("application/json", {"status": "ready", "actors": {"scheduler": True}}),
)
async def readyz(core: CoreDep) -> Response:
    """All actors answer, and have ended their boot; 503 names those that have not."""
    states = dict(zip(ASKED, await asyncio.gather(*(_is_ready(core, name) for name in ASKED)), strict=True))
    waiting = [name for name, ready in states.items() if not ready]
    if waiting:
        raise Unavailable(f"not ready yet: {', '.join(waiting)}")
    return JsonResponse({"status": "ready", "actors": states})


async def _is_ready(core: Core, name: str) -> bool:
    try:
        return bool(await core.ask(name, Ready(), PATIENCE))
    except GpuyardError:
        return False


@router.get(
    "/metrics",
    operation_id="metrics",
    responses=_example("text/plain", 'gpuyard_jobs{status="running"} 2.0\n'),
    response_class=Response,
)
async def metrics(core: CoreDep, timings: MetricsDep, streams: StreamsDep) -> Response:
    """Figures for Prometheus; those of an actor that does not answer are left out."""
    stats, gpus, actors, gateway, bulk = await asyncio.gather(
        _answer(core, names.SCHEDULER, GetStats(with_reasons=True)),
        _answer(core, names.SCHEDULER, GetGpus()),
        _answer(core, names.LINK, GetActorStats()),
        _answer(core, names.GATEWAY, GetGatewayStats()),
        _answer(core, names.BULK, GetGatewayStats()),
    )
    sockets = {name: found for name, found in ((names.GATEWAY, gateway), (names.BULK, bulk)) if found is not None}
    body = exposition(timings, Present(stats, gpus, actors, len(streams), sockets))
    return Response(body, media_type=CONTENT_TYPE_PLAIN_0_0_4)


async def _answer(core: Core, name: str, message: Message) -> Any:
    try:
        return await core.ask(name, message, PATIENCE)
    except GpuyardError:
        return None
