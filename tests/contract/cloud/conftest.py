"""The benches that every provider test runs over; the real things are started once a session and skipped where they
are not installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters.asgi import Served
from tests.clusters.fake_ray import FakeRay
from tests.clusters.fake_replicate import FakeReplicate
from tests.clusters.fixtures import ray_address as ray_address, slurm_cluster as slurm_cluster
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
            return RayBench(tmp_path, request.getfixturevalue("ray_address"))
        case _:
            raise AssertionError(request.param)
