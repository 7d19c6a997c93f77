"""One server on a host of its own for all tests of a file; workers are made by the tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.net.fleet import Machine, NetServer
from tests.net.hosts import host, network_or_skip
from tests.net.scenes import MakeWorker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetServer]:
    network_or_skip()
    with host() as machine:
        made = NetServer(tmp_path_factory.mktemp("server"), machine)
        made.start()
        yield made
        made.close()


@pytest.fixture
def make_worker(server: NetServer, tmp_path: Path) -> Iterator[MakeWorker]:
    """Make and start a worker whose labels are given: `make_worker("box", a="1")`."""
    with ExitStack() as stack:

        def make(name: str, gpus: int = 1, **labels: str) -> Machine:
            worker = Machine(server, tmp_path / name, name, gpus, **labels)
            stack.callback(worker.retire)
            return worker.launch()

        yield make
