"""A run with a lease ends when nobody was heard for so long, whoever is frozen or dead; a renewal costs nothing."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

import pytest

from gpuyard.actors import procfs
from gpuyard.actors.keeper.program import lease
from gpuyard.actors.keeper.program.lease import boottime
from gpuyard.actors.keeper.program.life import TOO_LATE
from gpuyard.actors.model.commands import RenewLeases, RunSpec, WantRun
from gpuyard.actors.model.events import AttemptExited
from tests.keeper.host import PYTHON, Host, kill
from tests.support import eventually
from tests.support_disk import fill, small_disk

PTRACE_ATTACH = 16
WALL = 0x40000000
FOR_EVER = "echo up; while :; do sleep 0.1; done"
IGNORES_TERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)


def leased(
    host: Host, script: str, seconds: float, left: float | None = None, python: bool = False, ask: str | None = None
) -> float:
    """Want a run with a lease of `seconds`, of which so much is left; when it ends as things stand."""
    until = boottime() + (seconds if left is None else left)
    argv = (PYTHON, "-c", script) if python else ("/bin/sh", "-c", script)
    spec = RunSpec(fence=1, job_id="job1", attempt=1, argv=argv)
    host.tell(WantRun(run=spec, lease_seconds=seconds, lease_until=until, checkpoint_signal=ask))
    return until


def renew(host: Host, seconds: float) -> float:
    until = boottime() + seconds
    host.tell(RenewLeases(until={1: until}))
    host.tell_ping()
    return until


def lapsed(host: Host, seconds: float) -> None:
    """It has ended for its lease, and nothing is left of it."""
    end = host.end()
    assert (end.exit_class, end.exit_code) == ("lost", None)
    assert end.message.startswith("no word from the server for ")
    assert float(end.message.split("for ")[1].split(" s")[0]) >= seconds
    assert host.processes() == []


def passed(moment: float) -> bool:
    return eventually(lambda: boottime() > moment, 30)


def test_it_is_stopped_when_nobody_was_heard_for_so_long(host: Host) -> None:
    until = leased(host, FOR_EVER, 1.5)
    host.wait_for_log("up")
    lapsed(host, 1.5)
    assert boottime() >= until
    assert "[gpuyard] no word from the server for 1.5 s: the run is stopped" in host.log()


def test_a_renewed_one_lives_on(host: Host) -> None:
    first = leased(host, FOR_EVER, 1.5)
    host.wait_for_log("up")
    second = renew(host, 1.5)
    third = renew(host, 2.5)
    assert first < second < third
    passed(second + 0.3)
    assert host.processes() and not host.all(AttemptExited)
    lapsed(host, 1.5)
    assert boottime() >= third


def test_one_that_was_renewed_before_it_was_claimed_has_the_later_end(cold_host: Host) -> None:
    cold_host.boot()
    zygote = cold_host.zygote()
    os.kill(zygote, signal.SIGSTOP)
    for pid in cold_host.named("spare"):
        kill(pid)
    eventually(lambda: not cold_host.named("spare"))
    first = leased(cold_host, FOR_EVER, 1.0)
    cold_host.tell_ping()
    renew(cold_host, 60.0)
    passed(first + 0.7)
    os.kill(zygote, signal.SIGCONT)
    cold_host.wait_for_log("up")
    assert cold_host.processes() and not cold_host.all(AttemptExited)


def test_term_comes_first_and_kill_after_the_grace_for_it(cold_host: Host) -> None:
    cold_host.boot(stop_grace_seconds=60.0, lapse_grace_seconds=0.5)
    until = leased(cold_host, "trap 'echo saved' TERM; echo up; while :; do sleep 0.1; done", 1.5)
    cold_host.wait_for_log("up")
    lapsed(cold_host, 1.5)
    assert "saved\n" in cold_host.log()
    assert until + 0.5 <= boottime()


def test_the_server_says_how_long_that_may_take(host: Host) -> None:
    argv = (PYTHON, "-c", IGNORES_TERM)
    spec = RunSpec(fence=1, job_id="job1", attempt=1, argv=argv)
    until = boottime() + 2.0
    host.tell(WantRun(run=spec, lease_seconds=2.0, lease_until=until, lease_grace=0.1))
    host.wait_for_log("up")
    lapsed(host, 2.0)
    assert host.record().lease.grace == 0.1  # type: ignore[union-attr]


def test_a_program_that_exits_by_itself_is_none_of_the_leases_business(host: Host) -> None:
    leased(host, "exit 3", 60.0)
    end = host.end()
    assert (end.exit_class, end.exit_code) == ("exit:3", 3)


def test_a_checkpoint_is_asked_for_from_those_who_can_when_a_third_is_left(host: Host) -> None:
    script = (
        "import signal, subprocess, time\n"
        "helper = subprocess.Popen(['sleep', '60'])\n"  # it has no handler: the signal would end it
        "signal.signal(signal.SIGUSR1, lambda *_: print('saved', helper.poll(), flush=True))\n"
        "print('up', flush=True)\n"
        "while True: time.sleep(0.05)\n"
    )
    leased(host, script, 6.0, python=True, ask="SIGUSR1")
    eventually(lambda: renew(host, 6.0) and host.folder().exists() and "up" in host.log(), 30)
    for times in (1, 2):
        eventually(lambda times=times: host.log().count("saved None") >= times, 30)
        renew(host, 6.0)
    assert "s, time for a checkpoint: SIGUSR1 sent to 1 of its processes" in host.log()
    assert len(host.processes()) == 2 and not host.all(AttemptExited)


def test_nobody_dies_of_a_checkpoint_that_nobody_handles(host: Host) -> None:
    leased(host, FOR_EVER, 60.0, left=20.5, ask="SIGUSR1")
    host.wait_for_log("time for a checkpoint: SIGUSR1 no process of the run handles it")
    assert host.processes() and not host.all(AttemptExited)


def test_a_lease_that_ended_before_the_start_starts_nothing(host: Host) -> None:
    leased(host, "touch ran", 60.0, left=-0.1)
    end = host.end()
    assert (end.exit_class, end.message, end.started_at) == ("lost", TOO_LATE, None)
    assert not (host.job() / "ran").exists()


def test_one_that_waits_for_a_keeper_beyond_its_lease_never_starts(cold_host: Host) -> None:
    cold_host.boot()
    zygote = cold_host.zygote()
    os.kill(zygote, signal.SIGSTOP)
    for pid in cold_host.named("spare"):
        kill(pid)
    eventually(lambda: not cold_host.named("spare"))
    leased(cold_host, "touch ran", 0.5)
    assert cold_host.end().message == TOO_LATE
    os.kill(zygote, signal.SIGCONT)
    cold_host.shell("true", fence=2)
    assert cold_host.end(2).exit_class == "completed"
    assert not (cold_host.job() / "ran").exists()


def test_it_ends_without_any_supervisor(host: Host) -> None:
    until = leased(host, FOR_EVER, 2.0)
    host.wait_for_log("up")
    host.shut_down()
    host.heard.clear()
    eventually(lambda: not host.processes(), 30)
    assert boottime() >= until
    host.boot()
    lapsed(host, 2.0)


def test_a_keeper_that_was_frozen_acts_the_moment_it_wakes(cold_host: Host) -> None:
    cold_host.boot(lapse_grace_seconds=0.2)
    until = leased(cold_host, IGNORES_TERM, 2.0, python=True)
    cold_host.wait_for_log("up")
    keeper = cold_host.record().keeper_pid
    cold_host.shut_down()
    cold_host.heard.clear()
    os.kill(keeper, signal.SIGSTOP)
    passed(until + 1.0)
    assert cold_host.processes()
    os.kill(keeper, signal.SIGCONT)
    eventually(lambda: not cold_host.processes(), 30)
    said = cold_host.log().split("for ")[1].split(" s")[0]
    assert float(said) >= 3.0, "what it counts is when it woke"
    cold_host.boot()
    lapsed(cold_host, 2.0)


def test_a_frozen_keeper_whose_lease_was_renewed_meanwhile_ends_nothing(host: Host) -> None:
    first = leased(host, FOR_EVER, 1.5)
    host.wait_for_log("up")
    keeper = host.record().keeper_pid
    os.kill(keeper, signal.SIGSTOP)
    renew(host, 60.0)
    passed(first + 0.5)
    os.kill(keeper, signal.SIGCONT)
    host.shell("true", fence=2)
    host.end(2)
    assert host.processes() and not host.all(AttemptExited, 1)


def test_the_supervisor_wakes_a_frozen_keeper(host: Host) -> None:
    leased(host, FOR_EVER, 1.5)
    host.wait_for_log("up")
    os.kill(host.record().keeper_pid, signal.SIGSTOP)
    lapsed(host, 1.5)


def test_a_keeper_that_cannot_be_woken_is_replaced(cold_host: Host) -> None:
    cold_host.boot(lapse_grace_seconds=0.2)
    leased(cold_host, IGNORES_TERM, 1.5, python=True)
    cold_host.wait_for_log("up")
    keeper = cold_host.record().keeper_pid
    # As under a debugger: no SIGCONT wakes it.
    if ctypes.CDLL(None).ptrace(PTRACE_ATTACH, keeper, None, None) != 0:
        pytest.skip("this system lets nobody trace a process")
    os.waitpid(keeper, WALL)
    eventually(lambda: os.waitpid(keeper, WALL | os.WNOHANG)[0] == keeper, 30)
    lapsed(cold_host, 1.5)


@pytest.mark.parametrize("away", [False, True])
def test_where_the_keeper_was_killed_the_supervisor_enforces_it(cold_host: Host, away: bool) -> None:
    cold_host.boot(lapse_grace_seconds=0.3)
    first = leased(cold_host, IGNORES_TERM, 1.5, python=True)
    cold_host.wait_for_log("up")
    second = renew(cold_host, 3.0)
    kill(cold_host.record().keeper_pid)
    if away:
        cold_host.shut_down()
        cold_host.boot(lapse_grace_seconds=0.3)
    passed(first + 0.5)
    assert cold_host.processes()
    lapsed(cold_host, 1.5)
    assert boottime() >= second + 0.3


def test_a_full_disk_keeps_no_lease_from_being_renewed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4) as folder:
        host = Host(folder / "data")
        host.boot()
        try:
            first = leased(host, FOR_EVER, 2.0)
            host.wait_for_log("up")
            renew(host, 2.5)
            ballast = fill(folder)
            renew(host, 60.0)
            passed(first + 1.0)
            assert host.processes() and not host.all(AttemptExited)
            ballast.unlink()
            host.stop()
            assert host.end().exit_class == "cancelled"
        finally:
            host.shut_down()
            eventually(lambda: not host.ours())


def test_a_local_run_has_nothing_of_it(host: Host) -> None:
    host.shell(FOR_EVER)
    host.wait_for_log("up")
    renew(host, 0.1)
    record = host.record()
    assert record.lease is None and not (host.folder() / lease.FILE).exists()
    fds = Path(f"/proc/{record.keeper_pid}/fd")
    assert not [fd for fd in fds.iterdir() if "timerfd" in str(fd.readlink())]
    assert host.processes() and not host.all(AttemptExited)


def test_a_half_written_moment_is_not_believed(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    assert lease.read(fd) is None
    lease.write(fd, 1234.5)
    assert lease.read(fd) == 1234.5
    lease.write(fd, 99.25)
    assert lease.read(fd) == 99.25, "of equal width, so nothing of the longer one is left"
    (tmp_path / lease.FILE).write_text("0000000000099.250000 0000000000012.000000\n")
    assert lease.read(fd) is None
    os.close(fd)


def test_what_was_frozen_with_its_keeper_never_wakes(cold_host: Host) -> None:
    """As after the sleep of a whole machine: its job may live elsewhere by now."""
    cold_host.boot(lapse_grace_seconds=0.2)
    script = "import os, time\nprint('up', flush=True)\nwhile True: open('ticks', 'a').write('x'); time.sleep(0.01)\n"
    until = leased(cold_host, script, 2.0, python=True)
    cold_host.wait_for_log("up")
    record = cold_host.record()
    cold_host.shut_down()
    cold_host.heard.clear()
    for pid in (record.pid, record.keeper_pid):
        os.kill(pid, signal.SIGSTOP)
    eventually(lambda: procfs.stat(record.pid).state == "T")  # type: ignore[union-attr]
    ticks = (cold_host.job() / "ticks").stat().st_size
    passed(until + 0.5)
    os.kill(record.keeper_pid, signal.SIGCONT)
    eventually(lambda: not cold_host.processes(), 30)
    assert (cold_host.job() / "ticks").stat().st_size == ticks
    cold_host.boot()
    lapsed(cold_host, 2.0)
