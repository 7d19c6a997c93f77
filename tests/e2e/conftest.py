"""Fixtures of the end-to-end tests: a fresh real server for each test, and nothing of it left afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clusters.fixtures import ray_address as ray_address, slurm_cluster as slurm_cluster
from tests.e2e.server import Server

MakeServer = Callable[..., Server]


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[MakeServer]:
    """Make (not start) servers; each gets a folder of its own."""
    made: list[Server] = []

    def make(*flags: str, gpus: str | None = "4", **environ: Any) -> Server:
        folder = tmp_path / f"server-{len(made)}"
        folder.mkdir()
        made.append(Server(folder, *flags, gpus=gpus, **environ))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    """A ready server with 4 simulated GPUs that runs up to 4 local jobs."""
    started = make_server().start()
    started.limits(local_job_max_concurrent=4)
    return started
