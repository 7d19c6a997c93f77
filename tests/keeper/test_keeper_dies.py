"""A keeper is killed: its run is adopted while it lives, ended on request, and reported lost; never doubled."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from gpuyard.actors import procfs
from gpuyard.actors.keeper import news, processes
from gpuyard.actors.keeper.program import cgroup, records
from gpuyard.actors.model.events import AttemptExited, AttemptStarted, RunsAdopted
from gpuyard.cli.doctor import processes as doctor
from tests.keeper.host import PYTHON, Host, kill
from tests.support import eventually

with_and_without_control_groups = pytest.mark.parametrize("control_groups", [True, False])


def lost(host: Host, fence: int = 1) -> None:
    end = host.end(fence)
    assert (end.exit_class, end.exit_code) == ("lost", None)
    assert end.message == "keeper killed, exit code unknown"
    assert end.started_at is not None and end.ended_at is not None
    assert host.processes(fence) == []


@with_and_without_control_groups
def test_the_training_goes_on_and_ends_as_lost(cold_host: Host, control_groups: bool) -> None:
    cold_host.boot(control_groups=control_groups)
    cold_host.shell("echo up; while [ ! -e go ]; do sleep 0.05; done; echo done; exit 4")
    cold_host.wait_for_log("up")
    record = cold_host.record()
    kill(record.keeper_pid)
    # Noticed at once, told again as live, and let be.
    eventually(lambda: len(cold_host.all(AttemptStarted)) >= 2)
    cold_host.shell("exit 0", fence=2)
    cold_host.end(2)
    assert record.pid in cold_host.processes() and not cold_host.all(AttemptExited)
    (cold_host.job() / "go").touch()
    lost(cold_host)
    assert cold_host.log() == "up\ndone\n"


@with_and_without_control_groups
def test_it_can_be_stopped_all_the_same(cold_host: Host, control_groups: bool) -> None:
    cold_host.boot(control_groups=control_groups, stop_grace_seconds=0.3)
    cold_host.python(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    eventually(lambda: len(cold_host.processes()) == 2)
    eventually(lambda: cold_host.log().count("up") == 2)
    kill(cold_host.record().keeper_pid)
    began = time.monotonic()
    cold_host.stop()
    lost(cold_host)
    assert time.monotonic() - began >= 0.3


def test_it_gets_term_first(host: Host) -> None:
    host.shell("trap 'echo saved; exit 0' TERM; echo up; while :; do sleep 0.1; done")
    host.wait_for_log("up")
    kill(host.record().keeper_pid)
    host.stop()
    lost(host)
    assert host.log().endswith("saved\n")


@with_and_without_control_groups
def test_what_it_left_behind_is_ended(cold_host: Host, control_groups: bool) -> None:
    cold_host.boot(control_groups=control_groups)
    cold_host.shell("setsid sleep 60 & echo up; while [ ! -e go ]; do sleep 0.05; done")
    cold_host.wait_for_log("up")
    eventually(lambda: len(cold_host.processes()) >= 2)
    kill(cold_host.record().keeper_pid)
    (cold_host.job() / "go").touch()
    lost(cold_host)


@with_and_without_control_groups
def test_a_process_that_cleared_its_environment_is_found_by_the_lock(cold_host: Host, control_groups: bool) -> None:
    cold_host.boot(control_groups=control_groups, stop_grace_seconds=0.3)
    cold_host.shell("exec env -i /bin/sh -c 'echo up; sleep 60'")
    cold_host.wait_for_log("up")
    record = cold_host.record()
    assert cold_host.processes() == []
    kill(record.keeper_pid)
    cold_host.stop()
    lost(cold_host)
    assert processes.open_process(record.pid, record.start) is None


# A child that keeps nothing by which one would know whose it is, but for its session and its control group.
HIDES = """
import os, sys, time
if os.fork() == 0:
    os.chdir("/")
    with open(sys.argv[1], "w") as file:
        file.write(str(os.getpid()))
    os.closerange(0, 256)
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"], {})
time.sleep(60)
"""


def hide(host: Host, tmp_path: Path) -> int:
    """The pid of the child that hides; its keeper has been killed."""
    told = tmp_path / "hidden"
    host.run(PYTHON, "-c", HIDES, str(told))
    pid = int(host.wait_for(told))
    # It is what it will be once it has closed all it had.
    eventually(lambda: procfs.environ_value(pid, procfs.FENCE) is None and not list(Path(f"/proc/{pid}/fd").iterdir()))
    kill(host.record().keeper_pid)
    return pid


def test_a_tree_that_hides_everything_is_ended_by_its_control_group(cold_host: Host, tmp_path: Path) -> None:
    if cgroup.own_path() is None:
        pytest.skip("this system lets us have no control groups")
    cold_host.boot(stop_grace_seconds=0.3)
    pid = hide(cold_host, tmp_path)
    cold_host.stop()
    lost(cold_host)
    eventually(lambda: (found := procfs.stat(pid)) is None or found.state == "Z")


def test_without_one_what_hides_outlives_its_run_and_is_found_by_its_session(cold_host: Host, tmp_path: Path) -> None:
    """By `gpuyard doctor`: nobody else can know whose it is."""
    cold_host.boot(control_groups=False, stop_grace_seconds=0.3)
    pid = hide(cold_host, tmp_path)
    record = cold_host.record()
    try:
        cold_host.stop()
        lost(cold_host)
        living = doctor.of_runs(cold_host.data_dir, {record.pid: (record.fence, record.job_id)}, os.getpid())
        assert [(one.pid, one.fence, one.job_id, one.sure) for one in living] == [(pid, 1, "job1", True)]
    finally:
        kill(pid)


def test_keeper_and_training_killed_together(host: Host) -> None:
    host.shell("exec sleep 60")
    record = host.record()
    kill(record.keeper_pid)
    kill(record.pid)
    lost(host)


def test_killed_while_the_supervisor_was_away(host: Host) -> None:
    host.shell("echo up; exec sleep 60", fence=1)
    host.shell("echo up; exec sleep 60", fence=2)
    for fence in (1, 2):
        host.wait_for_log("up", fence)
    first, second = host.record(1), host.record(2)
    host.shut_down()
    for pid in (first.keeper_pid, second.keeper_pid, second.pid):
        kill(pid)
    host.heard.clear()
    host.boot()
    lost(host, 2)
    assert host.started(1).pid == first.pid and not host.all(AttemptExited, 1)
    host.stop(1)
    lost(host, 1)


# Plays a keeper until it is killed; not longer, should the test be killed first.
HOLDS = "import fcntl, sys, time; fcntl.flock(open(sys.argv[1], 'w'), fcntl.LOCK_EX); print(flush=True); time.sleep(60)"


def test_a_run_that_was_looked_for_before_its_keeper_said_who_it_is_is_looked_for_again(cold_host: Host) -> None:
    """Between claiming a run and writing its record a keeper may be slow: it must not make the later search hang."""
    cold_host.folder().mkdir(parents=True)
    lock = str(cold_host.folder() / "lock")
    ours = {**os.environ, "GPUYARD_FENCE": "1", "GPUYARD_JOB_DIR": str(cold_host.job())}
    with (
        subprocess.Popen([PYTHON, "-c", HOLDS, lock], stdout=subprocess.PIPE) as keeper,
        subprocess.Popen(["sleep", "60"], env=ours) as program,
    ):
        assert keeper.stdout is not None and keeper.stdout.readline() == b"\n"
        cold_host.boot()
        record = news.RunRecord(
            version=records.VERSION,
            fence=1,
            job_id="job1",
            boot_id=procfs.boot_id(),
            keeper_pid=keeper.pid,
            keeper_start=procfs.start_time(keeper.pid) or 0,
            pid=program.pid,
            start=procfs.start_time(program.pid) or 0,
            started_at=time.time(),
        )
        (cold_host.folder() / "run.json").write_bytes(msgspec.json.encode(record))
        eventually(lambda: cold_host.all(AttemptStarted))
        ticks = len(cold_host.all(RunsAdopted))
        eventually(lambda: len(cold_host.all(RunsAdopted)) >= ticks + 3)
        keeper.kill()
        keeper.wait()
        eventually(lambda: len(cold_host.all(AttemptStarted)) >= 2)
        program.kill()
        program.wait()
        lost(cold_host)


def test_a_lost_end_is_told_after_a_restart_too(host: Host) -> None:
    host.shell("exec sleep 60")
    kill(host.record().keeper_pid)
    host.stop()
    lost(host)
    host.shut_down()
    host.heard.clear()
    host.boot()
    lost(host)


@pytest.mark.parametrize("attempt", range(3))
def test_keepers_killed_at_any_moment_double_nothing(host: Host, attempt: int) -> None:
    fences = range(1, 16)
    for fence in fences:
        host.shell("echo ran >> count; sleep 0.3", fence=fence)
    time_left = time.monotonic() + 30
    ended: set[int] = set()
    while len(ended) < len(fences) and time.monotonic() < time_left:
        for pid in host.named("keeper")[:2] + host.named("spare")[:1]:
            kill(pid)
        ended = {fence for fence in fences if host.all(AttemptExited, fence)}
    for fence in fences:
        assert host.end(fence).exit_class in ("completed", "lost")
        count = host.job(fence) / "count"
        assert not count.exists() or count.read_text() in ("", "ran\n")
        assert host.processes(fence) == []


def test_a_killed_zygote_is_replaced(host: Host) -> None:
    host.shell("echo up; exec sleep 60")
    host.started()
    for fence in range(2, 6):
        zygote = host.zygote()
        kill(zygote)
        host.shell("echo ran >> count", fence=fence)
        assert host.end(fence).exit_class == "completed"
        assert (host.job(fence) / "count").read_text() == "ran\n"
        eventually(lambda zygote=zygote: host.zygote() != zygote)
    assert not host.all(AttemptExited, 1)


def test_killed_spares_are_replaced_and_their_folders_removed(host: Host) -> None:
    for fence in range(1, 6):
        for pid in eventually(lambda: host.named("spare")):
            kill(pid)
        host.shell("echo ran >> count", fence=fence)
        assert host.end(fence).exit_class == "completed"
        assert (host.job(fence) / "count").read_text() == "ran\n"
    for spares in (host.data_dir / "runs" / ".spares", host.data_dir / "jobs" / ".spares"):
        eventually(lambda spares=spares: len(list(spares.iterdir())) == len(host.named("spare")))
