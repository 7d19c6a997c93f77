"""check, backup and restore, as `gpuyard db …` calls them: with the server running where that is promised."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from gpuyard.actors.model.commands import Commit
from gpuyard.actors.model.commit import UpdateAttempt
from gpuyard.actors.model.errors import DatabaseRefused, InvalidInput, NotFound
from gpuyard.actors.model.ids import make_fence
from gpuyard.actors.store import admin, groups, identity
from gpuyard.actors.store.database import Database
from gpuyard.actors.store.soundness import restoring_path
from gpuyard.actors.store.wal import shm_path, wal_path
from tests.support import eventually
from tests.support_store import T0, bench, ended, job_of, opened, started, submitted


def write(database: Database, *numbers: int) -> None:
    for n in numbers:
        rows = (*submitted(n), *started(n, n), *ended(n, n))
        assert groups.write(database, [Commit(generation=1, number=n, rows=rows)]).done == 1


def fill(path: Path, *numbers: int) -> None:
    with opened(path) as database:
        write(database, *numbers)


def ids(path: Path) -> list[int]:
    with opened(path) as database:
        return [number for (number,) in database.connection.execute("SELECT id FROM queue ORDER BY id")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "jobs.db"


# --- backup ------------------------------------------------------------------------------------------------------


def test_a_backup_is_one_plain_private_file_that_is_whole(path: Path, tmp_path: Path) -> None:
    fill(path, 1, 2, 3)
    copied = admin.backup(path, tmp_path / "backup.db")
    assert (copied.jobs, copied.events, copied.bytes) == (3, 3, copied.path.stat().st_size)
    assert stat.S_IMODE(copied.path.stat().st_mode) == 0o600
    assert sorted(file.name for file in tmp_path.iterdir()) == ["backup.db", "data"]
    assert admin.check(copied.path) == []
    assert copied.path.read_bytes()[18] == 1


def test_a_backup_while_the_server_writes_is_one_moment(path: Path, tmp_path: Path) -> None:
    """Each commit holds a job, its attempt and its event: a backup never has one without the others."""
    ended_writing = threading.Event()
    with bench(path) as store:
        store.load(1)

        def keep_writing() -> None:
            number = 0
            while not ended_writing.is_set() and number < 5000:
                number += 1
                store.commit(1, number, *submitted(number), *started(number, number), *ended(number, number))
                if number % 20 == 0:
                    store.durable(1, number)

        writer = threading.Thread(target=keep_writing)
        writer.start()
        try:
            sizes = []
            for turn in range(5):
                before = store.of(type(store.told[-1]))[-1]
                copied = admin.backup(path, tmp_path / f"backup{turn}.db")
                assert copied.jobs == copied.events
                assert admin.check(copied.path) == []
                assert admin.check(path) == []
                sizes.append(copied.jobs)
                eventually(lambda before=before: store.told[-1] is not before)  # type: ignore[misc]
        finally:
            ended_writing.set()
            writer.join()
        assert sizes == sorted(sizes)
        assert sizes[-1] > sizes[0]


def test_a_backup_has_what_is_still_in_the_log(path: Path, tmp_path: Path) -> None:
    with opened(path) as database:
        write(database, 1, 2)
        assert admin.backup(path, tmp_path / "backup.db").jobs == 2


def test_a_backup_never_overwrites_by_accident(path: Path, tmp_path: Path) -> None:
    fill(path, 1)
    destination = tmp_path / "backup.db"
    destination.write_text("mine")
    with pytest.raises(InvalidInput, match="exists: choose another name, or add --force"):
        admin.backup(path, destination)
    assert destination.read_text() == "mine"
    admin.backup(path, destination, force=True)
    assert admin.check(destination) == []
    with pytest.raises(InvalidInput, match="cannot hold a backup"):
        admin.backup(path, path, force=True)
    with pytest.raises(InvalidInput, match="cannot hold a backup"):
        admin.backup(path, tmp_path, force=True)
    with pytest.raises(NotFound, match="there is no database"):
        admin.backup(tmp_path / "nothing.db", tmp_path / "b.db")
    with pytest.raises(DatabaseRefused):
        admin.backup(path, tmp_path / "no" / "folder.db")


def test_a_damaged_database_gives_no_backup(path: Path, tmp_path: Path) -> None:
    fill(path, 1, 2)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("DROP TRIGGER queue_terminal")
        other.execute("UPDATE queue SET status = 'running' WHERE id = 1")
    with pytest.raises(DatabaseRefused, match="running without a live attempt"):
        admin.backup(path, tmp_path / "backup.db")
    assert list(tmp_path.iterdir()) == [path.parent]


# --- check -------------------------------------------------------------------------------------------------------


def test_a_whole_database_has_no_problems(path: Path) -> None:
    assert admin.check(path) == [f"{path} does not exist"]
    fill(path, 1, 2, 3)
    before = path.read_bytes()
    assert admin.check(path) == []
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE attempt SET phase = 'running' WHERE job_id = 'job000001'", "is live, but its job is not running"),
        ("UPDATE queue SET status = 'running' WHERE id = 1", "job job000001 is running without a live attempt"),
        ("UPDATE queue SET completed_at = NULL WHERE id = 1", "job job000001 has ended without a time of its end"),
        ("UPDATE queue SET completed_at = queued_at WHERE id = 3", "job job000003 has a time of its end"),
        ("UPDATE queue SET position = 3 WHERE id = 4", "two waiting jobs share the place 3"),
        ("UPDATE queue SET queued_at = 'yesterday' WHERE id = 1", "job job000001 cannot be read"),
        ("UPDATE queue SET status = 'odd' WHERE id = 3", "job job000003 cannot be read: 'odd' is not a valid Status"),
        ("UPDATE queue SET metadata = '{' WHERE id = 1", "job job000001 has metadata that is no JSON"),
        ("UPDATE job_spec SET spec = '{\"argv\": 7}' WHERE id = 1", "job job000001 cannot be read"),
        ("DELETE FROM job_spec WHERE id = 1", "job job000001 has lost what it asked for"),
        ("UPDATE attempt SET gpus = '[1]' WHERE job_id = 'job000002'", "cannot be read"),
        (
            "INSERT INTO event (id, at, kind, job_id, who, data, cause) SELECT 91, at, 'job_completed', 'job000001',"
            " '', '{}', '' FROM event WHERE id = 1;"
            "INSERT INTO event (id, at, kind, job_id, who, data, cause) SELECT 92, at, 'job_started', 'job000001',"
            " '', '{}', '' FROM event WHERE id = 1",
            "job job000001 went on after its end",
        ),
        (
            "INSERT INTO event (id, at, kind, job_id, who, data, cause) SELECT 91, at, 'job_failed', 'job000003',"
            " '', '{}', '' FROM event WHERE id = 1",
            "job job000003 has ended by its story, but has not",
        ),
        ("UPDATE gpu_hold SET fence = fence + 5", "belongs to no row of attempt"),
        ("UPDATE event SET data = 'x' WHERE id = 2", "event 2 holds no JSON"),
        ("UPDATE event SET at = 'x' WHERE id = 2", "event 2 has no time"),
        ("UPDATE setting SET value = '' WHERE key = 'store.id'", "setting store.id holds no JSON"),
        ("DELETE FROM setting WHERE key = 'store.epoch'", "setting store.epoch is missing"),
    ],
)
def test_what_is_wrong_is_said(path: Path, sql: str, problem: str) -> None:
    fill(path, 1, 2)
    with opened(path) as database:
        group = [Commit(generation=1, number=n, rows=submitted(n)) for n in (3, 4)]
        assert groups.write(database, group).done == 2
        triggers = database.connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for name, _ in triggers:
            other.execute(f"DROP TRIGGER {name}")
        other.executescript(sql)
        for _, text in triggers:
            other.execute(text)
    problems = admin.check(path)
    assert any(problem in text for text in problems), problems


def test_a_missing_trigger_is_said(path: Path) -> None:
    fill(path, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("DROP TRIGGER event_never_goes")
        other.execute("CREATE INDEX my_own ON queue (team_id)")
    assert admin.check(path) == [
        f"{path} is damaged: its schema was changed (trigger event_never_goes);"
        " restore a backup with: gpuyard db restore BACKUP"
    ]


def test_two_open_holds_of_a_gpu_are_said(path: Path) -> None:
    fill(path, 1, 2)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        (sql,) = other.execute("SELECT sql FROM sqlite_master WHERE name = 'gpu_hold_open'").fetchone()
        other.execute("DROP INDEX gpu_hold_open")
        other.execute("UPDATE gpu_hold SET closed_at = NULL")
        other.execute("PRAGMA writable_schema = 1")
        other.execute(
            "INSERT INTO sqlite_master VALUES ('index', 'gpu_hold_open', 'gpu_hold',"
            " (SELECT rootpage FROM sqlite_master WHERE name = 'queue_status'), ?)",
            (sql,),
        )
    assert admin.check(path) != []


# --- restore -----------------------------------------------------------------------------------------------------


def test_a_restore_brings_the_backup_back_and_keeps_what_was_there(path: Path, tmp_path: Path) -> None:
    fill(path, 1, 2)
    admin.backup(path, tmp_path / "backup.db")
    fill(path, 3)
    with pytest.raises(InvalidInput, match=r"is not damaged.*add --force"):
        admin.restore(tmp_path / "backup.db", path)
    restored = admin.restore(tmp_path / "backup.db", path, force=True)
    assert (restored.jobs, restored.db_epoch) == (2, 2)
    assert restored.replaced is not None and restored.replaced.name.startswith("jobs.db.replaced-20")
    assert ids(path) == [1, 2]
    assert admin.check(path) == []
    assert admin.check(restored.replaced) == []
    with closing(sqlite3.connect(restored.replaced)) as old:
        assert old.execute("SELECT count(*) FROM queue").fetchone() == (3,)
    assert not restoring_path(path).exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_number_is_used_again_after_a_restore(path: Path, tmp_path: Path) -> None:
    fill(path, 1, 2)
    admin.backup(path, tmp_path / "backup.db")
    fill(path, 3, 4)
    assert admin.restore(tmp_path / "backup.db", path, force=True).db_epoch == 2
    with opened(path) as database:
        state = database.snapshot(T0)
        assert (state.db_epoch, state.next_fence) == (2, 1)
        assert (state.next_job, state.next_seq, state.next_event) == (5, 5, 5)
    # Once more: the epoch grows past both again.
    assert admin.restore(tmp_path / "backup.db", path, force=True).db_epoch == 3
    with opened(path) as database:
        assert database.db_epoch == 3


def test_the_epoch_grows_past_every_run_folder(path: Path, tmp_path: Path) -> None:
    fill(path, 1)
    admin.backup(path, tmp_path / "backup.db")
    (path.parent / "runs" / str(make_fence(6, 1))).mkdir(parents=True)
    path.unlink()
    assert admin.restore(tmp_path / "backup.db", path).db_epoch == 7


def test_a_damaged_database_is_replaced_without_force(path: Path, tmp_path: Path) -> None:
    fill(path, *range(1, 30))
    admin.backup(path, tmp_path / "backup.db")
    for damage in (b"", b"garbage" * 100, path.read_bytes()[:50_000]):
        path.write_bytes(damage)
        with pytest.raises(DatabaseRefused, match="gpuyard db restore BACKUP"):
            Database.open(path)
        restored = admin.restore(tmp_path / "backup.db", path)
        assert restored.replaced is not None and restored.replaced.read_bytes() == damage
        assert ids(path) == list(range(1, 30))


def test_a_database_with_its_log_moves_aside_together(path: Path, tmp_path: Path) -> None:
    fill(path, 1)
    admin.backup(path, tmp_path / "backup.db")
    with opened(path) as database:
        write(database, 2)
        shutil.copy(path, tmp_path / "kept.db")
        shutil.copy(wal_path(path), tmp_path / "kept.db-wal")
    shutil.copy(tmp_path / "kept.db", path)
    shutil.copy(tmp_path / "kept.db-wal", wal_path(path))
    restored = admin.restore(tmp_path / "backup.db", path, force=True)
    assert restored.replaced is not None
    assert not wal_path(path).exists() and not shm_path(path).exists()
    assert ids(path) == [1]
    with closing(sqlite3.connect(restored.replaced)) as old:
        assert old.execute("SELECT count(*) FROM queue").fetchone() == (2,)


def test_a_restore_waits_for_no_supervisor(path: Path, tmp_path: Path) -> None:
    fill(path, 1)
    admin.backup(path, tmp_path / "backup.db")
    with opened(path), pytest.raises(DatabaseRefused, match="in use by another supervisor"):
        admin.restore(tmp_path / "backup.db", path, force=True)
    assert ids(path) == [1]


def test_what_is_no_good_backup_is_refused_and_nothing_is_touched(path: Path, tmp_path: Path) -> None:
    fill(path, 1)
    before = path.read_bytes()
    bad = tmp_path / "bad.db"
    with pytest.raises(NotFound, match="there is no backup"):
        admin.restore(bad, path, force=True)
    for content in (b"", b"x" * 5000, before[:6000]):
        bad.write_bytes(content)
        with pytest.raises(DatabaseRefused):
            admin.restore(bad, path, force=True)
    with pytest.raises(InvalidInput, match="is the database itself"):
        admin.restore(path, path, force=True)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("jobs.db.*[!k]"))
    assert ids(path) == [1]


def test_an_interrupted_restore_can_be_repeated(path: Path, tmp_path: Path) -> None:
    fill(path, 1, 2)
    admin.backup(path, tmp_path / "backup.db")
    # As if it had ended between the two renames.
    restoring_path(path).touch()
    path.rename(path.with_name("jobs.db.replaced-x"))
    with pytest.raises(DatabaseRefused, match="repeat it"):
        Database.open(path)
    assert admin.restore(tmp_path / "backup.db", path).replaced is None
    assert ids(path) == [1, 2]


def test_a_restore_into_an_empty_folder(path: Path, tmp_path: Path) -> None:
    fill(path, 1)
    admin.backup(path, tmp_path / "backup.db")
    other = tmp_path / "new" / "jobs.db"
    restored = admin.restore(tmp_path / "backup.db", other)
    assert (restored.replaced, restored.db_epoch, ids(other)) == (None, 2, [1])
    assert stat.S_IMODE(other.parent.stat().st_mode) == 0o700


def test_a_running_job_of_a_backup_is_running_again(path: Path, tmp_path: Path) -> None:
    """The Scheduler then learns from the keepers what became of it."""
    with opened(path) as database:
        rows = (*submitted(1), *started(1, 1), UpdateAttempt(make_fence(1, 1), {"phase": "running"}))
        assert groups.write(database, [Commit(generation=1, number=1, rows=rows)]).done == 1
        admin.backup(path, tmp_path / "backup.db")
        done = Commit(generation=1, number=2, rows=ended(1, 1))
        assert groups.write(database, [done]).done == 1
    admin.restore(tmp_path / "backup.db", path, force=True)
    with opened(path) as database:
        state = database.snapshot(T0)
        assert [job.job_id for job in state.jobs] == [job_of(1).job_id]
        assert [attempt.fence for attempt in state.attempts] == [make_fence(1, 1)]
        assert identity.get(database.connection, identity.BACKUP) is None
