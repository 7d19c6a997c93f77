"""A start on this host that nobody waits for leaves when it is written, while the disk syncs; all else waits for it."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from gpuyard.actors.base import start
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import (
    Commit,
    ForgetRun,
    RunSpec,
    WantRun,
)
from gpuyard.actors.model.ids import make_fence
from gpuyard.actors.model.message import Message
from gpuyard.actors.store import groups
from gpuyard.actors.store.database import Database
from gpuyard.actors.store.faults import sync_failed
from gpuyard.actors.store.groups import Outcome
from tests.support import eventually
from tests.support_store import BAD, Bench, Recorder, started, submitted


@pytest.fixture
def keeper(store: Bench) -> Iterator[list[Message]]:
    """What the ProcessKeeper is told."""
    told: list[Message] = []
    ref = start(Recorder, store.context(names.KEEPER), told)
    yield told
    ref.stop()


@pytest.fixture
def before_sync(keeper: list[Message], monkeypatch: pytest.MonkeyPatch) -> list[list[Message]]:
    """What the ProcessKeeper had been told when the disk was asked to sync what was only written."""
    seen: list[list[Message]] = []
    real = groups.sync

    def sync(database: Database, written: Outcome) -> Outcome:
        eventually(lambda: len(keeper) > 0)
        seen.append(list(keeper))
        return real(database, written)

    monkeypatch.setattr(groups, "sync", sync)
    return seen


START = WantRun(run=RunSpec(fence=make_fence(1, 1), job_id="job000001", attempt=1, argv=("true",)))
FORGET = ForgetRun(fence=make_fence(1, 0))


def test_a_start_that_nobody_waits_for_leaves_before_the_sync_and_nothing_else_does(
    store: Bench, keeper: list[Message], before_sync: list[list[Message]]
) -> None:
    store.load(1)
    store.commit(1, 1, *submitted(1))
    store.durable(1, 1)
    effects = ((names.KEEPER, START), (names.KEEPER, FORGET))
    store.commit(1, 2, *started(1, 1), effects=effects, awaited=False)
    store.durable(1, 2)
    eventually(lambda: keeper == [START, FORGET])
    assert before_sync == [[START]]


def test_what_was_only_written_is_there_for_other_processes_and_later_commits_are_durable(
    store: Bench, keeper: list[Message], before_sync: list[list[Message]], path: Path
) -> None:
    store.load(1)
    store.commit(1, 1, *submitted(1))
    store.durable(1, 1)
    store.commit(1, 2, *started(1, 1), effects=((names.KEEPER, START),), awaited=False)
    store.durable(1, 2)
    store.commit(1, 3, *submitted(2))
    store.durable(1, 3)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT status FROM queue ORDER BY id").fetchall() == [("running",), ("pending",)]
    assert len(before_sync) == 1


@pytest.mark.parametrize(
    ("to", "message", "awaited"),
    [
        (names.KEEPER, START, True),
        (names.WORKERS, START, False),
        (names.CLOUD, START, False),
        (names.KEEPER, FORGET, False),
    ],
    ids=["somebody waits", "another host's", "a provider's", "no start"],
)
def test_all_else_waits_for_the_disk(
    store: Bench, to: str, message: Message, awaited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    real = groups.write

    def write(database: Database, commits: Sequence[Commit], *, durable: bool = True) -> Outcome:
        asked.append(durable)
        return real(database, commits, durable=durable)

    monkeypatch.setattr(groups, "write", write)
    store.load(1)
    store.commit(1, 1, *submitted(1), effects=((to, message),), awaited=awaited)
    store.durable(1, 1)
    assert asked == [True]


def test_a_start_does_not_leave_ahead_of_one_in_its_group_that_somebody_waits_for(
    store: Bench, path: Path, keeper: list[Message], before_sync: list[list[Message]], writes: list[list[int]]
) -> None:
    store.load(1)
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        store.commit(1, 1, *submitted(1))
        eventually(lambda: writes == [[1]])
        store.commit(1, 2, *started(1, 1), effects=((names.KEEPER, START),), awaited=False)
        store.commit(1, 3, *submitted(2))
        shell.execute("ROLLBACK")
    store.durable(1, 3)
    eventually(lambda: keeper == [START])
    assert (writes, before_sync) == ([[1], [2, 3]], [])


def test_a_start_behind_a_failed_guard_stays(store: Bench, keeper: list[Message]) -> None:
    store.load(1)
    store.commit(1, 1, BAD, effects=((names.KEEPER, START),), awaited=False)
    store.failed(1, 1)
    store.load(2)
    store.commit(2, 1, *submitted(1), effects=((names.KEEPER, FORGET),))
    store.durable(2, 1)
    eventually(lambda: keeper == [FORGET])


def test_a_sync_that_fails_voids_the_generation_and_the_next_one_finds_what_was_written(
    store: Bench, keeper: list[Message], before_sync: list[list[Message]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.load(1)
    store.commit(1, 1, *submitted(1))
    store.durable(1, 1)

    def fail(_: Database) -> None:
        raise sync_failed(OSError(errno.EIO, "Input/output error"), store.path)

    with monkeypatch.context() as broken:
        broken.setattr(Database, "sync", fail)
        store.commit(1, 2, *started(1, 1), effects=((names.KEEPER, START), (names.KEEPER, FORGET)), awaited=False)
        failed = store.failed(1, 2)
    assert (failed.disk, keeper, before_sync) == (True, [START], [[START]])
    assert "reports an error (Input/output error): check the disk" in failed.error
    # The run that was begun is known to whoever reads the store now, so it is wanted again and not begun twice.
    state = store.load(2)
    assert [attempt.fence for attempt in state.attempts] == [make_fence(1, 1)]
