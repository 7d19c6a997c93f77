"""Opening: one supervisor, never a silent empty start, and an epoch that grows when an older state comes back."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gpuyard.actors.model.commands import Commit
from gpuyard.actors.model.errors import DatabaseRefused
from gpuyard.actors.model.ids import make_fence
from gpuyard.actors.store import database as module, groups, identity, mounts
from gpuyard.actors.store.database import Database
from gpuyard.actors.store.faults import DiskFailed, GuardFailed
from gpuyard.actors.store.lock import lock_path
from gpuyard.actors.store.schema import MIGRATIONS
from gpuyard.actors.store.soundness import restoring_path
from gpuyard.actors.store.wal import wal_path
from tests.support_store import T0, ended, opened, started, submitted


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "jobs.db"


def fill(path: Path, jobs: int = 3) -> None:
    with opened(path) as database:
        for number in range(1, jobs + 1):
            rows = (*submitted(number), *started(number, number), *ended(number, number))
            assert groups.write(database, [Commit(generation=1, number=number, rows=rows)]).done == 1


def epoch_of(path: Path) -> int:
    with opened(path) as database:
        return database.db_epoch


def test_a_new_database_is_private_durable_and_ours(path: Path) -> None:
    with opened(path) as database:
        pragma = {
            name: database.connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "wal_autocheckpoint", "recursive_triggers")
        }
        assert pragma == {
            "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "wal_autocheckpoint": 0, "recursive_triggers": 1
        }  # fmt: skip
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        for name in ("jobs.db", "jobs.db-wal", "jobs.db.lock"):
            assert stat.S_IMODE((path.parent / name).stat().st_mode) == 0o600, name
        assert (len(database.db_id), database.db_epoch) == (32, 1)
    assert sorted(file.name for file in path.parent.iterdir()) == ["jobs.db", "jobs.db.lock"]


def test_a_database_is_the_same_when_it_is_opened_again(path: Path) -> None:
    with opened(path) as database:
        first = database.db_id
    with opened(path) as database:
        assert (database.db_id, database.db_epoch) == (first, 1)
        assert database.snapshot(T0).settings == {}


def test_the_log_has_its_space_before_the_first_commit(path: Path) -> None:
    with opened(path) as database:
        size = wal_path(path).stat().st_size
        assert size >= module.LOG_BYTES
        assert groups.write(database, [Commit(generation=1, number=1, rows=submitted(1))]).done == 1
        assert wal_path(path).stat().st_size == size
        assert database.connection.execute("SELECT name FROM sqlite_master WHERE name = 'filler'").fetchall() == []
        assert path.stat().st_size < 200_000


# --- one supervisor ----------------------------------------------------------------------------------------------


def test_a_second_supervisor_is_refused_and_told_who_has_it(path: Path) -> None:
    with opened(path):
        with pytest.raises(DatabaseRefused, match=rf"in use by another supervisor \(pid {os.getpid()}\)"):
            Database.open(path)
        with pytest.raises(DatabaseRefused, match="in use"):
            Database.open(path.parent / ".." / "data" / "jobs.db")
        link = path.parent.parent / "link.db"
        link.symlink_to(path)
        with pytest.raises(DatabaseRefused, match="in use"):
            Database.open(link)
    Database.open(path).close()


def test_a_killed_supervisor_leaves_no_lock(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gpuyard.actors.store.database import Database;"
        "Database.open(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None and child.stdout.readline() == "open\n"
        with pytest.raises(DatabaseRefused, match=rf"\(pid {child.pid}\)"):
            Database.open(path)
        child.kill()
    Database.open(path).close()


def test_a_supervisor_whose_lock_was_bypassed_cannot_write(path: Path) -> None:
    with opened(path) as first:
        lock_path(path).unlink()
        with opened(path) as second:
            outcome = groups.write(first, [Commit(generation=1, number=1, rows=submitted(1))])
            assert (outcome.done, outcome.disk) == (0, False)
            assert "another supervisor has opened" in (outcome.error or "")
            assert groups.write(second, [Commit(generation=1, number=1, rows=submitted(1))]).done == 1


def test_a_failed_open_gives_the_lock_back(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all")
    for _ in range(2):
        with pytest.raises(DatabaseRefused, match="not a SQLite database"):
            Database.open(path)
    path.unlink()
    Database.open(path).close()


# --- nothing is lost in silence ----------------------------------------------------------------------------------


def test_an_empty_file_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with pytest.raises(DatabaseRefused, match=r"is empty .* gpuyard db restore BACKUP"):
        Database.open(path)


def test_a_missing_database_with_a_log_is_refused(path: Path) -> None:
    path.parent.mkdir()
    wal_path(path).write_bytes(b"\x37\x7f\x06\x82" + bytes(100))
    with pytest.raises(DatabaseRefused, match=r"missing, but its write-ahead log .* gpuyard db restore BACKUP"):
        Database.open(path)


def test_a_missing_database_with_runs_is_refused(path: Path) -> None:
    fill(path)
    (path.parent / "runs" / str(make_fence(1, 1))).mkdir(parents=True)
    path.unlink()
    with pytest.raises(DatabaseRefused, match=r"missing, but .*runs holds 1 runs: .* gpuyard db restore BACKUP"):
        Database.open(path)
    assert not path.exists()


def test_an_empty_runs_folder_is_no_obstacle(path: Path) -> None:
    (path.parent / "runs").mkdir(parents=True)
    (path.parent / "runs" / "notes").mkdir()
    Database.open(path).close()


def test_an_interrupted_restore_is_refused(path: Path) -> None:
    fill(path)
    restoring_path(path).touch()
    with pytest.raises(DatabaseRefused, match=r"was interrupted: repeat it: gpuyard db restore BACKUP"):
        Database.open(path)


def test_a_link_to_nowhere_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(path.parent / "gone.db")
    with pytest.raises(DatabaseRefused, match="link to a file that is missing"):
        Database.open(path)


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(DatabaseRefused, match="is not a file"):
        Database.open(path)


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE queue (id INTEGER PRIMARY KEY)")
    before = path.read_bytes()
    with pytest.raises(DatabaseRefused, match=r"not a database of gpuyard.*import-simpletuner"):
        Database.open(path)
    assert path.read_bytes() == before


def test_a_newer_database_is_refused_and_left_alone(path: Path, tmp_path: Path) -> None:
    newer = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, newer)
    (newer / "0999_next.py").write_text("def up(migrator, db):\n    db.execute_sql('CREATE TABLE extra (x)')\n")
    Database.open(path, newer).close()
    before = path.read_bytes()
    with pytest.raises(DatabaseRefused, match=r"newer gpuyard .*0999_next.*pip install --upgrade gpuyard"):
        Database.open(path)
    assert path.read_bytes() == before
    Database.open(path, newer).close()


def test_a_missing_step_is_applied_and_a_failing_one_leaves_no_trace(path: Path, tmp_path: Path) -> None:
    fill(path)
    newer = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, newer)
    step = newer / "0999_next.py"
    step.write_text(
        "def up(migrator, db):\n    db.execute_sql('CREATE TABLE extra (x)')\n    db.execute_sql('NONSENSE')\n"
    )
    with pytest.raises(DatabaseRefused, match="NONSENSE"):
        Database.open(path, newer)
    with opened(path) as database:
        assert database.connection.execute("SELECT name FROM sqlite_master WHERE name = 'extra'").fetchall() == []
    step.write_text("def up(migrator, db):\n    db.execute_sql('CREATE TABLE extra (x)')\n")
    database = Database.open(path, newer)
    assert database.connection.execute("SELECT count(*) FROM extra").fetchone() == (0,)
    assert database.snapshot(T0).counts == {"completed": 3}
    database.close()


def test_a_crash_while_it_is_made_leaves_nothing_that_hinders(path: Path) -> None:
    path.parent.mkdir()
    draft = path.with_name("jobs.db.new")
    draft.write_bytes(b"half")
    draft.with_name("jobs.db.new-journal").write_bytes(b"half")
    Database.open(path).close()
    assert not draft.exists()


def test_a_network_file_system_is_refused(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"30 27 0:40 / {tmp_path / 'data'} rw - nfs4 filer:/home rw\n")
    monkeypatch.setattr(mounts, "MOUNTINFO", table)
    with pytest.raises(DatabaseRefused, match=r"network file system \(nfs4\).*--data-dir on a local disk"):
        Database.open(path)


def test_a_row_that_no_program_of_ours_wrote_is_refused(path: Path) -> None:
    with opened(path) as database:
        assert groups.write(database, [Commit(generation=1, number=1, rows=submitted(1))]).done == 1
    for column, value in (("status", "comp?eted"), ("queued_at", "yesterday"), ("ranked_at", None)):
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            (kept,) = other.execute(f"SELECT {column} FROM queue").fetchone()
            other.execute(f"UPDATE queue SET {column} = ?", (value,))
        cure = r"a row cannot be read .* gpuyard db restore BACKUP"
        with opened(path) as database, pytest.raises(DatabaseRefused, match=cure):
            database.snapshot(T0)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute(f"UPDATE queue SET {column} = ?", (kept,))


# --- while it is open --------------------------------------------------------------------------------------------


def test_a_file_that_was_replaced_takes_no_commit(path: Path, tmp_path: Path) -> None:
    with opened(path) as database:
        path.rename(tmp_path / "away.db")
        with pytest.raises(DiskFailed, match="was moved, deleted or replaced"), database.transaction():
            raise AssertionError("not reached")
        shutil.copy(tmp_path / "away.db", path)
        with pytest.raises(DiskFailed, match="put the file back"), database.transaction():
            raise AssertionError("not reached")
        path.unlink()
        (tmp_path / "away.db").rename(path)
        assert groups.write(database, [Commit(generation=1, number=1, rows=submitted(1))]).done == 1


def test_a_lock_of_another_program_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.01)
    with opened(path) as database, closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        outcome = groups.write(database, [Commit(generation=1, number=1, rows=submitted(1))])
        assert (outcome.done, outcome.disk, outcome.broken) == (0, True, False)
        assert "keeps" in (outcome.error or "") and "locked" in (outcome.error or "")
        shell.execute("ROLLBACK")
        assert groups.write(database, [Commit(generation=1, number=1, rows=submitted(1))]).done == 1


def test_an_error_in_the_block_takes_everything_back(path: Path) -> None:
    with opened(path) as database:
        with pytest.raises(GuardFailed), database.transaction() as connection:
            connection.execute("INSERT INTO setting VALUES ('a', '1')")
            raise GuardFailed("no")
        assert database.snapshot(T0).settings == {}


# --- epochs ------------------------------------------------------------------------------------------------------


def test_a_backup_put_back_by_hand_raises_the_epoch(path: Path, tmp_path: Path) -> None:
    fill(path, 2)
    shutil.copy(path, tmp_path / "kept.db")
    fill_more = (*submitted(3), *started(3, 3), *ended(3, 3))
    with opened(path) as database:
        assert groups.write(database, [Commit(generation=1, number=1, rows=fill_more)]).done == 1
    path.write_bytes((tmp_path / "kept.db").read_bytes())
    with opened(path) as database:
        # The same inode, yet an older supervisor epoch than the lock file remembers.
        assert database.db_epoch == 2
        assert database.snapshot(T0).next_fence == 1
    assert epoch_of(path) == 2


def test_a_copy_raises_the_epoch(path: Path, tmp_path: Path) -> None:
    fill(path)
    (tmp_path / "copy").mkdir()
    shutil.copy(path, tmp_path / "copy" / "jobs.db")
    assert epoch_of(tmp_path / "copy" / "jobs.db") == 2
    assert epoch_of(path) == 1


def test_a_run_that_the_database_does_not_know_raises_the_epoch(path: Path) -> None:
    fill(path)
    (path.parent / "runs" / str(make_fence(4, 9))).mkdir(parents=True)
    with opened(path) as database:
        assert database.db_epoch == 5
        assert database.snapshot(T0).next_fence == 1


def test_runs_that_the_database_knows_do_not(path: Path) -> None:
    fill(path)
    for name in (str(make_fence(1, 1)), str(make_fence(1, 3)), "notes", "9" * 30):
        (path.parent / "runs" / name).mkdir(parents=True)
    assert epoch_of(path) == 1


def test_a_new_database_in_an_old_folder_does_not_repeat_fences(path: Path) -> None:
    fill(path)
    path.unlink()
    assert epoch_of(path) == 2


def test_each_supervisor_has_an_epoch_of_its_own(path: Path) -> None:
    seen = []
    for _ in range(3):
        with opened(path) as database:
            seen.append(identity.get(database.connection, identity.SUPERVISOR))
            written = json.loads(lock_path(path).read_text())
            assert written == {"pid": os.getpid(), "db_epoch": 1, "supervisor": seen[-1]}
    assert seen == [1, 2, 3]
