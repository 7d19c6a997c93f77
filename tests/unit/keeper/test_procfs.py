"""/proc, read on real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuyard.actors import procfs
from tests.support import eventually

GONE = 2**22 + 1  # above every pid_max


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of run 7 whose child cleared its environment."""
    env = {"GPUYARD_FENCE": "7", "GPUYARD_JOB_DIR": str(tmp_path / "jobs" / "abc"), "PATH": os.environ["PATH"]}
    script = "env -i sleep 60 & echo $!; wait"
    with subprocess.Popen(["/bin/sh", "-c", script], env=env, stdout=subprocess.PIPE, text=True) as process:
        yield process
        for pid in (*procfs.descendants(process.pid), process.pid):
            os.kill(pid, 9)


def child_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_a_process_is_its_pid_and_its_start_time() -> None:
    own = procfs.stat(os.getpid())
    assert own is not None and own.ppid == os.getppid() and own.pgid == os.getpgrp() and own.state == "R"
    assert procfs.start_time(os.getpid()) == own.start > (procfs.start_time(1) or 0) >= 0
    assert procfs.stat(GONE) is None and procfs.start_time(GONE) is None


def test_a_name_with_spaces_and_brackets_confuses_nobody(tmp_path: Path) -> None:
    odd = tmp_path / "a) R 1 (b"
    odd.symlink_to(sys.executable)
    with subprocess.Popen([str(odd), "-c", "input()"], stdin=subprocess.PIPE) as process:
        eventually(lambda: b"a) R 1" in Path(f"/proc/{process.pid}/stat").read_bytes())
        found = procfs.stat(process.pid)
        assert found is not None and found.ppid == os.getpid()
        process.kill()


def test_a_zombie_still_has_a_start_time() -> None:
    process = subprocess.Popen(["/bin/true"])
    eventually(lambda: (found := procfs.stat(process.pid)) is not None and found.state == "Z")
    assert procfs.start_time(process.pid) is not None
    process.wait()
    assert procfs.start_time(process.pid) is None


def test_descendants_come_after_their_parents(tree: subprocess.Popen[str]) -> None:
    child = child_of(tree)
    assert procfs.children(tree.pid) == [child]
    below = list(procfs.descendants(os.getpid()))
    assert below.index(tree.pid) < below.index(child)


def test_the_environment_that_a_process_was_started_with(tree: subprocess.Popen[str], tmp_path: Path) -> None:
    child = child_of(tree)
    assert procfs.environ_value(tree.pid, "GPUYARD_FENCE") == "7"
    assert procfs.environ_value(tree.pid, "FENCE") is None
    eventually(lambda: procfs.environ_value(child, "PATH") is None)
    assert procfs.environ_value(GONE, "PATH") is None


def test_a_run_is_known_by_fence_and_data_folder(tree: subprocess.Popen[str], tmp_path: Path) -> None:
    child = child_of(tree)
    jobs = str(tmp_path / "jobs")
    eventually(lambda: procfs.environ_value(child, "GPUYARD_FENCE") is None)
    assert procfs.processes_with_fence(7, jobs) == [tree.pid]
    assert procfs.processes_with_fence(7, str(tmp_path / "job")) == []
    assert procfs.processes_with_fence(8, jobs) == []
    # By its ancestors, where its own environment says nothing.
    assert procfs.fence_of(child) == procfs.fence_of(child, jobs) == procfs.fence_of(tree.pid) == 7
    assert procfs.fence_of(child, "/elsewhere/jobs") is None
    assert procfs.fence_of(GONE) is None and procfs.fence_of(1) is None


def test_who_has_a_file_open(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    assert procfs.holders(str(path)) == []
    with path.open():
        assert procfs.holders(str(path)) == [os.getpid()]


def test_the_boot_has_an_identity() -> None:
    assert procfs.boot_id() == procfs.boot_id() and len(procfs.boot_id()) == 36
