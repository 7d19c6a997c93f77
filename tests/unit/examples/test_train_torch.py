"""The PyTorch example, where PyTorch is installed: it learns, stops with a checkpoint and goes on from there."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import eventually

SCRIPT = Path(__file__).parents[3] / "tools" / "examples" / "train_torch.py"

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


def start(folder: Path, steps: int) -> subprocess.Popen[bytes]:
    with (folder / "log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", str(SCRIPT), "--dir", str(folder), "--steps", str(steps)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "GPUYARD_JOB_ID": "aaaaaaaaaaaa"},
        )


def test_it_learns_saves_on_sigterm_and_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = start(tmp_path, 100_000)
    eventually(lambda: re.search(r"^step [3-9]\d*/", log.read_text(), re.MULTILINE), timeout=100)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 85, log.read_text()
    stopped = int(re.findall(r"stopped at step (\d+)", log.read_text())[-1])
    process = start(tmp_path, stopped + 10)
    assert process.wait(100) == 0, log.read_text()
    assert f"going on from step {stopped}" in log.read_text()
    first, last = map(float, re.findall(r"^done: loss (\S+) -> (\S+)", log.read_text(), re.MULTILINE)[-1])
    assert last < first
