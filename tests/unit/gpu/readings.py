"""Readings as tests write them: short."""

from __future__ import annotations

from typing import Any

from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.gpu_card import Asides, WatchRules
from gpuyard.actors.model.gpu_reading import ReadGpu, Reading, ReadProcess, ReadXid
from gpuyard.actors.model.gpu_watch import Emptied, Foreigners, GpuWatch

GIB = 1024**3
A, B = "GPU-aaaa", "GPU-bbbb"


def gpu(uuid: str = A, *processes: ReadProcess, index: int = 0, used: float | None = None, **more: Any) -> ReadGpu:
    """An 80 GiB card. `used` (GiB) is what its processes use unless told otherwise."""
    total = sum(process.memory_bytes or 0 for process in processes)
    used_bytes = total if used is None else int(used * GIB)
    return ReadGpu(
        uuid=uuid,
        index=index,
        name="H100",
        **{"memory_total": 80 * GIB, "memory_used": used_bytes} | more,
        processes=processes,
    )


def process(pid: int = 42, memory: float | None = 10, **more: Any) -> ReadProcess:
    """`memory` in GiB."""
    return ReadProcess(pid=pid, memory_bytes=None if memory is None else int(memory * GIB), name="python", **more)


class Watched:
    """A watch under a clock that moves only when told, and all that came out of it."""

    def __init__(self, rules: WatchRules | None = None, *, at_once: bool = False, asides: Asides | None = None) -> None:
        self.watch = GpuWatch(rules or WatchRules(), at_once=at_once, asides=asides)
        self.now = 1000.0
        self.facts: dict[str, GpuFact] = {}
        self.emptied: list[Emptied] = []
        self.foreign: list[Foreigners] = []

    def start(self, fence: int, *uuids: str) -> None:
        self.watch.start(fence, uuids, self.now)

    def release(self, fence: int, *uuids: str) -> tuple[str, ...]:
        return self.watch.release(fence, uuids, self.now)

    def see(self, *gpus: ReadGpu, after: float = 0.1, xids: tuple[ReadXid, ...] = (), **more: Any) -> GpuFact:
        """A reading that begins `after` seconds from now; returns the first GPU's fact."""
        self.now += after
        seen = self.watch.observe(Reading(gpus=gpus, xids=xids, **more), self.now)
        self.facts = {fact.uuid: fact for fact in seen.facts}
        self.emptied += seen.emptied
        self.foreign += seen.foreign
        return seen.facts[0]
