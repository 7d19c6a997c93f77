"""Scripted cases: a LocalGPUAllocator on the real pynvml, on a fake library whose script the test writes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.gpu.nvml_probe import NvmlProbe
from gpuyard.actors.gpu.settings import GpuSettings
from gpuyard.actors.model.clock import Clock
from tests import leaks
from tests.fake_nvml import Script
from tests.fake_nvml.fixtures import fake_nvml_library, script
from tests.support_gpu import Allocator

__all__ = ["Process", "Watching", "fake_nvml_library", "script", "start_process", "watching"]

Watching = Callable[..., Allocator]
StartProcess = Callable[..., "Process"]


class Process:
    """A real process that waits; `fence` makes it one of our run."""

    def __init__(self, folder: Path, fence: int | None = None) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
        if fence is not None:
            env |= {"GPUYARD_FENCE": str(fence), "GPUYARD_JOB_DIR": str(folder / "jobs" / "j1")}
        code = "import sys; print(flush=True); sys.stdin.read()"
        self._program = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
        )
        assert self._program.stdout is not None
        self._program.stdout.readline()
        self.pid = self._program.pid

    def end(self) -> None:
        with self._program:
            self._program.kill()


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[StartProcess]:
    """Start a Process; all are ended with the test."""
    started: list[Process] = []

    def start(fence: int | None = None, folder: Path = tmp_path) -> Process:
        started.append(Process(folder, fence))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture
def watching(script: Script, tmp_path: Path) -> Iterator[Watching]:
    """Start an allocator on what the script shows; keywords are GpuSettings. All are stopped with the test."""
    with contextlib.ExitStack() as stack:

        def start(clock: Clock | None = None, **settings: Any) -> Allocator:
            chosen = GpuSettings(**{"data_dir": tmp_path, "poll": 0.02} | settings)
            return stack.enter_context(Allocator(NvmlProbe(chosen, script.env()), chosen, clock))

        yield start
