"""The HTTP API against a small model written from the requirement: after every step both show the same queue.

The application, the Scheduler and the store are the real ones, in this process; hosts are puppets, so that a step
costs milliseconds. The long form: tools/model.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fire.model_trial import Form, trial

RUNS = int(os.environ.get("GPUYARD_MODEL_RUNS", "25"))
STEPS = int(os.environ.get("GPUYARD_MODEL_STEPS", "40"))


@pytest.mark.timeout(300 + RUNS * STEPS)
def test_the_api_and_the_model_agree(tmp_path: Path) -> None:
    report = trial(tmp_path, Form(runs=RUNS, steps=STEPS, shrink="GPUYARD_MODEL_SHRINK" in os.environ))
    assert report.ok, str(report)
