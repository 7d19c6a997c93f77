"""Whose process is that: with real processes."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpuyard.actors.gpu.ownership import Owners

WAIT = "import sys; print(flush=True); sys.stdin.read()"


@contextmanager
def running(code: str = WAIT, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A Python process with these variables, once it has printed a line (which is given too)."""
    program = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ) | env,
    )
    with program:
        assert program.stdout is not None
        try:
            yield program, program.stdout.readline().strip()
        finally:
            program.kill()


def run_env(folder: Path, fence: int) -> dict[str, str]:
    return {"GPUYARD_FENCE": str(fence), "GPUYARD_JOB_DIR": str(folder / "jobs" / "j1")}


def test_a_process_of_a_run_is_known_by_its_fence(tmp_path: Path) -> None:
    with running(**run_env(tmp_path, 17)) as (program, _):
        seen = Owners(str(tmp_path)).describe(program.pid, 5, graphics=False)
    assert (seen.fence, seen.memory_bytes, seen.seen, seen.user) == (17, 5, True, getpass.getuser())
    assert seen.name.startswith("python")


PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {WAIT!r}], stdin=sys.stdin, stdout=subprocess.PIPE, env={{}})
child.stdout.readline()
print(child.pid, flush=True)
sys.exit(child.wait())
"""


def test_one_that_cleared_its_environment_is_known_by_its_parent_and_stays_known_without(tmp_path: Path) -> None:
    owners = Owners(str(tmp_path))
    with running(PARENT, **run_env(tmp_path, 17)) as (program, line):
        child = int(line)
        assert owners.describe(child, None, graphics=False).fence == 17
        program.kill()
        program.wait()
        assert Owners(str(tmp_path)).describe(child, None, graphics=False).fence is None
        assert owners.describe(child, None, graphics=False).fence == 17
        owners.forget_all_but({child + 1})
        assert owners.describe(child, None, graphics=False).fence is None


def test_one_whose_keeper_holds_the_lock_is_of_that_run_whatever_its_environment_says(tmp_path: Path) -> None:
    lock = tmp_path / "runs" / "23" / "lock"
    lock.parent.mkdir(parents=True)
    with running(f"keep = open({str(lock)!r}, 'w')\n" + PARENT) as (program, line):
        assert Owners(str(tmp_path)).describe(int(line), None, graphics=False).fence == 23
        assert Owners(str(tmp_path / "theirs")).describe(int(line), None, graphics=False).fence is None
        assert program.stdin is not None
        program.stdin.close()
        program.wait()


def test_a_run_of_another_server_is_not_ours(tmp_path: Path) -> None:
    with running(**run_env(tmp_path / "theirs", 17)) as (program, _):
        assert Owners(str(tmp_path / "ours")).describe(program.pid, None, graphics=False).fence is None
        assert Owners().describe(program.pid, None, graphics=False).fence == 17


@pytest.mark.parametrize("fence", ["", "-1", "x", "²", "1" * 30])
def test_a_program_may_call_anything_its_fence(tmp_path: Path, fence: str) -> None:
    with running(GPUYARD_FENCE=fence, GPUYARD_JOB_DIR=str(tmp_path / "jobs" / "j1")) as (program, _):
        assert Owners(str(tmp_path)).describe(program.pid, None, graphics=False).fence is None


def test_a_process_without_a_fence_is_nobodys() -> None:
    with running() as (program, _):
        assert Owners().describe(program.pid, None, graphics=True).fence is None


def test_a_pid_that_is_not_here_is_not_seen() -> None:
    with running() as (program, _):
        pass
    seen = Owners().describe(program.pid, 7, graphics=False)
    assert (seen.seen, seen.memory_bytes, seen.fence) == (False, 7, None)


def test_a_process_that_has_ended_but_is_still_listed_is_not_taken_for_a_foreigner() -> None:
    """Between its exit and its last file's close the driver lists it, when its environment is already gone."""
    program = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
    assert not Owners().describe(program.pid, 7, graphics=False).seen
    program.wait()
