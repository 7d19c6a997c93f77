"""Administration: people, teams, tokens, limits, and who did what."""

from __future__ import annotations

from gpuyard.actors.model import limits
from gpuyard.api.web.regions import Asked, Context, region

LEVELS = ("viewer", "researcher", "lead", "admin")
LINES = 50


@region("users", watch="people")
async def users(asked: Asked) -> Context:
    teams = (await asked.get("/api/teams"))["teams"]
    return {"users": (await asked.get("/api/users"))["users"], "teams": teams, "levels": LEVELS}


@region("tokens", watch="people")
async def tokens(asked: Asked) -> Context:
    return {"tokens": (await asked.get("/api/tokens"))["tokens"], "me": await asked.get("/api/users/me")}


@region("limits", watch="")
async def all_limits(asked: Asked) -> Context:
    return {
        "limits": await asked.get("/api/queue/concurrency"),
        "meanings": limits.MEANINGS,
        "bounds": limits.BOUNDS,
        "nullable": limits.NULLABLE,
        "decimal": limits.DECIMAL,
    }


@region("audit", watch="")
async def audit(asked: Asked) -> Context:
    page = await asked.get("/api/audit", limit=LINES, before=asked.params.get("before"))
    return {"entries": page["entries"], "before": page["before"]}
