"""The real Frontend with one route more: a trivial POST that it answers by itself, the reference of `submit.py`."""

from __future__ import annotations

import sys

from fastapi import APIRouter
from starlette.responses import Response

from gpuyard.api import routes
from gpuyard.api.deps import ViewerDep
from gpuyard.api.permissions import RULES, Rule
from gpuyard.api.responses import JsonResponse
from gpuyard.cli.frontend_process import main

TRIVIAL = "/bench/trivial"
router = APIRouter()


@router.post(TRIVIAL)
async def trivial(viewer: ViewerDep) -> Response:
    """Nothing but the guard, the identity and an answer."""
    return JsonResponse({"success": True, "job_id": "0123456789ab", "status": "queued"})


if __name__ == "__main__":
    RULES["POST", TRIVIAL] = Rule.VIEWER
    routes.ROUTERS.append(router)
    sys.exit(main())
