"""Which probe this machine gets."""

from __future__ import annotations

import ctypes

from gpuyard.actors.gpu.none import NoProbe
from gpuyard.actors.gpu.nvml_probe import NvmlProbe
from gpuyard.actors.gpu.probe import GpuProbe
from gpuyard.actors.gpu.settings import GpuSettings
from gpuyard.actors.gpu.simulated import SimulatedProbe, parse
from gpuyard.actors.gpu.simulated_faults import FILE

LIBRARY = "libnvidia-ml.so.1"


def choose(simulate: str | None, settings: GpuSettings) -> GpuProbe:
    """Simulated GPUs when asked for (`N[:MODEL[:GB]]`), else NVML where its library loads, else none.

    Raises ValueError for a `simulate` that cannot be read.
    """
    if simulate:
        faults = settings.data_dir / FILE if settings.data_dir is not None else None
        return SimulatedProbe(parse(simulate), faults)
    return NvmlProbe(settings) if _loads(LIBRARY) else NoProbe()


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
