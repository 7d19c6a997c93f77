"""Crash cycles with a late provider in short; `tools/cloud_soak.py` runs them for as long as it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clusters.fixtures import slurm_cluster as slurm_cluster
from tests.clusters.slurm import SlurmCluster
from tests.fire.cloud import CloudPlan, CloudTrial
from tests.fire.cloud_sides import ReplicateSide, SlurmSide

SETTLE_SECONDS = 3.0

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.parametrize("late", [True, False], ids=["the answer is late", "the effect is late"]),
]


def test_nothing_is_lost_doubled_or_orphaned_at_a_late_provider(tmp_path: Path, late: bool) -> None:
    plan = CloudPlan(cycles=3, jobs=3, late=late, seed=2)
    report = CloudTrial(tmp_path, plan, ReplicateSide(tmp_path, SETTLE_SECONDS)).run()
    assert report.ok, str(report)


def test_nor_at_a_real_slurm(tmp_path: Path, slurm_cluster: SlurmCluster, late: bool) -> None:
    plan = CloudPlan(cycles=2, jobs=3, late=late, seed=3)
    report = CloudTrial(tmp_path, plan, SlurmSide(tmp_path, slurm_cluster, SETTLE_SECONDS)).run()
    assert report.ok, str(report)
