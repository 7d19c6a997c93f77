"""Runs of another database are never taken for those of this one; old logs go after a while, where that is wanted."""

from __future__ import annotations

import os
import time

from gpuyard.actors.keeper.folders import ASIDE
from gpuyard.actors.model.commands import ForgetRun, SetRunsAside
from gpuyard.actors.model.events import AttemptExited
from tests.keeper.host import Host
from tests.support import eventually


def test_the_same_fence_of_another_database_is_another_run(host: Host) -> None:
    host.shell("echo of the first; exit 3")
    assert host.end().exit_code == 3
    host.tell(ForgetRun(fence=1))
    host.shell("echo up; sleep 60", fence=2)
    host.wait_for_log("up", 2)
    host.tell(SetRunsAside(owner="first"))
    host.tell_ping()
    host.heard.clear()
    host.shell("echo of the second")
    assert host.end().exit_code == 0
    assert host.log() == "of the second\n"
    aside = host.data_dir / "runs" / ASIDE / "first"
    assert (aside / "1" / "log").read_text() == "of the first\n"
    assert host.processes(2) and not host.all(AttemptExited, 2), "what lives is let be"


def test_an_end_that_nobody_acknowledged_is_put_aside_too(host: Host) -> None:
    host.shell("exit 3")
    host.end()
    host.tell(SetRunsAside(owner="first"))
    host.tell_ping()
    host.shut_down()
    host.heard.clear()
    host.boot()
    host.shell("exit 0")
    assert host.end().exit_code == 0


def test_old_logs_go_and_young_ones_and_unacknowledged_ones_stay(cold_host: Host) -> None:
    cold_host.boot(keep_days=1.0)
    for fence in (1, 2, 3):
        cold_host.shell(f"echo {fence}", fence=fence)
        cold_host.end(fence)
    for fence in (1, 2):
        cold_host.tell(ForgetRun(fence=fence))
        eventually(lambda fence=fence: not (cold_host.folder(fence) / "lock").exists())
    for fence in (1, 3):
        record = cold_host.folder(fence) / "exit.json"
        eventually(record.exists)
        os.utime(record, (time.time() - 100_000, time.time() - 100_000))
    cold_host.shut_down()
    cold_host.boot(keep_days=1.0)
    eventually(lambda: not cold_host.folder(1).exists())
    assert cold_host.folder(2).exists() and cold_host.folder(3).exists()
