"""The limits: read them, change them while jobs run."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetLimits, SetLimits
from gpuyard.actors.model.limits import Limits
from gpuyard.api.answers import LimitsSet
from gpuyard.api.deps import CoreDep, ViewerDep
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse
from gpuyard.api.schemas.requests import LimitsBody

router = APIRouter(prefix="/api/queue/concurrency", tags=["queue"])


@router.get("", operation_id="get_limits", responses=answer("get_limits", Limits))
async def get_limits(core: CoreDep) -> Response:
    """All limits as they are now."""
    return JsonResponse(await core.ask(names.SCHEDULER, GetLimits()))


@router.post("", operation_id="set_limits", responses=answer("set_limits", LimitsSet))
async def set_limits(core: CoreDep, viewer: ViewerDep, body: LimitsBody) -> Response:
    """Change what the body names; null lifts a limit that may be lifted. In force at once, and kept."""
    limits: Limits = await core.ask(names.SCHEDULER, SetLimits(changes=body.changes(), by=viewer))
    return JsonResponse(LimitsSet(**msgspec.structs.asdict(limits)))
