"""A host for each test; what it leaves behind fails it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keeper.host import Host, comm, kill
from tests.support import eventually


@pytest.fixture
def cold_host(tmp_path: Path) -> Iterator[Host]:
    """Not booted yet. Whatever a test leaves alive is ended, and a crash of an actor fails it."""
    host = Host(tmp_path / "data")
    yield host
    host.shut_down()
    assert not host.crashes
    for record in (host.data_dir / "runs").glob("*/run.json"):
        for pid in host.processes(int(record.parent.name)):
            kill(pid)
    for pid in host.ours():
        if comm(pid) == "gpuyard-keeper":
            kill(pid)
    eventually(lambda: not host.ours(), 10, "the zygote or a keeper was left behind")


@pytest.fixture
def host(cold_host: Host) -> Host:
    cold_host.boot()
    return cold_host
