from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import leaks
from tests.contract.gpu.benches import Bench, NvmlBench, SimulatedBench
from tests.fake_nvml.fixtures import fake_nvml_library, script

__all__ = ["bench", "fake_nvml_library", "script"]


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


@pytest.fixture(params=["nvml", "simulated"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Each probe in turn."""
    made: Bench
    made = NvmlBench(request.getfixturevalue("script")) if request.param == "nvml" else SimulatedBench(tmp_path)
    yield made
    made.probe.close()
