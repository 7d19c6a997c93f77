"""Runs outlive the supervisor: killed or restarted, it finds them again and learns their true ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from gpuyard.actors import procfs
from gpuyard.actors.model.commands import ForgetRun, PurgeRuns, RunSpec, WantedComplete, WantRun, WatchRuns
from gpuyard.actors.model.events import AttemptExited, AttemptStarted, OrphanSeen, RunsAdopted
from tests.keeper.host import Host, kill
from tests.support import eventually

ROOT = Path(__file__).parents[2]


class Doomed:
    """A supervisor process that will be killed."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.keeper.supervisor_process", str(host.data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )

    @property
    def stdin(self) -> IO[str]:
        assert self.process.stdin is not None
        return self.process.stdin

    def shell(self, script: str, fence: int = 1) -> None:
        self.stdin.write(json.dumps({"fence": fence, "argv": ["/bin/sh", "-c", script]}) + "\n")
        self.stdin.flush()

    def kill(self) -> None:
        """kill -9, and wait until its zygote and spares have noticed."""
        if self.process.returncode is not None:
            return
        kill(self.process.pid)
        self.process.communicate()
        eventually(lambda: not self._host.named("zygote") and not self._host.named("spare"), 10)


@pytest.fixture
def doomed(cold_host: Host) -> Iterator[Doomed]:
    supervisor = Doomed(cold_host)
    yield supervisor
    supervisor.kill()


def test_a_run_lives_on_and_is_adopted_with_its_true_end(cold_host: Host, doomed: Doomed) -> None:
    doomed.shell("echo one; while [ ! -e go ]; do sleep 0.05; done; echo two; exit 42")
    cold_host.wait_for_log("one")
    record = cold_host.record()
    doomed.kill()
    assert procfs.start_time(record.pid) == record.start
    cold_host.boot()
    assert eventually(lambda: cold_host.all(RunsAdopted))[0] == RunsAdopted(live=(1,), jobs={1: "job1"})
    before = len(cold_host.all(RunsAdopted))
    cold_host.tell(WatchRuns())
    eventually(lambda: len(cold_host.all(RunsAdopted)) > before)
    started = cold_host.started()
    assert (started.pid, started.at) == (record.pid, record.started_at)
    (cold_host.job() / "go").touch()
    end = cold_host.end()
    assert (end.exit_class, end.exit_code, end.started_at) == ("exit:42", 42, record.started_at)
    assert cold_host.log() == "one\ntwo\n"


def test_an_adopted_run_can_be_stopped(cold_host: Host, doomed: Doomed) -> None:
    doomed.shell("trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done")
    cold_host.wait_for_log("up")
    doomed.kill()
    cold_host.boot()
    cold_host.stop()
    assert (cold_host.end().exit_class, cold_host.end().exit_code) == ("cancelled", 9)


def test_ends_while_nobody_was_there_are_known_exactly(cold_host: Host, doomed: Doomed) -> None:
    for fence, code in ((1, 0), (2, 3), (3, 85)):
        doomed.shell(f"echo up; while [ ! -e go ]; do sleep 0.05; done; exit {code}", fence=fence)
    doomed.shell("echo up; while [ ! -e go ]; do sleep 0.05; done; kill -SEGV $$", fence=4)
    for fence in range(1, 5):
        cold_host.wait_for_log("up", fence)
    doomed.kill()
    for fence in range(1, 5):
        (cold_host.job(fence) / "go").touch()
        eventually(lambda fence=fence: (cold_host.folder(fence) / "exit.json").exists())
    eventually(lambda: not cold_host.ours())
    cold_host.boot()
    assert eventually(lambda: cold_host.all(RunsAdopted))[0] == RunsAdopted(ended=(1, 2, 3, 4))
    ends = {fence: cold_host.end(fence) for fence in range(1, 5)}
    assert {fence: (end.exit_class, end.exit_code) for fence, end in ends.items()} == {
        1: ("completed", 0),
        2: ("exit:3", 3),
        3: ("requeue", 85),
        4: ("signal:SIGSEGV", 139),
    }


def test_the_same_run_is_not_started_again_by_the_next_supervisor(cold_host: Host, doomed: Doomed) -> None:
    doomed.shell("echo ran >> count; echo up; exec sleep 60")
    cold_host.wait_for_log("up")
    doomed.kill()
    cold_host.boot()
    for started in (False, True):
        spec = RunSpec(fence=1, job_id="job1", attempt=1, argv=("/bin/sh", "-c", "echo ran >> count"))
        cold_host.tell(WantRun(run=spec, started=started))
    eventually(lambda: len(cold_host.all(AttemptStarted)) >= 3)
    assert (cold_host.job() / "count").read_text() == "ran\n"


