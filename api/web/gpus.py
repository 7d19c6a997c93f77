"""Every GPU in a row, by host: its state and why, who has it, how it was used lately, and setting it aside."""

from __future__ import annotations

from typing import Any

from gpuyard.actors.model.clock import epoch
from gpuyard.api.web import beside, charts
from gpuyard.api.web.regions import Asked, Context, region

SHOWN_HOURS = 1.0


@region("gpu_table", watch="queue gpus workers time")
async def gpu_table(asked: Asked) -> Context:
    status = await asked.get("/api/system/status", include_allocation=True)
    history = await asked.get("/api/gpus/history", hours=SHOWN_HOURS)
    series = {(one["host"], one["uuid"]): one["samples"] for one in history["gpus"]}
    hosts = beside.hosts(status["gpu_allocation"])
    now = status["timestamp"]
    return {
        "inventory": status["gpu_inventory"],
        "hosts": hosts,
        "titles": await beside.titles(asked),
        "loads": {
            (host.id, gpu["uuid"]): _load(series.get((host.id, gpu["uuid"]), []), now)
            for host in hosts
            for gpu in host.devices
        },
    }


def _load(samples: list[dict[str, Any]], now: float) -> tuple[str, str]:
    """The load of the last hour, up to now on the right: its area, and its upper edge."""
    told = [(epoch(one["at"]), float(one["utilization"])) for one in samples if one["utilization"] is not None]
    since = now - SHOWN_HOURS * 3600
    return charts.area([point for point in told if point[0] >= since], since, now, 100)
