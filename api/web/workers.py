"""The workers' page: who is there, what they do, and bringing a new one in."""

from __future__ import annotations

from gpuyard.api.web import beside
from gpuyard.api.web.regions import Asked, Context, region


@region("workers", watch="queue workers")
async def workers(asked: Asked) -> Context:
    found = (await asked.get("/api/admin/workers"))["workers"]
    return {"workers": found, "titles": await beside.titles(asked)}
