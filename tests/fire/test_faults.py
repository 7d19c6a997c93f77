"""Faults at system calls, in short; `tools/faults.py` has more points."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fire import boot, strace
from tests.fire.faults import Trial


@pytest.fixture(autouse=True)
def _can_inject(tmp_path: Path) -> None:
    why = strace.missing(tmp_path)
    if why is not None:
        pytest.skip(f"faults cannot be injected: {why}")


def test_a_fault_at_a_write_or_sync_loses_and_doubles_nothing(tmp_path: Path) -> None:
    report = Trial(tmp_path, points=6).run()
    assert report.ok, str(report)
    met = [name for name in report.figures if name.endswith("met")]
    assert len({name.split()[0] for name in met}) == 3, f"each kind of fault was met: {report}"


@pytest.mark.timeout(300)
def test_a_fault_while_a_server_starts_loses_nothing_and_is_said(tmp_path: Path) -> None:
    report = boot.Trial(tmp_path, points=4).run()
    assert report.ok, str(report)
