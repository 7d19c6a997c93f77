"""Crash cycles in short; `tools/soak.py` runs them for as long as it is told."""

from __future__ import annotations

from pathlib import Path

from tests.fire.crash import Plan, Trial


def test_nothing_is_lost_doubled_or_killed_when_the_supervisor_and_keepers_are(tmp_path: Path) -> None:
    plan = Plan(cycles=4, longest=1.0, between=(0.2, 1.0), threads=3, pace=0.25)
    report = Trial(tmp_path, plan).run()
    assert report.ok, str(report)
