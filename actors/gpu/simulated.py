"""Simulated GPUs: names, memory, the load of running jobs, and faults that a file injects.

With them the whole product is tried and tested on any machine. A fault file is described in `simulated_faults`.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gpuyard.actors.gpu.probe import ProbeFailed
from gpuyard.actors.gpu.simulated_faults import Fault, FaultFile
from gpuyard.actors.model.gpu_reading import ReadGpu, Reading, ReadProcess, ReadXid

GIB = 1024**3
MOST = 256
MODEL = "H100"
# What the well-known models have; all others get DEFAULT_GB.
MODEL_GB = {"H200": 141, "H100": 80, "A100": 80, "B200": 180, "L40S": 48, "RTX 4090": 24, "A10": 24, "L4": 24, "T4": 16}
DEFAULT_GB = 80.0
IDLE_C, LOAD_C, IDLE_W, LOAD_W = 31, 36, 62.0, 480.0
# How much of its memory a simulated training takes, and how fast it is loaded.
SHARE, WARM_UP = 0.72, 4.0


@dataclass(frozen=True)
class SimulatedSpec:
    """`count` GPUs of one `model`, each with `memory` bytes."""

    count: int
    model: str
    memory: int


def parse(text: str) -> SimulatedSpec:
    """`N[:MODEL[:GB]]`. Raises ValueError with what is wrong.

    >>> parse("4"), parse("2:RTX 4090"), parse("8:Mine:0.5")
    (SimulatedSpec(count=4, model='H100', memory=85899345920), SimulatedSpec(count=2, model='RTX 4090', \
memory=25769803776), SimulatedSpec(count=8, model='Mine', memory=536870912))
    """
    count, _, rest = text.partition(":")
    model, _, size = rest.partition(":")
    if not re.fullmatch(r"[0-9]{1,3}", count) or not 1 <= int(count) <= MOST:
        raise ValueError(f"{text!r}: give N, N:MODEL or N:MODEL:GB with N from 1 to {MOST}, as in 4 or 8:A100:40")
    model = model.strip() or MODEL
    if len(model) > 60 or not model.isprintable():
        raise ValueError(f"{text!r}: MODEL is a name of at most 60 printable characters")
    if size and not (re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", size) and float(size) > 0):
        raise ValueError(f"{text!r}: GB is a number above 0, as in 80 or 0.5")
    gigabytes = float(size) if size else MODEL_GB.get(model, DEFAULT_GB)
    return SimulatedSpec(int(count), model, int(gigabytes * GIB))


class SimulatedProbe:
    """`spec` as `parse` gives it. `faults` is the fault file (it need not exist); `now` gives seconds."""

    backend = "simulated"
    at_once = True
    fd: int | None = None

    def __init__(
        self, spec: SimulatedSpec, faults: Path | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._spec = spec
        self._faults = FaultFile(faults)
        self._now = now
        self._since: dict[str, float] = {}
        self._leaks: set[str] = set()
        self._reported: dict[str, int] = {}

    def ask(self) -> bool:
        """`take` does the reading."""
        return True

    def take(self) -> Reading | None:
        try:
            faults = self._faults.read()
        except ValueError as error:
            raise ProbeFailed(str(error)) from None
        gpus = []
        xids = []
        for index in range(self._spec.count):
            uuid = uuid_of(index)
            fault = faults.get(str(index)) or faults.get(uuid) or Fault()
            gpus.append(self._gpu(index, uuid, fault))
            if fault.xid is not None and self._reported.get(uuid) != fault.xid:
                xids.append(ReadXid(uuid, fault.xid))
            self._reported[uuid] = fault.xid or 0
        return Reading(gpus=tuple(gpus), xids=tuple(xids))

    def note(self, running: Mapping[str, int]) -> None:
        now = self._now()
        self._since = {uuid: self._since.get(uuid, now) for uuid in running}

    def close(self) -> None:
        """Nothing to let go of."""

    def _gpu(self, index: int, uuid: str, fault: Fault) -> ReadGpu:
        since = self._since.get(uuid)
        load = 0.0 if since is None else _load(index, self._now() - since)
        self._leaks = (self._leaks | {uuid}) if since is not None and fault.leak_gb else self._leaks
        self._leaks = self._leaks if fault.leak_gb else self._leaks - {uuid}
        processes = [
            ReadProcess(pid=p.pid, name=p.name, user=p.user, memory_bytes=int(p.memory_gb * GIB)) for p in fault.foreign
        ]
        used = int(SHARE * min(1.0, load * 1.25) * self._spec.memory)
        used += int(fault.leak_gb * GIB) if uuid in self._leaks else 0
        used += sum(p.memory_bytes or 0 for p in processes)
        return ReadGpu(
            uuid=uuid,
            index=index,
            name=f"Simulated {self._spec.model}",
            memory_total=self._spec.memory,
            memory_used=min(used, self._spec.memory),
            utilization=round(100 * load),
            temperature_c=round(IDLE_C + LOAD_C * load),
            power_w=round(IDLE_W + LOAD_W * load, 1),
            ecc_uncorrected=fault.ecc,
            processes=tuple(processes),
            lost="GPU is lost (simulated)" if fault.lost else None,
        )


def uuid_of(index: int) -> str:
    """The same at each start, as a card's is: holds and exclusions outlive the server.

    >>> uuid_of(3)
    'GPU-51111111-0000-4000-8000-000000000003'
    """
    return f"GPU-51111111-0000-4000-8000-{index:012d}"


def _load(index: int, seconds: float) -> float:
    """0 to 1: a training warms up, then works with small waves."""
    warm = min(1.0, 0.2 + seconds / WARM_UP)
    return warm * (0.94 + 0.05 * math.sin(seconds / 3 + index))
