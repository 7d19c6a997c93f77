"""Who used how much, how long jobs wait, and how long GPUs stood idle although work waited."""

from __future__ import annotations

from gpuyard.api.web.regions import Asked, Context, region

BY = ("user", "team", "place")


@region("usage", watch="")
async def usage(asked: Asked) -> Context:
    by = asked.params.get("by", "user")
    by = by if by in BY else "user"
    report = await asked.get("/api/usage", by=by)
    days = await asked.get("/api/usage", by="", period="day")
    most = max((line["gpu_hours"] for line in report["lines"]), default=0.0)
    return {"report": report, "days": days["lines"], "by": by, "choices": BY, "most": most}


@region("waits", watch="")
async def waits(asked: Asked) -> Context:
    found = await asked.get("/api/queue/waits")
    stats = await asked.get("/api/queue/stats")
    return {
        "waits": found,
        "most": max(bucket["jobs"] for bucket in found["buckets"]),
        "idle_hours": stats["gpu_idle_seconds"] / 3600,
    }
