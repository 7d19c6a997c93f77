"""`gpuyard demo`: it runs, tells the truth, and leaves nothing behind, whatever happens to it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import eventually

pytestmark = pytest.mark.e2e


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo whose temporary folder is below `tmp_path`."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
    # What the user has set for a server of their own must not reach the demo's.
    environ |= {"TMPDIR": str(tmp_path), "GPUYARD_DATA_DIR": str(tmp_path / "mine"), "GPUYARD_PORT": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "gpuyard", "demo"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )
    yield process
    process.kill()
    process.communicate()


def left(folder: Path) -> list[str]:
    """Files below `folder`, and processes that name it in their command line or environment."""
    found = [str(path) for path in folder.iterdir()]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if os.fsencode(f"{folder}/gpuyard-demo-") in text:
                found.append(f"pid {entry.name}: {text[:200]!r}")
    return found


def test_it_tells_the_story_and_leaves_nothing(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    out, told = demo.communicate(timeout=110)
    assert demo.returncode == 0, (out, told)
    assert "GpusBusy: It needs 4 GPUs" in out
    assert "ProcessingHeld" in out
    rows = {line.split()[0]: line for line in out.partition("TRAINING")[2].splitlines()[1:8]}
    for name in ("anna", "ben", "dora", "emil", "big-one"):
        loss = re.search(r"(\d+\.\d+) → (\d+\.\d+)", rows[name])
        assert loss, rows
        assert float(loss[2]) < float(loss[1])
    assert "cancelled" in rows["cora"]
    assert "failed" in rows["unlucky"] and "FloatingPointError" in rows["unlucky"]
    assert left(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_interrupted_it_leaves_nothing_either(
    demo: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    assert demo.stdout is not None
    for line in demo.stdout:
        if "[big-one pending]" in line:
            break
    assert left(tmp_path), "it is under way"
    demo.send_signal(number)
    demo.communicate(timeout=60)
    assert demo.returncode == 130
    eventually(lambda: left(tmp_path) == [], timeout=30)
