"""A QueueStore under test, and what it writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gpuyard.actors.model.commands import (
    Commit,
)
from gpuyard.actors.store import groups
from gpuyard.actors.store.database import Database
from gpuyard.actors.store.groups import Outcome
from tests.support_store import Bench, bench


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def store(path: Path) -> Iterator[Bench]:
    with bench(path) as made:
        yield made
        assert made.crashes == []


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The numbers of the commits of each transaction, as they are written."""
    seen: list[list[int]] = []
    real = groups.write

    def write(database: Database, commits: Sequence[Commit], *, durable: bool = True) -> Outcome:
        seen.append([commit.number for commit in commits])
        return real(database, commits, durable=durable)

    monkeypatch.setattr(groups, "write", write)
    return seen
