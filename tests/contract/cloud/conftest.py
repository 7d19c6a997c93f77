"""The benches that every provider test runs over; the real things are started once a session and skipped where they
are not installed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters.asgi import Served
from tests.clusters.fake_ray import FakeRay
from tests.clusters.fake_replicate import FakeReplicate
from tests.clusters.ray import RayCluster, command as ray_command
from tests.clusters.slurm import SlurmCluster, missing
from tests.contract.cloud.benches import Bench, IdempotentSimulatedBench, SimulatedBench
from tests.contract.cloud.ray import RayBench
from tests.contract.cloud.replicate import ReplicateBench, TrainingBench
from tests.contract.cloud.slurm import FakeSlurmBench, RealSlurmBench

BENCHES = (
    "simulated",
    "simulated, idempotent",
    "fake slurm",
    "real slurm",
    "replicate predictions",
    "replicate trainings",
    "fake ray",
    "real ray",
)


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


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    if ray_command() is None:
        pytest.skip("no Ray here: pip install 'gpuyard[ray]'")
    # Ray's sockets lie in this folder: a long path would be too long for them.
    with tempfile.TemporaryDirectory(prefix="ry") as folder:
        cluster = RayCluster(Path(folder))
        try:
            yield cluster.start()
        finally:
            cluster.close()


@pytest.fixture
def fake_ray() -> Iterator[Served]:
    fake = FakeRay()
    served = Served(fake.app)
    yield served
    served.close()
    fake.close()


@pytest.fixture
def replicate_server() -> Iterator[Served]:
    served = Served(FakeReplicate().app)
    yield served
    served.close()


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
        case "replicate predictions":
            return ReplicateBench(tmp_path, request.getfixturevalue("replicate_server").url)
        case "replicate trainings":
            return TrainingBench(tmp_path, request.getfixturevalue("replicate_server").url)
        case "fake ray":
            return RayBench(tmp_path, request.getfixturevalue("fake_ray").url)
        case "real ray":
            return RayBench(tmp_path, request.getfixturevalue("ray_cluster").url)
        case _:
            raise AssertionError(request.param)
