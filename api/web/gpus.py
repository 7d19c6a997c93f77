"""Every GPU in a row: its state and why, who has it, how it was used lately, and setting it aside."""

from __future__ import annotations

from typing import Any

from gpuyard.actors.model.clock import epoch
from gpuyard.api.web import charts
from gpuyard.api.web.regions import Asked, Context, region

SHOWN_HOURS = 1.0


@region("gpu_table", watch="queue gpus workers")
async def gpu_table(asked: Asked) -> Context:
    status = await asked.get("/api/system/status", include_allocation=True)
    history = await asked.get("/api/gpus/history", hours=SHOWN_HOURS)
    series = {one["uuid"]: one["samples"] for one in history["gpus"]}
    devices = status["gpu_allocation"]["devices"]
    return {
        "inventory": status["gpu_inventory"],
        "devices": devices,
        "loads": {gpu["uuid"]: _load(series.get(gpu["uuid"], [])) for gpu in devices},
        "remote": status["gpu_allocation"].get("remote", []),
    }


def _load(samples: list[dict[str, Any]]) -> str:
    """The edge of the load over the last hour."""
    known = [(epoch(one["at"]), float(one["utilization"])) for one in samples if one["utilization"] is not None]
    return charts.area(known, known[0][0], known[-1][0], 100)[1] if len(known) > 1 else ""
