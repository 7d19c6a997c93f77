"""Servers on disks that one can fill or lock, each ended before its disk is taken away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import support_disk
from tests.e2e.server import Server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    with support_disk.small_disk(tmp_path / "small", 16) as folder:
        yield folder


@pytest.fixture
def server(tmp_path: Path, small_disk: Path) -> Iterator[Server]:
    """Not yet started; its data is on the small disk."""
    made = Server(tmp_path, gpus="4")
    made.data = small_disk / "data"
    yield made
    made.close()
