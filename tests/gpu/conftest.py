"""Tests on a real NVIDIA GPU; all skip without one. They need nothing but the driver (no torch, no toolkit).

Run them alone with `python -m pytest tests/gpu`, on a machine whose GPUs nobody else uses meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.gpu.nvml_probe import NvmlProbe
from gpuyard.actors.gpu.settings import GpuSettings
from gpuyard.actors.model.gpu import GpuFact
from tests.support_gpu import Allocator

HOG = Path(__file__).with_name("hog.py")


class Hog:
    """A program on a GPU; `uuid` and `visible` as CUDA tells it."""

    def __init__(self, gib: float, env: dict[str, str]) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
        self._program = subprocess.Popen(
            [sys.executable, str(HOG), str(gib)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} | env,
        )
        self.pid = self._program.pid
        assert self._program.stdout is not None
        self.uuid, visible = self._program.stdout.readline().split()
        self.visible = int(visible)
        assert self._program.stdout.readline().strip() == "ready"

    def kill(self) -> None:
        with self._program:
            self._program.kill()


@pytest.fixture(scope="session", autouse=True)
def a_real_gpu() -> None:
    """Skip all tests here without an NVIDIA driver and a GPU."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        pytest.skip("no NVIDIA driver on this machine")
    count = ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        pytest.skip("no NVIDIA GPU on this machine")


@pytest.fixture
def hog() -> Iterator[Callable[..., Hog]]:
    """Start a Hog: `hog(gib, NAME=value)`; all are killed with the test."""
    started: list[Hog] = []

    def start(gib: float, **env: str) -> Hog:
        started.append(Hog(gib, env))
        return started[-1]

    yield start
    for program in started:
        program.kill()


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Callable[..., Allocator]]:
    """Start a LocalGPUAllocator on the real GPUs; keywords are GpuSettings."""
    with contextlib.ExitStack() as stack:

        def start(**settings: Any) -> Allocator:
            chosen = GpuSettings(**{"data_dir": tmp_path, "poll": 0.2, "timeout": 30.0} | settings)
            allocator = stack.enter_context(Allocator(NvmlProbe(chosen), chosen))
            allocator.until(lambda facts: facts.error is None)
            return allocator

        yield start


@pytest.fixture
def gpu(watching: Callable[..., Allocator]) -> GpuFact:
    """A GPU that nobody uses; skips when all are used."""
    free = [fact for fact in watching().last().gpus if fact.usable and not fact.mig]
    if not free:
        pytest.skip("every GPU is in use or in MIG mode")
    return free[0]
