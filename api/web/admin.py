"""Administration: people, teams, tokens, secrets, webhooks, limits, and who did what."""

from __future__ import annotations

from gpuyard.actors.model import limits
from gpuyard.api.web.regions import Asked, Context, region

LEVELS = ("viewer", "researcher", "lead", "admin")
LINES = 50
LABELS = {
    "max_concurrent": "Max Concurrent",
    "user_max_concurrent": "A user's jobs at once",
    "team_max_concurrent": "A team's jobs at once",
    "local_gpu_max_concurrent": "Local GPUs in use",
    "local_job_max_concurrent": "Local GPU jobs at once",
    "local_cpu_job_max_concurrent": "CPU jobs at once",
    "user_max_gpus": "A user's GPUs",
    "starvation_threshold_minutes": "Boost after, minutes",
    "reserve_after_seconds": "Keep GPUs free after, seconds",
    "cancel_hold_seconds": "Hold after a cancel, seconds",
    "approval_expiry_hours": "Approvals expire after, hours",
}


@region("users", watch="people")
async def users(asked: Asked) -> Context:
    teams = (await asked.get("/api/teams"))["teams"]
    return {"users": (await asked.get("/api/users"))["users"], "teams": teams, "levels": LEVELS}


@region("tokens", watch="people")
async def tokens(asked: Asked) -> Context:
    return {"tokens": (await asked.get("/api/tokens"))["tokens"], "me": await asked.get("/api/users/me")}


@region("secrets", watch="people")
async def secrets(asked: Asked) -> Context:
    found = await asked.get("/api/secrets")
    return {"secrets": found["secrets"], "webhooks": (await asked.get("/api/webhooks"))["webhooks"]}


@region("limits")
async def all_limits(asked: Asked) -> Context:
    return {
        "limits": await asked.get("/api/queue/concurrency"),
        "meanings": limits.MEANINGS,
        "labels": LABELS,
        "bounds": limits.BOUNDS,
        "nullable": limits.NULLABLE,
        "decimal": limits.DECIMAL,
    }


@region("audit", watch="queue people")
async def audit(asked: Asked) -> Context:
    page = await asked.get("/api/audit", limit=LINES, before=asked.params.get("before"))
    return {"entries": page["entries"], "before": page["before"]}
