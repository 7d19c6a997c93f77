"""A stopped run leaves no process behind, whatever it does; its end says that and why it was stopped."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from gpuyard.actors.keeper.program import cgroup
from gpuyard.actors.model.commands import ForgetRun, PurgeRuns, RunSpec, WantRun
from gpuyard.actors.model.events import AttemptExited, AttemptStarted
from tests.keeper.host import Host
from tests.support import eventually

IGNORE_TERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)

with_and_without_control_groups = pytest.mark.parametrize("control_groups", [True, False])

# Leaves its group, its session and its parents, as daemons do.
DAEMON = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        os.environ.clear()
        print("daemon", flush=True)
        time.sleep(60)
    os._exit(0)
os.wait()
"""


def gone(host: Host, fence: int = 1) -> None:
    """Said to have ended, and it is so."""
    assert host.processes(fence) == []


def test_a_stop_asks_first(host: Host) -> None:
    host.shell("trap 'echo saved; exit 3' TERM; echo up; while :; do sleep 0.1; done")
    host.wait_for_log("up")
    host.stop()
    end = host.end()
    assert (end.exit_class, end.exit_code) == ("cancelled", 3)
    assert end.message == "cancelled by owner (exit code 3)"
    assert host.log().endswith("saved\n")
    gone(host)


def test_who_ignores_term_is_killed_after_the_grace(cold_host: Host) -> None:
    cold_host.boot(stop_grace_seconds=0.3)
    cold_host.python(IGNORE_TERM)
    cold_host.wait_for_log("up")
    began = time.monotonic()
    cold_host.stop()
    end = cold_host.end()
    assert time.monotonic() - began >= 0.3
    assert (end.exit_class, end.exit_code) == ("cancelled", 137)
    assert end.message == "cancelled by owner (killed by SIGKILL)"
    gone(cold_host)


def test_a_stopped_process_is_continued_so_that_it_can_end_well(host: Host) -> None:
    host.python(
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print('up', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGSTOP)\n"
        "time.sleep(60)\n"
    )
    host.wait_for_log("up")
    host.stop()
    assert host.end().exit_code == 7


@with_and_without_control_groups
def test_a_daemon_of_the_run_is_ended_with_it(cold_host: Host, control_groups: bool) -> None:
    cold_host.boot(control_groups=control_groups, stop_grace_seconds=0.3)
    cold_host.python(DAEMON + "print('main', flush=True)\ntime.sleep(60)\n")
    cold_host.wait_for_log("daemon")
    cold_host.wait_for_log("main")
    assert len(cold_host.processes()) == 2
    cold_host.stop()
    assert cold_host.end().exit_class == "cancelled"
    gone(cold_host)


def test_what_a_program_leaves_behind_is_ended_before_its_end_is_told(cold_host: Host) -> None:
    cold_host.boot(stop_grace_seconds=0.5)
    cold_host.python(DAEMON + "print('main', flush=True)\nsys.exit(6)\n")
    end = cold_host.end()
    assert (end.exit_class, end.exit_code) == ("exit:6", 6)
    gone(cold_host)


def test_leftovers_that_listen_to_term_end_at_once(host: Host) -> None:
    host.shell("sleep 60 & sleep 60 & exit 0")
    assert host.end(timeout=4).exit_class == "completed"
    gone(host)


@with_and_without_control_groups
def test_processes_that_are_forked_while_being_ended_are_ended_too(cold_host: Host, control_groups: bool) -> None:
    cold_host.boot(control_groups=control_groups, stop_grace_seconds=0.2)
    # Each TERM makes two more, which ignore TERM and do the same.
    cold_host.python(
        "import os, signal, time\n"
        "def more(*_):\n"
        "    for _ in range(2):\n"
        "        if os.fork() == 0:\n"
        "            os.setsid()\n"
        "            break\n"
        "signal.signal(signal.SIGTERM, more)\n"
        "print('up', flush=True)\n"
        "deadline = time.monotonic() + 60\n"
        "while time.monotonic() < deadline:\n"
        "    time.sleep(0.05)\n"
    )
    cold_host.wait_for_log("up")
    cold_host.stop()
    assert cold_host.end().exit_class == "cancelled"
    gone(cold_host)


@with_and_without_control_groups
def test_a_bounded_fork_bomb_is_ended(cold_host: Host, control_groups: bool) -> None:
    cold_host.boot(control_groups=control_groups, stop_grace_seconds=0.2)
    # Every process keeps a child alive: whoever is killed is replaced, by up to 60 at a time, for 60 seconds.
    cold_host.python(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "print('up', flush=True)\n"
        "depth, deadline = 0, time.monotonic() + 60\n"
        "while time.monotonic() < deadline:\n"
        "    if depth < 5 and os.fork() == 0:\n"
        "        depth += 1\n"
        "        os.setsid()\n"
        "    else:\n"
        "        time.sleep(0.1)\n"
        "        depth += depth < 3\n"
    )
    cold_host.wait_for_log("up")
    eventually(lambda: len(cold_host.processes()) > 20)
    cold_host.stop()
    assert cold_host.end().exit_class == "cancelled"
    gone(cold_host)


