"""A disk that is really full: nothing is accepted, everything accepted is there, and it goes on by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuyard.actors.model.commands import LoadSnapshot
from gpuyard.actors.model.events import CommitFailed, Committed, SnapshotLoaded
from gpuyard.actors.store import admin
from tests import support_disk
from tests.support import eventually
from tests.support_store import Bench, bench, submitted


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    with support_disk.small_disk(tmp_path / "small", 12) as folder:
        yield folder


def _commit_until_full(store: Bench, generation: int, first: int) -> tuple[int, CommitFailed]:
    """The next number after those that were acknowledged, and how the first failure reads."""
    number = first
    while True:
        store.commit(generation, number - first + 1, *submitted(number, error_message="x" * 20_000))
        done = eventually(
            lambda number=number: [  # type: ignore[misc]
                message
                for message in store.of(Committed) + store.of(CommitFailed)
                if (message.generation, message.number) == (generation, number - first + 1)
            ]
        )[0]
        if isinstance(done, CommitFailed):
            return number, done
        number += 1


def test_a_full_disk(small_disk: Path) -> None:
    path = small_disk / "jobs.db"
    with bench(path) as store:
        store.load(1)
        ballast = support_disk.fill(small_disk)
        full, failed = _commit_until_full(store, 1, 1)
        assert failed.disk
        assert "is full: nothing was accepted; free some space" in failed.error

        # Reading goes on, and so does refusing.
        store.store.tell(LoadSnapshot(generation=2))
        shown = store.wait_for(SnapshotLoaded, 2)
        assert ([job.id for job in shown.snapshot.jobs], shown.writable) == (list(range(1, full)), False)
        store.commit(2, 1, *submitted(full, error_message="x" * 200_000))
        assert store.failed(2, 1).disk

        ballast.unlink()
        assert [job.id for job in store.load(3).jobs] == list(range(1, full))
        for number in range(full, full + 20):
            store.commit(3, number - full + 1, *submitted(number))
        store.durable(3, 20)
        assert store.crashes == []
    assert admin.check(path) == []
    with bench(path) as store:
        assert [job.id for job in store.load(1).jobs] == list(range(1, full + 20))
