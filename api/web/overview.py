"""What the overview shows: the four numbers, my jobs, a tile a GPU, and what failed lately."""

from __future__ import annotations

from gpuyard.actors.model.attempt import LOCAL_HOST
from gpuyard.actors.model.clock import epoch
from gpuyard.api.samples import KEPT_HOURS
from gpuyard.api.web import charts
from gpuyard.api.web.regions import Asked, Context, region

FAILURES = 5


@region("summary")
@region("numbers")
async def numbers(asked: Asked) -> Context:
    """On the overview (`summary`) and in the queue panel."""
    return {"stats": await asked.get("/api/queue/stats")}


@region("my_jobs")
async def my_jobs(asked: Asked) -> Context:
    mine = await asked.get("/api/queue/me")
    return {"mine": mine, "entries": [*mine["running_jobs"], *mine["pending_jobs"]]}


@region("gpus", watch="queue gpus")
async def gpus(asked: Asked) -> Context:
    status = await asked.get("/api/system/status", include_allocation=True)
    return {"status": status, "devices": status["gpu_allocation"]["devices"]}


@region("timeline")
async def timeline(asked: Asked) -> Context:
    """Six hours of every GPU: which job had it when."""
    found = await asked.get("/api/gpus/timeline", hours=KEPT_HOURS)
    devices = (await asked.get("/api/system/status", include_allocation=True))["gpu_allocation"]["devices"]
    names = {gpu["uuid"]: f"GPU {gpu['index']}" for gpu in devices}
    for span in found["spans"]:
        if span["host"] != LOCAL_HOST:
            names.setdefault(span["uuid"], f"{span['host']} {span['index']}")
    return {"rows": charts.rows(found, names), "marks": charts.hours(found["since"], found["until"])}


@region("depth")
async def depth(asked: Asked) -> Context:
    """How many jobs waited and ran over the last hours."""
    samples = (await asked.get("/api/queue/history"))["samples"]
    since, until = (epoch(samples[0]["at"]), epoch(samples[-1]["at"])) if samples else (0.0, 0.0)
    series = {name: [(epoch(one["at"]), float(one[name])) for one in samples] for name in ("pending", "running")}
    top = charts.round_up(max((value for points in series.values() for _, value in points), default=0))
    return {
        "pending": charts.area(series["pending"], since, until, top),
        "running": charts.area(series["running"], since, until, top),
        "top": top,
        "now": samples[-1] if samples else None,
        "since": samples[0]["at"] if samples else None,
    }


@region("failures")
async def failures(asked: Asked) -> Context:
    return {"jobs": (await asked.get("/api/jobs", status="failed", limit=FAILURES))["jobs"]}
