"""What holds for all tests: Hypothesis measures no time, since no test may depend on the machine's speed; and what
needs a real Ray comes last, since that may come up meanwhile (`tests/clusters/ray_head.py`)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.sim.summary import pytest_terminal_summary as pytest_terminal_summary

# Nothing here may depend on how fast the machine is.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_needs_ray)


def _needs_ray(item: pytest.Item) -> bool:
    call = getattr(item, "callspec", None)
    return "ray_address" in getattr(item, "fixturenames", ()) or (call is not None and "real ray" in call.id)
