"""What a probe read off the GPUs, before anybody judges it (`gpu_watch` does).

Plain values that travel as JSON between the NVML helper and its probe. A field that the driver does not support is
None, never a guess.
"""

from __future__ import annotations

import msgspec


class ReadProcess(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process that the driver lists on a GPU.

    `memory_bytes` is None where the driver does not tell. `graphics` marks a display client. `fence` is that of the
    run it belongs to, None for all others. `seen` is False when no such pid exists here: inside a container the
    driver may list the host's pids, which then say nothing.
    """

    pid: int
    memory_bytes: int | None = None
    graphics: bool = False
    name: str = ""
    user: str = ""
    fence: int | None = None
    seen: bool = True


class ReadGpu(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One GPU, or one MIG device of one.

    `index` is the one that CUDA_VISIBLE_DEVICES takes under CUDA_DEVICE_ORDER=PCI_BUS_ID. Memory in bytes,
    `utilization` in percent. `ecc_uncorrected` counts since the driver was loaded. `lost` says in words that the
    driver cannot reach the GPU, `error` that it must not be used as it is now.
    """

    uuid: str
    index: int
    name: str = ""
    memory_total: int = 0
    memory_used: int | None = None
    utilization: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    ecc_uncorrected: int | None = None
    mig: bool = False
    processes: tuple[ReadProcess, ...] = ()
    lost: str | None = None
    error: str | None = None


class ReadXid(msgspec.Struct, frozen=True):
    """The driver reported Xid `number` for this GPU since the last reading."""

    uuid: str
    number: int


class Reading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All GPUs at one moment.

    `replaced` are GPUs in MIG mode, listed as their MIG devices instead. `unreachable` (index → why) are GPUs that
    the driver counts but cannot even name.
    """

    gpus: tuple[ReadGpu, ...] = ()
    replaced: tuple[str, ...] = ()
    unreachable: dict[int, str] = {}
    xids: tuple[ReadXid, ...] = ()
