"""What the overview shows: the four numbers, my jobs, a tile a GPU, and what failed lately."""

from __future__ import annotations

from gpuyard.api.web.regions import Asked, Context, region

FAILURES = 5


@region("numbers")
async def numbers(asked: Asked) -> Context:
    return {"stats": await asked.get("/api/queue/stats")}


@region("my_jobs")
async def my_jobs(asked: Asked) -> Context:
    mine = await asked.get("/api/queue/me")
    return {"mine": mine, "entries": [*mine["running_jobs"], *mine["pending_jobs"]]}


@region("gpus", watch="gpus")
async def gpus(asked: Asked) -> Context:
    status = await asked.get("/api/system/status", include_allocation=True)
    return {"status": status, "devices": status["gpu_allocation"]["devices"]}


@region("failures")
async def failures(asked: Asked) -> Context:
    return {"jobs": (await asked.get("/api/jobs", status="failed", limit=FAILURES))["jobs"]}
