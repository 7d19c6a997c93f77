"""The log is brought into the database beside the commits, and begun anew."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from gpuyard.actors.model.commands import Commit
from gpuyard.actors.store import groups
from gpuyard.actors.store.checkpoint import Checkpointer
from gpuyard.actors.store.database import LOG_BYTES
from gpuyard.actors.store.wal import wal_path
from tests.support import eventually
from tests.support_store import opened, submitted


def frames(path: Path) -> tuple[int, int]:
    """Frames in the log, and how many of them are in the database."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        _, log, moved = other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return log, moved


def test_a_quiet_thread_until_enough_was_written(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with opened(path) as database:
        size = path.stat().st_size
        checkpointer = Checkpointer(path, every_rows=20)
        checkpointer.start()
        group = [Commit(generation=1, number=n, rows=submitted(n, error_message="x" * 9000)) for n in range(1, 10)]
        assert groups.write(database, group).done == 9
        checkpointer.wrote(19)
        assert path.stat().st_size == size
        checkpointer.wrote(1)
        eventually(lambda: path.stat().st_size > size)
        checkpointer.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "store-checkpoint"]


def test_the_log_stays_within_its_space(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with opened(path) as database:
        checkpointer = Checkpointer(path, every_rows=40)
        checkpointer.start()
        space = wal_path(path).stat().st_size
        size = path.stat().st_size
        # Five times the log's space, in commits whose checkpoints we wait for.
        for number in range(1, 5 * LOG_BYTES // 200_000):
            rows = submitted(number, error_message="x" * 200_000)
            assert groups.write(database, [Commit(generation=1, number=number, rows=rows)]).done == 1
            checkpointer.wrote(40)
            eventually(lambda size=size: path.stat().st_size > size)  # type: ignore[misc]
            size = path.stat().st_size
        checkpointer.stop()
        assert wal_path(path).stat().st_size <= 2 * space


def test_a_log_that_grew_too_long_is_the_stores_own_business(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with opened(path) as database:
        checkpointer = Checkpointer(path, every_rows=1, too_long=50)
        checkpointer.start()
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            # A reader that stays keeps the log from beginning anew.
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM queue").fetchone()
            for number in range(1, 30):
                rows = submitted(number, error_message="x" * 20_000)
                assert groups.write(database, [Commit(generation=1, number=number, rows=rows)]).done == 1
            checkpointer.wrote(1)
            eventually(lambda: checkpointer.log_too_long)
            reader.execute("ROLLBACK")
        database.checkpoint()
        checkpointer.helped()
        assert not checkpointer.log_too_long
        log, moved = frames(path)
        assert log == moved
        checkpointer.stop()


def test_a_checkpoint_that_fails_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "jobs.db"
    checkpointer = Checkpointer(tmp_path / "nothing" / "jobs.db", every_rows=1)
    checkpointer.start()
    checkpointer.wrote(1)
    eventually(lambda: "could not be brought into the database" in caplog.text)
    with opened(path) as database:
        group = [Commit(generation=1, number=n, rows=submitted(n, error_message="x" * 9000)) for n in range(1, 10)]
        assert groups.write(database, group).done == 9
        size = path.stat().st_size
        checkpointer._path = path
        checkpointer.wrote(1)
        eventually(lambda: path.stat().st_size > size)
    checkpointer.stop()
