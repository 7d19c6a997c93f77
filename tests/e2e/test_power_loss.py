"""A machine loses its power in the moment between a start and the sync of what says so.

A start on this host leaves when its commit is written, not when it is on the disk (CONTRIBUTING, "A local start leaves
when it is written"). So after a power loss the database may not know of a run whose folder is there.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeServer
from tests.e2e.server import Server
from tests.machine import end_all_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def as_on_the_disk(server: Server, to: Path) -> None:
    """What a power loss now would leave of the database."""
    with closing(sqlite3.connect(server.data / "jobs.db")) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)


def lose_power(server: Server, disk: Path) -> None:
    """Nothing lives on; the database is as its last sync left it, the folders of runs as they were, of another boot."""
    server.kill()
    end_all_of(server.data)
    for suffix in ("-wal", "-shm"):
        (server.data / f"jobs.db{suffix}").unlink(missing_ok=True)
    (server.data / "jobs.db").write_bytes(disk.read_bytes())
    for record in (server.data / "runs").glob("*/run.json"):
        record.write_text(json.dumps({**json.loads(record.read_text()), "boot_id": "the boot before"}))
    for end in (server.data / "runs").glob("*/exit.json"):
        end.unlink()


def test_a_start_that_the_disk_never_heard_of_is_made_again_once(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(gpus="1").start()
    go, disk = tmp_path / "go", tmp_path / "disk.db"
    first = server.submit("sh", "-c", f"until [ -e {go} ]; do sleep 0.02; done")["job_id"]
    second = server.submit("sleep", "600")["job_id"]
    server.wait_phase(first)
    as_on_the_disk(server, disk)
    go.touch()
    begun = server.wait_phase(second)["attempts"][-1]["fence"]
    lose_power(server, disk)
    server.start()
    (attempt,) = server.wait_phase(second)["attempts"]
    assert attempt["fence"] > begun, "a fence is never given out twice"
    found = server.wait(first, "pending", "running", "completed")
    assert (found["attempts"][0]["exit_class"], found["attempts"][0]["number"]) == ("lost", 1)
    assert server.stats()["total_running"] == 1
    assert (server.data / "runs" / str(attempt["fence"])).is_dir()
