"""Facts about GPUs, as LocalGPUAllocator tells them; what they mean together with the holds is in `ledger.py`."""

from __future__ import annotations

from enum import StrEnum

import msgspec

GIB = 1 << 30


class GpuState(StrEnum):
    """free: may be handed out · held: by a live attempt · releasing: its attempt ended, not yet empty ·
    busy_external: a process from outside the queue uses it · quarantined: memory did not come back, or a fault ·
    missing: the driver does not list it now · excluded: the administrator keeps it out."""

    FREE = "free"
    HELD = "held"
    RELEASING = "releasing"
    BUSY_EXTERNAL = "busy_external"
    QUARANTINED = "quarantined"
    MISSING = "missing"
    EXCLUDED = "excluded"


class GpuProcess(msgspec.Struct, frozen=True):
    """A process on a GPU. `memory_bytes` is None where the driver does not tell; pid 0 stands for "unknown pid"."""

    pid: int
    name: str = ""
    memory_bytes: int | None = None
    user: str = ""


class GpuFact(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one GPU at `GpuFacts.observed_at`.

    `foreign` lists compute processes from outside the queue, `tolerated` those that the settings let pass
    (GPUYARD_GPU_EXTERNAL=warn). `fault` is set when the GPU must not be handed out (memory left behind, Xid, ECC,
    lost), in words; `clearable` when an administrator may accept it (`gpuyard gpus clear`). Memory in bytes,
    `utilization` in percent. A MIG device's index is 100 · (its GPU's + 1) + n; that of a missing GPU whose place
    another has taken is -1.
    """

    uuid: str
    index: int
    name: str = ""
    memory_total: int = 0
    memory_used: int = 0
    utilization: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    foreign: tuple[GpuProcess, ...] = ()
    fault: str | None = None
    missing: bool = False
    excluded: bool = False
    mig: bool = False
    tolerated: tuple[GpuProcess, ...] = ()
    clearable: bool = False

    @property
    def usable(self) -> bool:
        """Nothing but a hold of our own stands in the way."""
        return not (self.foreign or self.fault or self.missing or self.excluded)
