"""What a host's GPU allocator tells."""

from __future__ import annotations

from gpuyard.actors.model.attempt import LOCAL_HOST
from gpuyard.actors.model.gpu import GpuFact, GpuProcess
from gpuyard.actors.model.message import Message


class GpuFacts(Message, frozen=True, kw_only=True):
    """What is known of all local GPUs. From: LocalGPUAllocator. To: Scheduler.

    Told on change, and at least every second while the probe answers. `observed_at` is the allocator's
    `clock.monotonic()` at the reading. `backend` is cuda, simulated or none. `at_once`: GPUs are known to be
    empty the moment their run ends (simulated), so that a release needs no look. Newest `revision` wins.
    """

    revision: int
    observed_at: float
    backend: str
    gpus: tuple[GpuFact, ...] = ()
    at_once: bool = False
    error: str | None = None


class GpuEmptied(Message, frozen=True, kw_only=True):
    """No process of the run is left on these GPUs and their memory is back. From: LocalGPUAllocator.

    To: Scheduler. Repeat: harmless. Also told when they are quarantined instead, or when a foreigner has taken them
    over (the facts, told just before, say so). The GPUs of a run may come in parts. `host` is where they are.
    """

    fence: int
    uuids: tuple[str, ...]
    host: str = LOCAL_HOST


class GpusLooked(Message, frozen=True, kw_only=True):
    """The GPUs were read after LookAtGpus, and the facts told; or they cannot be read. From: LocalGPUAllocator.

    To: Scheduler. Repeat: harmless.
    """

    fence: int


class ForeignSeen(Message, frozen=True, kw_only=True):
    """5 s after the start a foreign process uses a GPU of the run. From: LocalGPUAllocator. To: Scheduler."""

    fence: int
    uuid: str
    processes: tuple[GpuProcess, ...] = ()
