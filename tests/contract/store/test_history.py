"""History beside a writing store: its own connection, its own answers, and errors in words."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gpuyard.actors.base import LocalRef, start
from gpuyard.actors.history import History
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import (
    GetEvents,
    GetJob,
    GetLastEvent,
    GetRunTimes,
    GetStats,
    ListBlobs,
    ListJobs,
    Ready,
)
from gpuyard.actors.model.errors import NotFound, StoreFailed, Unsupported
from gpuyard.actors.model.job import JobSpec
from gpuyard.actors.model.message import Shutdown
from gpuyard.actors.model.sent_file import SentFile
from gpuyard.actors.store.soundness import connect_read_only
from gpuyard.actors.store.wal import wal_path
from tests.support import eventually
from tests.support_store import Bench, bench, ended, event_of, started, submitted


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "jobs.db") as made:
        made.load(1)
        yield made


@pytest.fixture
def history(store: Bench) -> Iterator[LocalRef]:
    ref = start(History, store.context(names.HISTORY), store.path)
    yield store.directory.ref(names.HISTORY)
    store.directory.ref(names.HISTORY).ask(Shutdown()).result(10)
    eventually(lambda: not ref.is_alive())
    assert store.crashes == []


def test_a_durable_commit_is_seen_at_once(store: Bench, history: LocalRef) -> None:
    for number in range(1, 30):
        store.commit(1, number, *submitted(number))
        store.durable(1, number)
        page = history.ask(ListJobs(limit=2)).result(5)
        assert (page.total, page.records[0].entry.id) == (number, number)


def test_every_question_is_answered(store: Bench, history: LocalRef) -> None:
    store.commit(1, 1, *submitted(1), *started(1, 1), *ended(1, 1))
    store.commit(1, 2, *submitted(2))
    store.durable(1, 2)
    assert history.ask(Ready()).result(5) is True
    record = history.ask(GetJob(job_id="job000001")).result(5)
    assert (record.entry.status, record.spec["config_name"], len(record.attempts)) == ("completed", "sdxl", 1)
    assert record.events == [event_of(1, "job000001")]
    assert history.ask(GetJob(job_id="job000002", prefix=True)).result(5).entry.status == "pending"
    assert [row.id for row in history.ask(GetEvents(after=1)).result(5)] == [2]
    assert history.ask(GetLastEvent()).result(5) == (1, 2)
    assert history.ask(GetRunTimes(config_names=("sdxl", "x"))).result(5) == {"sdxl": [51.0], "x": []}
    assert [r.entry.id for r in history.ask(ListJobs(finished_only=True)).result(5).records] == [1]
    with pytest.raises(NotFound):
        history.ask(GetJob(job_id="nobody")).result(5)
    with pytest.raises(Unsupported):
        history.ask(GetStats()).result(5)


def test_a_reading_history_does_not_keep_the_log_from_being_reused(store: Bench, history: LocalRef) -> None:
    size = wal_path(store.path).stat().st_size
    number = 0
    # Three times the space of the log, in rows: it must have begun anew meanwhile.
    for _ in range(60):
        for _ in range(50):
            number += 1
            store.commit(1, number, *submitted(number))
        store.durable(1, number)
        history.ask(ListJobs(limit=500)).result(10)
    assert wal_path(store.path).stat().st_size <= 2 * size


def test_a_damaged_database_is_said_and_a_mended_one_is_read_again(store: Bench, history: LocalRef) -> None:
    store.commit(1, 1, *submitted(1))
    store.durable(1, 1)
    store.stop()
    whole = store.path.read_bytes()
    store.path.write_bytes(b"garbage" * 1000)
    with pytest.raises(StoreFailed, match="gpuyard db restore BACKUP"):
        history.ask(GetJob(job_id="job000001")).result(5)
    store.path.write_bytes(whole)
    assert history.ask(GetJob(job_id="job000001")).result(5).entry.id == 1


def test_a_stopped_store_leaves_one_whole_file_though_somebody_reads(
    store: Bench, history: LocalRef, tmp_path: Path
) -> None:
    store.commit(1, 1, *submitted(1))
    store.durable(1, 1)
    assert history.ask(ListJobs()).result(5).total == 1
    store.stop()
    assert wal_path(store.path).stat().st_size == 0
    copy = tmp_path / "copy.db"
    shutil.copy(store.path, copy)
    with closing(sqlite3.connect(copy)) as other:
        assert other.execute("SELECT job_id FROM queue").fetchall() == [("job000001",)]
    assert history.ask(ListJobs()).result(5).total == 1


def test_history_cannot_write(store: Bench) -> None:
    with (
        closing(connect_read_only(store.path)) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("DELETE FROM setting")


def test_what_jobs_brought_along_is_known_as_long_as_they_are(store: Bench, history: LocalRef) -> None:
    one, other = SentFile(blob="b1", size=1), SentFile(blob="b2", size=2, executable=True)
    for number, files in ((1, {"train.py": one, "lib/go": other}), (2, {"again.py": one}), (3, {})):
        spec = JobSpec(argv=("true",), files=files, metadata={"files": {"not": "one"}})
        store.commit(1, number, *submitted(number, spec=spec))
        store.durable(1, number)
    assert history.ask(ListBlobs()).result(5) == ["b1", "b2"]
