"""What holds for all tests: Hypothesis measures no time, since no test may depend on the machine's speed."""

from __future__ import annotations

from hypothesis import settings

from tests.sim.summary import pytest_terminal_summary as pytest_terminal_summary

settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
