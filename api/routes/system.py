"""The machine: load, memory, GPUs and who holds them."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import msgspec
import psutil
from fastapi import APIRouter
from starlette.responses import Response

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetGpus
from gpuyard.actors.model.gpu import GpuState
from gpuyard.actors.model.views import GpuPage, GpuView
from gpuyard.api.answers import Allocation, Device, Inventory, SystemStatus
from gpuyard.api.deps import CoreDep, SettingsDep
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse

router = APIRouter(prefix="/api/system", tags=["system"])

GIB = 1 << 30
HELD = frozenset({GpuState.HELD, GpuState.RELEASING})


@router.get("/status", operation_id="system_status", responses=answer("system_status", SystemStatus))
async def system_status(core: CoreDep, settings: SettingsDep, include_allocation: bool = False) -> Response:
    """Load, memory and GPUs; with include_allocation also which job holds which GPU."""
    page: GpuPage = await core.ask(names.SCHEDULER, GetGpus())
    devices = [device(view) for view in page.gpus]
    now = time.time()
    return JsonResponse(
        SystemStatus(
            timestamp=round(now, 3),
            load_avg_5min=round(psutil.getloadavg()[1], 2),
            memory_percent=psutil.virtual_memory().percent,
            gpus=devices,
            gpu_inventory=inventory(page),
            uptime_seconds=round(max(0.0, now - settings.started_at), 3),
            gpu_allocation=allocation(page, devices) if include_allocation else msgspec.UNSET,
        )
    )


def gigabytes(size: int) -> float:
    """Bytes as GiB: a whole number where it is one within a percent, as people name their cards."""
    exact = size / GIB
    return round(exact) if exact >= 1 and abs(exact - round(exact)) < 0.01 * exact else round(exact, 2)


def device(view: GpuView) -> Device:
    fact = view.fact
    return Device(
        index=fact.index,
        name=fact.name,
        memory_gb=gigabytes(fact.memory_total),
        allocated=view.state in HELD,
        job_id=view.job_id,
        uuid=fact.uuid,
        state=view.state,
        reason=view.reason,
        memory_used_gb=round(fact.memory_used / GIB, 2),
        utilization=fact.utilization,
        temperature_c=fact.temperature_c,
        power_w=fact.power_w,
        worker_id=view.worker_id,
        worker=view.worker,
    )


def inventory(page: GpuPage) -> Inventory:
    facts = [view.fact for view in page.gpus]
    capabilities: dict[str, Any] = {
        "allocation": page.backend != "none",
        "models": dict(Counter(fact.name for fact in facts)),
        "memory_gb_total": round(sum(gigabytes(fact.memory_total) for fact in facts), 2),
        "mig": any(fact.mig for fact in facts),
    }
    return Inventory(backend=page.backend, count=len(facts), capabilities=capabilities, error=page.error)


def allocation(page: GpuPage, devices: list[Device]) -> Allocation:
    return Allocation(
        allocated_gpus=[one.index for one in devices if one.allocated],
        available_gpus=[one.index for one in devices if one.state == GpuState.FREE],
        running_local_jobs=page.running_local_jobs,
        devices=devices,
        worker_devices=[device(view) for view in page.remote],
    )
