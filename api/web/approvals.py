"""The approvals' page: what waits for a decision, oldest first, and the rules that make jobs wait."""

from __future__ import annotations

from gpuyard.api.web import beside
from gpuyard.api.web.regions import Asked, Context, region

SHOWN = 100


@region("approvals", watch="queue")
async def approvals(asked: Asked) -> Context:
    page = await asked.get("/api/approvals", status="pending", limit=SHOWN)
    waiting = sorted(page["approvals"], key=lambda one: one["requested_at"])
    titles = await beside.titles(asked, "blocked")
    return {"waiting": waiting, "total": page["total"], "titles": titles}


@region("rules", watch="people")
async def rules(asked: Asked) -> Context:
    return {"rules": (await asked.get("/api/approvals/rules"))["rules"]}
