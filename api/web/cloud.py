"""The cloud tab: providers, their health and what they cost; the queue panel is one click away."""

from __future__ import annotations

from gpuyard.api.web import beside
from gpuyard.api.web.regions import Asked, Context, region

SHOWN = 20


@region("providers", watch="queue people")
async def providers(asked: Asked) -> Context:
    return {"providers": (await asked.get("/api/cloud/providers"))["providers"]}


@region("cloud_cost")
async def cloud_cost(asked: Asked) -> Context:
    return {
        "by_user": await asked.get("/api/cloud/cost", by="user"),
        "by_day": await asked.get("/api/cloud/cost", by="day"),
        "people": await beside.people(asked),
    }


@region("cloud_jobs")
async def cloud_jobs(asked: Asked) -> Context:
    jobs = (await asked.get("/api/jobs", target="cloud", limit=SHOWN))["jobs"]
    return {"jobs": jobs, "people": await beside.people(asked)}