def test_many_kills_lose_and_double_nothing(cold_host: Host) -> None:
    fence = 0
    for _ in range(5):
        doomed = Doomed(cold_host)
        first = fence + 1
        for _ in range(8):
            fence += 1
            doomed.shell(f"echo ran >> count; exit {fence % 5}", fence=fence)
        eventually(lambda first=first: (cold_host.folder(first) / "log").exists())
        doomed.kill()
    cold_host.boot()
    for number in range(1, fence + 1):
        cold_host.shell(f"echo ran >> count; exit {number % 5}", fence=number)
    for number in range(1, fence + 1):
        assert cold_host.end(number).exit_code == number % 5
        assert (cold_host.job(number) / "count").read_text() == "ran\n"


def test_an_acknowledged_run_is_not_told_after_a_restart(host: Host) -> None:
    host.shell("exit 1")
    host.shell("exit 2", fence=2)
    host.end(1)
    host.end(2)
    host.tell(ForgetRun(fence=1))
    eventually(lambda: not (host.folder(1) / "lock").exists())
    host.shut_down()
    host.heard.clear()
    host.boot()
    assert eventually(lambda: host.all(RunsAdopted))[0] == RunsAdopted(ended=(2,))
    assert host.end(2).exit_code == 2 and not host.all(AttemptExited, 1)
    # Wanted again all the same, as after a crash in between: known by its record.
    host.shell("exit 1")
    assert host.end(1).exit_code == 1


def test_a_run_that_was_known_to_live_and_left_no_trace_is_lost(host: Host) -> None:
    host.tell(WantRun(run=RunSpec(fence=1, job_id="job1", attempt=1, argv=("/bin/true",)), started=True))
    end = host.end()
    assert (end.exit_class, end.exit_code) == ("lost", None)
    assert not host.job().exists()


def test_a_run_of_another_boot_is_lost(host: Host) -> None:
    host.shell("exec sleep 60")
    record = host.record()
    host.shut_down()
    kill(record.keeper_pid)
    kill(record.pid)
    eventually(lambda: not host.processes())
    host.rewrite_record(boot_id="another boot")
    host.heard.clear()
    host.boot()
    end = host.end()
    assert (end.exit_class, end.exit_code, end.started_at) == ("lost", None, record.started_at)
    assert "restarted" in end.message


def test_a_reused_pid_is_neither_adopted_nor_signalled(host: Host) -> None:
    host.shell("exec sleep 60")
    record = host.record()
    host.shut_down()
    kill(record.keeper_pid)
    kill(record.pid)
    eventually(lambda: not host.processes())
    with subprocess.Popen(["/bin/sleep", "60"]) as bystander:
        # The record names pids that meanwhile belong to somebody else.
        host.rewrite_record(keeper_pid=bystander.pid, pid=bystander.pid)
        host.heard.clear()
        host.boot()
        host.stop()
        end = host.end()
        assert (end.exit_class, end.message) == ("lost", "keeper killed, exit code unknown")
        assert bystander.poll() is None
        bystander.kill()


def test_an_unwanted_run_is_reported_and_never_stopped(host: Host) -> None:
    host.shell("exec sleep 60", fence=1)
    host.shell("exec sleep 60", fence=2)
    started = host.started(1)
    host.started(2)
    host.shut_down()
    host.boot()
    host.tell(WantedComplete(fences=(2,)))
    orphan = eventually(lambda: host.all(OrphanSeen))[0]
    assert (orphan.fence, orphan.job_id, orphan.pid) == (1, "job1", started.pid)
    eventually(lambda: len(host.all(OrphanSeen)) >= 2)
    assert {orphan.fence for orphan in host.heard if isinstance(orphan, OrphanSeen)} == {1}
    assert host.processes(1) == [started.pid]
    os.kill(started.pid, 9)
    assert host.end(1).exit_class == "signal:SIGKILL"


def test_purged_runs_are_deleted_live_ones_are_not(host: Host) -> None:
    for fence in range(1, 31):
        host.shell("exit 0", fence=fence)
    host.shell("exec sleep 60", fence=99)
    host.started(99)
    for fence in range(1, 31):
        host.end(fence)
        host.tell(ForgetRun(fence=fence))
    host.tell(PurgeRuns(fences=(*range(1, 31), 99, 12345)))
    eventually(
        lambda: sorted(path.name for path in (host.data_dir / "runs").iterdir() if path.name.isdigit()) == ["99"]
    )
    assert host.job(1).is_dir()
