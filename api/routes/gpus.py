"""GPUs set aside by hand: out of the queue, in again, or taken as they are in spite of a fault."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Path
from starlette.responses import Response

from gpuyard.actors.model import names
from gpuyard.actors.model.attempt import LOCAL_HOST
from gpuyard.actors.model.commands import GetGpus, SetGpuAside
from gpuyard.actors.model.errors import NotFound
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.people import Viewer
from gpuyard.actors.model.views import GpuPage, GpuView
from gpuyard.api.answers import GpuAside
from gpuyard.api.core import Core
from gpuyard.api.deps import CoreDep, ViewerDep
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse

router = APIRouter(prefix="/api/gpus", tags=["gpus"])

# How often, and how many seconds apart, it is looked whether a worker has said what it did.
LOOKS, PAUSE = 60, 0.05

Gpu = Annotated[
    str,
    Path(
        max_length=100,
        description="A device index (behind its worker's name for one of a worker: `gpu-box:0`), a UUID, or a UUID's"
        " unique beginning.",
    ),
]


@router.post("/{gpu}/exclude", operation_id="exclude_gpu", responses=answer("exclude_gpu", GpuAside))
async def exclude(core: CoreDep, viewer: ViewerDep, gpu: Gpu) -> Response:
    """Hand this GPU out no more; a run on it goes on. It stays so over restarts, until it is included."""
    return await _set_aside(core, viewer, gpu, "exclude")


@router.post("/{gpu}/include", operation_id="include_gpu", responses=answer("include_gpu", GpuAside))
async def include(core: CoreDep, viewer: ViewerDep, gpu: Gpu) -> Response:
    """Hand this GPU out again, although it was excluded by hand or by the settings."""
    return await _set_aside(core, viewer, gpu, "include")


@router.post("/{gpu}/clear", operation_id="clear_gpu", responses=answer("clear_gpu", GpuAside))
async def clear(core: CoreDep, viewer: ViewerDep, gpu: Gpu) -> Response:
    """Take a quarantined GPU as it is: its faults are known, what lies in its memory is accepted.

    A GPU that the driver has lost stays missing.
    """
    return await _set_aside(core, viewer, gpu, "clear")


async def _set_aside(core: Core, viewer: Viewer, gpu: str, action: Literal["exclude", "include", "clear"]) -> Response:
    found = _named(await _gpus(core), gpu)
    message = SetGpuAside(uuid=found.fact.uuid, action=action, by=viewer, host=found.worker_id or LOCAL_HOST)
    await core.ask(names.GPUS if found.worker_id is None else names.WORKERS, message)
    now = await _after(core, found, action)
    return JsonResponse(GpuAside(uuid=now.fact.uuid, index=now.fact.index, state=now.state, worker=now.worker))


async def _after(core: Core, before: GpuView, action: str) -> GpuView:
    """The same GPU now. What a worker has done is known here with its next word, which it says at once."""
    now = before
    for _ in range(1 if before.worker_id is None else LOOKS):
        now = next((gpu for gpu in await _gpus(core) if _same(gpu, before)), before)
        if _is_done(now.fact, action) or now.fact.fault != before.fact.fault:
            break
        await asyncio.sleep(PAUSE)
    return now


def _is_done(fact: GpuFact, action: str) -> bool:
    return fact.fault is None if action == "clear" else fact.excluded is (action == "exclude")


def _same(one: GpuView, other: GpuView) -> bool:
    return (one.worker_id, one.fact.uuid) == (other.worker_id, other.fact.uuid)


async def _gpus(core: Core) -> list[GpuView]:
    """The server's own, then those of the workers."""
    page: GpuPage = await core.ask(names.SCHEDULER, GetGpus())
    return [*page.gpus, *page.remote]


def _named(gpus: Sequence[GpuView], name: str) -> GpuView:
    """The one GPU that `name` means: an index (one of a worker behind its name: `gpu-box:0`), a UUID or the beginning
    of one. Raises NotFound."""
    worker, _, index = name.rpartition(":")
    if index.isascii() and index.isdigit():
        found = [gpu for gpu in gpus if str(gpu.fact.index) == index and worker in _names(gpu)]
    else:
        found = [gpu for gpu in gpus if gpu.fact.uuid == name]
        found = found or [gpu for gpu in gpus if gpu.fact.uuid.lower().startswith(name.lower())]
    if len(found) == 1:
        return found[0]
    why = f"{len(found)} GPUs are named so: give the whole UUID" if found else "there is no such GPU here"
    raise NotFound(f"{why}; `gpuyard gpus -o worker,index,uuid` lists them")


def _names(gpu: GpuView) -> tuple[str | None, ...]:
    """What its host is called before an index."""
    return ("",) if gpu.worker_id is None else (gpu.worker, gpu.worker_id)
