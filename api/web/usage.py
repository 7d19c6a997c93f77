"""Who used how much, how long jobs wait, and how long GPUs stood idle although work waited."""

from __future__ import annotations

from bisect import bisect_left
from datetime import date, timedelta
from typing import Any

from gpuyard.api.web.job_charts import columns
from gpuyard.api.web.regions import Asked, Context, region

BY = ("user", "team", "place")
LENGTHS = (7, 30, 90)


@region("usage")
async def usage(asked: Asked) -> Context:
    by = asked.params.get("by", "user")
    by = by if by in BY else "user"
    length = next((length for length in LENGTHS if asked.params.get("days") == str(length)), 30)
    last = date.fromisoformat((await asked.get("/api/usage", by=""))["last"])
    every = [(last - timedelta(days=back)).isoformat() for back in range(length - 1, -1, -1)]
    between = {"from": every[0], "to": every[-1]}
    report = await asked.get("/api/usage", by=by, **between)
    days = await asked.get("/api/usage", by="", period="day", **between)
    bars, top_day = columns(days["lines"], every)
    return {
        "report": report,
        "bars": bars,
        "top_day": top_day,
        "by": by,
        "choices": BY,
        "length": length,
        "lengths": LENGTHS,
        "most": max((line["gpu_hours"] for line in report["lines"]), default=0.0),
    }


@region("waits")
async def waits(asked: Asked) -> Context:
    found = await asked.get("/api/queue/waits")
    stats = await asked.get("/api/queue/stats")
    edges = [bucket["up_to_seconds"] for bucket in found["buckets"]]
    return {
        "waits": found,
        "most": max(bucket["jobs"] for bucket in found["buckets"]),
        "p50_edge": _edge(edges, found["p50_seconds"]),
        "p95_edge": _edge(edges, found["p95_seconds"]),
        "idle_hours": stats["gpu_idle_seconds"] / 3600,
    }


def _edge(edges: list[Any], seconds: float | None) -> Any:
    """The bucket that holds `seconds`, by its edge; "" for none.

    >>> _edge([1.0, 10.0, None], 4.0), _edge([1.0, 10.0, None], 99.0), _edge([1.0], None)
    (10.0, None, '')
    """
    return "" if seconds is None else edges[bisect_left(edges[:-1], seconds)]
