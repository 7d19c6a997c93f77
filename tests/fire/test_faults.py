"""Faults at system calls, in short; `tools/faults.py` has more points."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fire import strace
from tests.fire.faults import Trial


def test_a_fault_at_a_write_or_sync_loses_and_doubles_nothing(tmp_path: Path) -> None:
    why = strace.missing(tmp_path)
    if why is not None:
        pytest.skip(f"faults cannot be injected: {why}")
    report = Trial(tmp_path, points=6).run()
    assert report.ok, str(report)
    met = [name for name in report.figures if name.endswith("met")]
    assert len({name.split()[0] for name in met}) == 3, f"each kind of fault was met: {report}"
