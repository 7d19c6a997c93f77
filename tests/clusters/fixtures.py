"""Clusters as fixtures: started once a session, and skipped with a word where they are not installed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters.ray import RayCluster, command as ray_command
from tests.clusters.slurm import SlurmCluster, missing


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    absent = missing()
    if absent:
        pytest.skip(f"no Slurm here ({', '.join(absent)}): apt-get install slurm-wlm munge")
    # munged refuses a socket whose path is longer than a socket's may be.
    with tempfile.TemporaryDirectory(prefix="sl") as folder:
        cluster = SlurmCluster(Path(folder))
        try:
            yield cluster.start()
        finally:
            cluster.close()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    if ray_command() is None:
        pytest.skip("no Ray here: pip install 'gpuyard[ray]'")
    # Ray's sockets lie in this folder: a long path would be too long for them.
    with tempfile.TemporaryDirectory(prefix="ry") as folder:
        cluster = RayCluster(Path(folder))
        try:
            yield cluster.start()
        finally:
            cluster.close()
