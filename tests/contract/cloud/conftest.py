"""The benches that every provider test runs over; the real things are started once a session and skipped where they
are not installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters.slurm import SlurmCluster, missing
from tests.contract.cloud.benches import Bench, IdempotentSimulatedBench, SimulatedBench
from tests.contract.cloud.slurm import FakeSlurmBench, RealSlurmBench

BENCHES = ("simulated", "simulated, idempotent", "fake slurm", "real slurm")


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    absent = missing()
    if absent:
        pytest.skip(f"no Slurm here ({', '.join(absent)}): apt-get install slurm-wlm munge")
    # munged refuses a socket whose path is longer than a socket's may be.
    cluster = SlurmCluster(tmp_path_factory.mktemp("sl"))
    try:
        yield cluster.start()
    finally:
        cluster.close()


@pytest.fixture(params=BENCHES)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    match request.param:
        case "simulated":
            return SimulatedBench(tmp_path)
        case "simulated, idempotent":
            return IdempotentSimulatedBench(tmp_path)
        case "fake slurm":
            return FakeSlurmBench(tmp_path)
        case "real slurm":
            return RealSlurmBench(tmp_path, request.getfixturevalue("slurm_cluster"))
        case _:
            raise AssertionError(request.param)
