"""Real actors behind a real link, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetLimits
from gpuyard.actors.model.limits import Limits
from gpuyard.transport.link import Link
from tests import leaks
from tests.answering import Cast, cast


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Longer than an AF_UNIX address may be."""
    return tmp_path / ("long" * 30) / "sockets"


@pytest.fixture
def yard(folder: Path) -> Iterator[Cast]:
    """A scheduler that knows its limits, and the link in front of it."""
    with cast() as made:
        made.play(names.SCHEDULER, {GetLimits: Limits(max_concurrent=7)})
        made.start(Link, names.LINK, folder)
        yield made
        assert made.crashes == []
