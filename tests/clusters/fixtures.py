"""Clusters as fixtures: started once a session, and skipped with a word where they are not installed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import ray_head
from tests.clusters.ray import RayCluster, command as ray_command
from tests.clusters.ray_head import SHARED
from tests.clusters.slurm import SlurmCluster, missing


@contextmanager
def a_slurm(folder: Path, **how: Any) -> Iterator[SlurmCluster]:
    """A Slurm of one's own, in a folder with a short path: munged refuses a socket whose path is longer than one's
    may be."""
    absent = missing()
    if absent:
        pytest.skip(f"no Slurm here ({', '.join(absent)}): apt-get install slurm-wlm munge")
    cluster = SlurmCluster(folder, **how)
    try:
        yield cluster.start()
    finally:
        cluster.close()


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    with tempfile.TemporaryDirectory(prefix="sl") as folder, a_slurm(Path(folder)) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """Of a head that somebody else starts (`ray_head`), else of one of this session's own."""
    if SHARED in os.environ:
        said = ray_head.awaited(Path(os.environ[SHARED]))
        if not said.startswith("http://"):
            pytest.skip(f"the Ray that was to be started did not come up: {said}")
        yield said
        return
    if ray_command() is None:
        pytest.skip("no Ray here: pip install 'gpuyard[ray]', or GPUYARD_TEST_RAY names its program")
    # Ray's sockets lie in this folder: a long path would be too long for them.
    with tempfile.TemporaryDirectory(prefix="ry") as folder:
        cluster = RayCluster(Path(folder))
        try:
            yield cluster.start().url
        finally:
            cluster.close()