def test_a_stop_that_is_repeated_changes_nothing(host: Host) -> None:
    host.shell("trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done")
    host.wait_for_log("up")
    for _ in range(5):
        host.stop()
    assert (host.end().exit_class, host.end().exit_code) == ("cancelled", 5)


def test_a_run_that_was_stopped_before_it_started_never_starts(host: Host) -> None:
    host.stop(1)
    end = host.end()
    assert (end.exit_class, end.exit_code, end.started_at) == ("cancelled", None, None)
    assert end.message == "cancelled by owner"
    host.shell("echo never > ran")
    eventually(lambda: len(host.all(AttemptExited)) >= 3)
    assert host.all(AttemptStarted) == [] and not (host.job() / "ran").exists()


def test_the_end_of_a_never_started_run_survives_a_restart(host: Host) -> None:
    host.stop(1)
    host.end()
    host.shut_down()
    host.heard.clear()
    host.boot()
    host.shell("echo never > ran")
    assert host.end().exit_class == "cancelled"
    assert not (host.job() / "ran").exists()


@pytest.mark.parametrize("attempt", range(5))
def test_stops_race_with_starts(host: Host, attempt: int) -> None:
    fences = range(1, 21)
    for fence in fences:
        host.shell("echo $$ > ran; exec sleep 60", fence=fence)
        host.stop(fence)
    for fence in fences:
        end = host.end(fence)
        assert end.exit_class == "cancelled"
        gone(host, fence)
        if end.started_at is None:
            assert not (host.job(fence) / "ran").exists()


def test_a_purged_run_that_was_stopped_early_does_not_start_after_all(host: Host) -> None:
    zygote = host.zygote()
    eventually(lambda: host.named("spare"))
    spares = host.named("spare")
    for pid in (*spares, zygote):
        os.kill(pid, signal.SIGSTOP)
    try:
        # The order lies in the socket of a spare that cannot act: stopped, acknowledged and deleted meanwhile.
        host.tell(WantRun(run=RunSpec(fence=1, job_id="job1", attempt=1, argv=("/bin/sh", "-c", "echo no > ran"))))
        host.stop(1)
        assert host.end().exit_class == "cancelled"
        host.tell(ForgetRun(fence=1))
        host.tell(PurgeRuns(fences=(1,)))
        host.tell_ping()
    finally:
        for pid in (*spares, zygote):
            os.kill(pid, signal.SIGCONT)
    eventually(lambda: not host.folder().exists())
    host.shell("true", fence=2)
    assert host.end(2).exit_class == "completed"
    assert not host.job().exists()


def test_a_time_limit_stops_and_says_so(cold_host: Host) -> None:
    cold_host.boot(stop_grace_seconds=0.3)
    cold_host.python(IGNORE_TERM, time_limit=0.5)
    end = cold_host.end()
    assert (end.exit_class, end.exit_code) == ("timeout", 137)
    assert end.message == "time limit of 0.5 s reached (killed by SIGKILL)"
    assert end.ended_at is not None and end.started_at is not None and end.ended_at - end.started_at >= 0.8
    gone(cold_host)


def test_a_run_within_its_time_limit_is_let_be(host: Host) -> None:
    host.shell("exit 0", time_limit=60)
    assert host.end().exit_class == "completed"


def test_a_slow_stop_slows_nobody(cold_host: Host) -> None:
    cold_host.boot(stop_grace_seconds=20.0)
    cold_host.python(IGNORE_TERM)
    cold_host.wait_for_log("up")
    cold_host.stop()
    cold_host.shell("exit 0", fence=2)
    assert cold_host.end(2).exit_class == "completed"
    assert cold_host.all(AttemptExited) == []


def test_a_keeper_that_was_stopped_by_a_signal_still_obeys(host: Host) -> None:
    host.shell("exec sleep 60")
    host.started()
    os.kill(host.record().keeper_pid, signal.SIGSTOP)
    host.stop()
    assert host.end().exit_class == "cancelled"


def test_term_to_the_keeper_stops_the_run_and_it_may_be_tried_again(host: Host) -> None:
    host.shell("trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done")
    host.wait_for_log("up")
    os.kill(host.record().keeper_pid, signal.SIGTERM)
    end = host.end()
    assert (end.exit_class, end.exit_code) == ("lost", None)
    assert end.message.startswith("stopped from outside: its keeper got SIGTERM")
    gone(host)


def test_no_control_group_is_left_behind(host: Host) -> None:
    base = cgroup.own_path()
    if base is None:
        pytest.skip("this system lets us have no control groups")
    host.shell("exec sleep 60")
    path = host.record().cgroup
    assert path is not None and path.startswith(base)
    assert host.record().pid in cgroup.Group(path).pids()
    host.stop()
    host.end()
    host.shut_down()
    eventually(lambda: not Path(path).exists())
