"""A run starts once, in the right place, and its end is told truly."""

from __future__ import annotations

import signal

import pytest

from gpuyard.actors.model.commands import ForgetRun, RunSpec, WantRun
from gpuyard.actors.model.events import AttemptExited, AttemptStarted, RunsAdopted
from tests.keeper.host import Host
from tests.support import eventually


def test_a_run_starts_and_completes(host: Host) -> None:
    host.shell("echo hello; echo there >&2")
    end = host.end()
    assert (end.exit_class, end.exit_code, end.message) == ("completed", 0, "")
    assert end.started_at is not None and end.ended_at is not None and end.started_at <= end.ended_at
    assert host.log() == "hello\nthere\n"
    assert isinstance(host.heard[0], RunsAdopted)


def test_a_live_run_is_told_with_its_pid(host: Host) -> None:
    host.shell("echo $$ > pid; read never < /dev/null; exec sleep 60")
    started = host.started()
    assert int(host.wait_for(host.job() / "pid")) == started.pid == host.record().pid


@pytest.mark.parametrize("code", [1, 3, 84, 86, 127])
def test_the_programs_own_exit_code_is_told(host: Host, code: int) -> None:
    host.shell(f"echo last words; exit {code}")
    end = host.end()
    assert (end.exit_class, end.exit_code) == (f"exit:{code}", code)
    assert end.message == f"exit code {code}: last words"


def test_code_85_asks_to_be_run_again(host: Host) -> None:
    host.shell("exit 85")
    assert (host.end().exit_class, host.end().exit_code) == ("requeue", 85)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_is_told_by_name(host: Host, number: signal.Signals) -> None:
    host.shell(f"kill -{number.value} $$")
    end = host.end()
    assert (end.exit_class, end.exit_code) == (f"signal:{number.name}", 128 + number)
    assert f"killed by {number.name}" in end.message


def test_a_kill_from_nowhere_is_likely_out_of_memory(host: Host) -> None:
    host.shell("kill -9 $$")
    end = host.end()
    assert (end.exit_class, end.exit_code) == ("signal:SIGKILL", 137)
    assert end.message == "killed by SIGKILL: likely out of memory"


def test_gpu_memory_and_exceptions_are_told_in_the_programs_words(host: Host) -> None:
    host.python("raise RuntimeError('CUDA out of memory. Tried to allocate 2.00 GiB')", fence=1)
    host.python("raise ValueError('learning rate must be positive')", fence=2)
    assert host.end(1).exit_class == "oom"
    assert "CUDA out of memory. Tried to allocate 2.00 GiB" in host.end(1).message
    assert host.end(2).exit_class == "exit:1"
    assert host.end(2).message == "exit code 1: ValueError: learning rate must be positive"


def test_a_repeated_want_starts_nothing_and_tells_again(host: Host) -> None:
    spec = RunSpec(fence=1, job_id="job1", attempt=1, argv=("/bin/sh", "-c", "echo once >> count; sleep 60"))
    for _ in range(5):
        host.tell(WantRun(run=spec))
    host.started()
    host.tell(WantRun(run=spec))
    eventually(lambda: len(host.all(AttemptStarted)) >= 2)
    assert host.wait_for(host.job() / "count") == "once\n"


def test_an_end_is_told_at_each_tick_until_it_is_acknowledged(host: Host) -> None:
    host.shell("exit 4")
    eventually(lambda: len(host.all(AttemptExited)) >= 3)
    assert len(set(host.all(AttemptExited))) == 1
    host.tell(ForgetRun(fence=1))
    host.tell_ping()
    told = len(host.all(AttemptExited))
    # Two more ends tick by, told again and again: the acknowledged one stays silent.
    host.shell("exit 5", fence=2)
    eventually(lambda: len(host.all(AttemptExited, 2)) >= 3)
    assert len(host.all(AttemptExited)) == told
    assert host.log() == ""
    eventually(lambda: not (host.folder() / "lock").exists())


def test_many_at_once_each_run_exactly_once(host: Host) -> None:
    for fence in range(1, 41):
        host.shell("echo ran >> count", fence=fence)
    for fence in range(1, 41):
        assert host.end(fence).exit_class == "completed"
        assert (host.job(fence) / "count").read_text() == "ran\n"
