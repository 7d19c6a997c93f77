"""QueueStore as the Scheduler knows it: ordered, in groups, all or nothing, and back again after a fault."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gpuyard.actors import queue_store
from gpuyard.actors.base import Context, Directory, start
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import (
    GetCommitTimes,
    GetStats,
    LoadSnapshot,
    Ready,
)
from gpuyard.actors.model.commit import DeleteFinished, DeleteJobRow, PutSetting
from gpuyard.actors.model.errors import DatabaseRefused, Unsupported
from gpuyard.actors.model.events import CommitFailed, Committed, SnapshotLoaded
from gpuyard.actors.model.job import Status
from gpuyard.actors.model.message import Shutdown
from gpuyard.actors.store.database import Database
from tests.support import eventually
from tests.support_store import BAD, Bench, bench, ended, opened, started, submitted


def test_an_acknowledged_commit_is_on_the_disk(store: Bench, path: Path) -> None:
    assert store.load(1).jobs == ()
    store.commit(1, 1, *submitted(1), PutSetting("limits", {"max_concurrent": 9}))
    store.durable(1, 1)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT job_id, status FROM queue").fetchall() == [("job000001", "pending")]
    state = store.load(2)
    assert ([job.id for job in state.jobs], state.settings) == ([1], {"limits": {"max_concurrent": 9}})
    assert store.store.ask(Ready()).result(5) is True


def test_everything_is_there_after_a_restart(path: Path) -> None:
    with bench(path) as store:
        first = store.load(1)
        store.commit(1, 1, *submitted(1), *started(1, 1))
        store.durable(1, 1)
    with bench(path) as store:
        state = store.load(1)
        assert [job.status for job in state.jobs] == [Status.RUNNING]
        assert (state.db_id, state.db_epoch) == (first.db_id, first.db_epoch)
        assert (len(state.attempts), len(state.holds), state.next_fence) == (1, 1, 2)


def test_all_that_waits_shares_one_transaction(store: Bench, path: Path, writes: list[list[int]]) -> None:
    store.load(1)
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        # The first commit finds the database locked; all others gather behind it.
        shell.execute("BEGIN IMMEDIATE")
        store.commit(1, 1, *submitted(1))
        eventually(lambda: writes == [[1]])
        for number in range(2, 301):
            store.commit(1, number, *submitted(number))
        shell.execute("ROLLBACK")
    store.durable(1, 300)
    assert writes == [[1], list(range(2, 301))]
    assert [message.number for message in store.of(Committed)] == [1, 300]


def test_a_very_long_group_is_cut(
    store: Bench, path: Path, writes: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_store, "GROUP_ROWS", 20)
    store.load(1)
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        store.commit(1, 1, *submitted(1))
        eventually(lambda: writes == [[1]])
        for number in range(2, 32):
            store.commit(1, number, *submitted(number))
        shell.execute("ROLLBACK")
    store.durable(1, 31)
    assert [len(group) for group in writes] == [1, 10, 10, 10]


def test_a_failed_guard_voids_its_generation_and_nothing_before_it(store: Bench) -> None:
    store.load(1)
    store.commit(1, 1, *submitted(1))
    store.commit(1, 2, *submitted(2), BAD)
    store.commit(1, 3, *submitted(3))
    failed = store.failed(1, 2)
    assert (failed.error, failed.disk) == ("job nobody is not pending", False)
    assert "earlier commit failed" in store.failed(1, 3).error
    store.durable(1, 1)
    store.commit(1, 4, *submitted(4))
    assert "earlier commit failed" in store.failed(1, 4).error
    assert [job.id for job in store.load(2).jobs] == [1]
    store.commit(2, 1, *submitted(2))
    store.durable(2, 1)


def test_an_older_generation_is_refused(store: Bench) -> None:
    store.commit(0, 1, *submitted(9))
    store.failed(0, 1)
    store.load(1)
    store.load(5)
    store.commit(1, 1, *submitted(1))
    assert "newer generation" in store.failed(1, 1).error
    store.commit(5, 1, *submitted(1))
    store.durable(5, 1)
    assert [job.id for job in store.load(6).jobs] == [1]


def test_a_lost_commit_is_noticed(store: Bench) -> None:
    store.load(1)
    store.commit(1, 1, *submitted(1))
    store.commit(1, 3, *submitted(3))
    assert "lost on its way" in store.failed(1, 2).error
    store.durable(1, 1)
    store.commit(1, 4, *submitted(4))
    store.failed(1, 4)
    assert [job.id for job in store.load(2).jobs] == [1]


def test_a_snapshot_has_the_commits_that_were_sent_before_it(store: Bench) -> None:
    store.load(1)
    for number in range(1, 51):
        store.commit(1, number, *submitted(number))
    assert len(store.load(2).jobs) == 50
    # And they were acknowledged first.
    kinds = [type(message) for message in store.told]
    assert kinds.index(Committed) < len(kinds) - 1 - kinds[::-1].index(SnapshotLoaded)


def test_results_of_deletes_come_with_the_acknowledgement(store: Bench) -> None:
    store.load(1)
    store.commit(1, 1, *submitted(1), *started(1, 1), *ended(1, 1))
    store.commit(1, 2, *submitted(2))
    store.commit(1, 3, DeleteJobRow("job000002"), DeleteFinished(before=4e9))
    store.durable(1, 3)
    results = {number: found for message in store.of(Committed) for number, found in message.results.items()}
    assert list(results) == [3]
    assert [(found.found, found.terminal, found.job_ids) for found in results[3]] == [
        (True, False, ()),
        (True, True, ("job000001",)),
    ]


def test_what_waits_is_written_before_the_end(path: Path) -> None:
    with bench(path) as store:
        store.load(1)
        for number in range(1, 201):
            store.commit(1, number, *submitted(number))
    with opened(path) as database:
        assert database.connection.execute("SELECT count(*) FROM queue").fetchone() == (200,)


def test_commit_times_are_kept(store: Bench) -> None:
    store.load(1)
    assert store.store.ask(GetCommitTimes()).result(5) == []
    for number in range(1, 301):
        store.commit(1, number, PutSetting("n", number))
        store.durable(1, number)
    times = store.store.ask(GetCommitTimes()).result(5)
    assert len(times) == 256
    assert all(0 < seconds < 60 for seconds in times)


def test_a_question_of_another_actor_is_unsupported(store: Bench) -> None:
    with pytest.raises(Unsupported):
        store.store.ask(GetStats()).result(5)


# --- faults ------------------------------------------------------------------------------------------------------


def test_a_locked_database_is_said_and_recovers(store: Bench, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.load(1)
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        store.commit(1, 1, *submitted(1))
        failed = store.failed(1, 1)
        assert failed.disk
        assert "locked" in failed.error
        shell.execute("ROLLBACK")
    assert store.load(2).jobs == ()
    store.commit(2, 1, *submitted(1))
    store.durable(2, 1)


def test_what_is_durable_can_be_read_while_nothing_can_be_written(
    store: Bench, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials: list[Database] = []
    real = Database.try_to_write

    def try_to_write(database: Database) -> None:
        trials.append(database)
        real(database)

    monkeypatch.setattr(Database, "try_to_write", try_to_write)
    store.load(1)
    store.commit(1, 1, *submitted(1))
    store.durable(1, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        store.commit(1, 2, *submitted(2))
        store.failed(1, 2)
        store.store.tell(LoadSnapshot(generation=2))
        shown = store.wait_for(SnapshotLoaded, 2)
        assert ([job.id for job in shown.snapshot.jobs], shown.writable) == ([1], False)
        # It tries again and again, and shows nothing anew meanwhile.
        eventually(lambda: len(trials) >= 2, timeout=30)
        assert len(store.of(SnapshotLoaded)) == 2
        shell.execute("ROLLBACK")
    last = eventually(lambda: [shown for shown in store.of(SnapshotLoaded)[2:] if shown.writable])[0]
    assert (last.generation, [job.id for job in last.snapshot.jobs]) == (2, [1])
    store.commit(2, 1, *submitted(2))
    store.durable(2, 1)


def test_a_database_that_was_moved_takes_nothing_until_it_is_back(store: Bench, path: Path, tmp_path: Path) -> None:
    store.load(1)
    store.commit(1, 1, *submitted(1))
    store.durable(1, 1)
    path.rename(tmp_path / "away.db")
    store.commit(1, 2, *submitted(2))
    failed = store.failed(1, 2)
    assert failed.disk
    assert "put the file back" in failed.error
    # The Scheduler asks again and again; each time it waits until the file is there.
    store.store.tell(LoadSnapshot(generation=2))
    store.store.tell(LoadSnapshot(generation=3))
    assert store.store.ask(Ready()).result(5)
    assert [message.generation for message in store.of(SnapshotLoaded)] == [1]
    (tmp_path / "away.db").rename(path)
    shown = eventually(lambda: [shown for shown in store.of(SnapshotLoaded)[1:] if shown.writable])
    assert [(one.generation, [job.id for job in one.snapshot.jobs]) for one in shown] == [(3, [1])]
    store.commit(3, 1, *submitted(2))
    store.durable(3, 1)


def test_failures_in_a_row_are_no_busy_loop(store: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_store, "FIRST_PAUSE", 0.002)
    pauses: list[float] = []
    real = queue_store.QueueStore.inbox.fget  # type: ignore[attr-defined]

    class Spy:
        def __init__(self, inbox: object) -> None:
            self._inbox = inbox

        def after(self, seconds: float, message: object) -> None:
            pauses.append(seconds)
            self._inbox.after(seconds, message)  # type: ignore[attr-defined]

        def __getattr__(self, name: str) -> object:
            return getattr(self._inbox, name)

    store.load(1)
    monkeypatch.setattr(queue_store.QueueStore, "inbox", property(lambda actor: Spy(real(actor))))
    for generation in range(1, 5):
        store.commit(generation, 1, BAD)
        store.failed(generation, 1)
        store.load(generation + 1)
    assert pauses == [0.002, 0.004, 0.008, 0.016]
    store.commit(5, 1, *submitted(1))
    store.durable(5, 1)
    store.commit(5, 2, BAD)
    store.failed(5, 2)
    store.load(6)
    assert pauses[-1] == 0.002


def test_a_damaged_database_stops_the_start_with_the_cure(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"?" * 9000)
    crashes: list[BaseException] = []
    directory = Directory()
    context = Context(name=names.STORE, directory=directory, crashed=lambda _name, error: crashes.append(error))
    start(queue_store.QueueStore, context, path)
    eventually(lambda: crashes)
    assert isinstance(crashes[0], DatabaseRefused)
    assert "gpuyard db restore BACKUP" in crashes[0].detail


def test_damage_while_it_runs_ends_the_store_instead_of_hiding_jobs(path: Path) -> None:
    with bench(path) as store:
        store.load(1)
        store.commit(1, 1, *submitted(1))
        store.durable(1, 1)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("UPDATE queue SET queued_at = 'x'")
        store.store.tell(LoadSnapshot(generation=2))
        eventually(lambda: store.crashes)
        assert "gpuyard db restore BACKUP" in str(store.crashes[0])
    # Its lock is free again: the restarted one is refused for what is really wrong.
    with opened(path) as database, pytest.raises(DatabaseRefused, match="a row cannot be read"):
        database.snapshot(0.0)


def test_a_restarted_store_waits_for_the_one_before_it(path: Path) -> None:
    with bench(path) as first:
        first.load(1)
        first.commit(1, 1, *submitted(1))
        first.durable(1, 1)
        with bench(path) as second:
            first.store.ask(Shutdown()).result(10)
            assert len(second.load(1).jobs) == 1
            assert second.crashes == []


def test_a_second_supervisor_does_not_start(store: Bench, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_store, "PATIENCE", 0.0)
    store.load(1)
    crashes: list[BaseException] = []
    context = Context(name="other", directory=Directory(), crashed=lambda _name, error: crashes.append(error))
    start(queue_store.QueueStore, context, path)
    eventually(lambda: crashes)
    assert isinstance(crashes[0], DatabaseRefused)
    assert "in use by another supervisor" in crashes[0].detail
    assert not store.of(CommitFailed)


def test_a_copy_of_the_data_is_another_database(store: Bench, path: Path, tmp_path: Path) -> None:
    store.load(1)
    store.commit(1, 1, *submitted(1), *started(1, 1))
    store.durable(1, 1)
    (tmp_path / "copy").mkdir()
    for name in ("jobs.db", "jobs.db-wal"):
        shutil.copy(tmp_path / name, tmp_path / "copy" / name)
    with bench(tmp_path / "copy" / "jobs.db") as other:
        state = other.load(1)
        assert (state.db_epoch, len(state.attempts), state.next_fence) == (2, 1, 1)
