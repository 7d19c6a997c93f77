"""Crash cycles with a late provider in short; `tools/cloud_soak.py` runs them for as long as it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fire.cloud import CloudPlan, CloudTrial


@pytest.mark.timeout(400)
@pytest.mark.parametrize("late", [True, False], ids=["the answer is late", "the effect is late"])
def test_nothing_is_lost_doubled_or_orphaned_at_a_late_provider(tmp_path: Path, late: bool) -> None:
    report = CloudTrial(tmp_path, CloudPlan(cycles=3, jobs=3, late=late, seed=2)).run()
    assert report.ok, str(report)
