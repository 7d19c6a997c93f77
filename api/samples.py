"""Figures over time: the queue and the GPUs, looked at every few seconds and kept for some hours.

They live in the Frontend's memory: charts may begin anew with it, the queue's own story never does.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

import msgspec

from gpuyard.actors.model import names
from gpuyard.actors.model.attempt import LOCAL_HOST
from gpuyard.actors.model.commands import GetGpus, GetStats
from gpuyard.actors.model.errors import GpuyardError
from gpuyard.actors.model.views import GpuPage, Stats
from gpuyard.api.core import Core

EVERY_SECONDS: Final = 10.0
KEPT_HOURS: Final = 6
KEPT: Final = int(KEPT_HOURS * 3600 / EVERY_SECONDS)


class QueueSample(msgspec.Struct, frozen=True, gc=False):
    """The queue at one moment. `at` is epoch seconds."""

    at: float
    pending: int
    running: int
    gpus_used: int
    gpus_total: int


class GpuSample(msgspec.Struct, frozen=True, gc=False):
    """One GPU at one moment. `utilization` in percent, None where the driver does not tell; memory in bytes."""

    at: float
    utilization: int | None
    memory_used: int


class Samples:
    """The last hours, oldest first. `gpus` by host (`local` or a worker's id) and UUID."""

    def __init__(self) -> None:
        self.queue: deque[QueueSample] = deque(maxlen=KEPT)
        self.gpus: dict[tuple[str, str], deque[GpuSample]] = {}

    def add(self, at: float, stats: Stats, page: GpuPage) -> None:
        shown = [*page.gpus, *page.remote]
        used = sum(gpu.job_id is not None for gpu in shown)
        self.queue.append(QueueSample(at, stats.total_pending, stats.total_running, used, len(shown)))
        for gpu in shown:
            series = self.gpus.setdefault((gpu.worker_id or LOCAL_HOST, gpu.fact.uuid), deque(maxlen=KEPT))
            series.append(GpuSample(at, gpu.fact.utilization, gpu.fact.memory_used))
        oldest = self.queue[0].at
        for gone in [name for name, series in self.gpus.items() if series[-1].at < oldest]:
            del self.gpus[gone]

    async def collect(self, core: Core) -> None:
        """For ever. A moment at which the core does not answer is left out."""
        while True:
            try:
                stats: Stats = await core.ask(names.SCHEDULER, GetStats())
                page: GpuPage = await core.ask(names.SCHEDULER, GetGpus())
            except GpuyardError:
                pass
            else:
                self.add(time.time(), stats, page)
            await asyncio.sleep(EVERY_SECONDS)
