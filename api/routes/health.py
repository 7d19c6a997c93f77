"""Is the server alive, is it ready, and how is it doing: /healthz, /readyz, /metrics."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from gpuyard.api.responses import JsonResponse

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="healthz")
async def healthz() -> Response:
    """The Frontend lives."""
    return JsonResponse({"status": "ok"})
