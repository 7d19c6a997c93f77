"""The probes under one set of handles: what happens to GPUs can be made to happen to each of them."""

from __future__ import annotations

import json
import select
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from pathlib import Path
from typing import Any

from gpuyard.actors.gpu.nvml_probe import NvmlProbe
from gpuyard.actors.gpu.probe import GpuProbe
from gpuyard.actors.gpu.settings import GpuSettings
from gpuyard.actors.gpu.simulated import SimulatedProbe, parse
from gpuyard.actors.model.gpu_reading import Reading
from tests.fake_nvml import UNKNOWN, Script

COUNT = 3


def read(probe: GpuProbe, timeout: float = 30.0) -> Reading:
    """One reading, waited for. Raises ProbeFailed."""
    deadline = time.monotonic() + timeout
    probe.ask()
    while (reading := probe.take()) is None:
        assert time.monotonic() < deadline, "no reading came"
        if probe.fd is not None:
            select.select([probe.fd], [], [], 0.05)
        probe.ask()
    return reading


class Bench(ABC):
    """Three GPUs of 80 GiB behind a probe."""

    probe: GpuProbe

    def read(self) -> Reading:
        return read(self.probe)

    @abstractmethod
    def somebody_comes(self, index: int, pid: int, memory_gb: float) -> None:
        """A process from outside the queue uses the GPU."""

    @abstractmethod
    def everybody_leaves(self, index: int) -> None: ...

    @abstractmethod
    def lose(self, index: int) -> None: ...

    @abstractmethod
    def find(self, index: int) -> None: ...

    @abstractmethod
    def xid(self, index: int, number: int) -> None: ...

    @abstractmethod
    def ecc(self, index: int, count: int) -> None: ...

    @abstractmethod
    def break_down(self) -> None:
        """No GPU can be read any more."""

    @abstractmethod
    def repair(self) -> None: ...


class NvmlBench(Bench):
    """The real pynvml, in its helper process, on the fake library."""

    def __init__(self, script: Script) -> None:
        self.script = script
        for _ in range(COUNT):
            script.add_gpu()
        self.probe = NvmlProbe(GpuSettings(), script.env())

    def somebody_comes(self, index: int, pid: int, memory_gb: float) -> None:
        self.script.add_process(self.script.gpus[index], pid, memory_gb)

    def everybody_leaves(self, index: int) -> None:
        for pid in list(self.script.gpus[index].processes):
            self.script.remove_process(self.script.gpus[index], pid)

    def lose(self, index: int) -> None:
        self.script.lose(self.script.gpus[index])

    def find(self, index: int) -> None:
        self.script.find(self.script.gpus[index])

    def xid(self, index: int, number: int) -> None:
        self.script.xid(self.script.gpus[index], number)

    def ecc(self, index: int, count: int) -> None:
        self.script.change(self.script.gpus[index], ecc=count)

    def break_down(self) -> None:
        self.script.fail("nvmlDeviceGetCount_v2", UNKNOWN)

    def repair(self) -> None:
        self.script.heal()


class SimulatedBench(Bench):
    def __init__(self, folder: Path) -> None:
        self.file = folder / "gpu_faults.json"
        self.faults: dict[str, dict[str, Any]] = defaultdict(dict)
        self.probe = SimulatedProbe(parse(f"{COUNT}:H100:80"), self.file)

    def _set(self, index: int, **fields: Any) -> None:
        self.faults[str(index)] |= fields
        self.repair()

    def somebody_comes(self, index: int, pid: int, memory_gb: float) -> None:
        self._set(index, foreign=[{"pid": pid, "memory_gb": memory_gb}])

    def everybody_leaves(self, index: int) -> None:
        self._set(index, foreign=[])

    def lose(self, index: int) -> None:
        self._set(index, lost=True)

    def find(self, index: int) -> None:
        self._set(index, lost=False)

    def xid(self, index: int, number: int) -> None:
        self._set(index, xid=number)

    def ecc(self, index: int, count: int) -> None:
        self._set(index, ecc=count)

    def break_down(self) -> None:
        self.file.write_text("{")

    def repair(self) -> None:
        self.file.write_text(json.dumps(self.faults))
