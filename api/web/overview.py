"""What the overview shows: the numbers, my jobs, a tile a GPU, and what failed lately."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from gpuyard.actors.model.clock import epoch
from gpuyard.api.samples import KEPT_HOURS
from gpuyard.api.web import beside, charts
from gpuyard.api.web.inside import Refused
from gpuyard.api.web.regions import Asked, Context, region

FAILURES: Final = 5
SHOWN: Final = 12
# The forecast of a start is dear: only the first of mine that wait have one.
FORECASTS: Final = 4


async def _hosts(asked: Asked) -> tuple[dict[str, Any], list[beside.Host]]:
    status = await asked.get("/api/system/status", include_allocation=True)
    return status, beside.hosts(status["gpu_allocation"])


def _counts(hosts: list[beside.Host]) -> tuple[int, int]:
    return sum(host.free for host in hosts), sum(len(host.devices) for host in hosts)


@region("summary", watch="queue gpus workers")
@region("numbers", watch="queue gpus workers")
async def numbers(asked: Asked) -> Context:
    """On the overview (`summary`) and in the queue panel."""
    free, total = _counts((await _hosts(asked))[1])
    return {"stats": await asked.get("/api/queue/stats"), "free": free, "gpus": total}


@region("my_jobs", watch="queue time")
async def my_jobs(asked: Asked) -> Context:
    mine = await asked.get("/api/queue/me")
    entries = [*mine["running_jobs"], *mine["pending_jobs"]]
    waiting = [entry["job_id"] for entry in entries[:SHOWN] if entry["status"] == "pending"][:FORECASTS]
    waits = await asyncio.gather(*(_wait(asked, job_id) for job_id in waiting))
    return {
        "mine": mine,
        "entries": entries,
        "shown": SHOWN,
        "waits": dict(zip(waiting, waits, strict=True)),
        "progress": await beside.progress(asked, entries[:SHOWN]),
    }


async def _wait(asked: Asked, job_id: str) -> Any:
    try:
        return await asked.lately(f"/api/queue/position/{job_id}")
    except Refused:
        return None  # it has ended between the two questions


@region("gpus", watch="queue gpus workers time")
async def gpus(asked: Asked) -> Context:
    status, hosts = await _hosts(asked)
    free, total = _counts(hosts)
    return {"status": status, "hosts": hosts, "free": free, "total": total, "titles": await beside.titles(asked)}


@region("timeline", watch="queue time")
async def timeline(asked: Asked) -> Context:
    """Six hours of every GPU: which job had it when."""
    found = await asked.get("/api/gpus/timeline", hours=KEPT_HOURS)
    names: dict[tuple[str, str], str] = {}
    for host in (await _hosts(asked))[1]:
        for gpu in host.devices:
            names[host.id, gpu["uuid"]] = f"{host.name} {gpu['index']}" if host.worker_id else f"GPU {gpu['index']}"
    return {"rows": charts.rows(found, names), "marks": charts.hours(found["since"], found["until"])}


@region("depth", watch="queue time")
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
        "marks": charts.marks(since, until),
    }


@region("failures")
async def failures(asked: Asked) -> Context:
    return {"jobs": (await asked.get("/api/jobs", status="failed", limit=FAILURES))["jobs"]}
