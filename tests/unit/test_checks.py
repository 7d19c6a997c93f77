"""Format, lint, layers and types pass: the same command that a developer runs by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(400)
def test_static_checks_pass() -> None:
    done = subprocess.run([sys.executable, "tools/check.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
