"""One line at the end of a test run: what the simulation went through, all its batches together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SEEDS, MUTANT = "simulated", "mutant"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    said = [prop for report in _reports(terminalreporter) for prop in report.user_properties]
    batches = [value for name, value in said if name == SEEDS]
    caught = [value for name, value in said if name == MUTANT]
    if batches:
        seeds, messages, violations = (
            sum(batch[key] for batch in batches) for key in ("seeds", "messages", "violations")
        )
        terminalreporter.write_line(f"simulation: {seeds:,} seeds, {messages:,} messages, {violations} violations")
    if caught:
        found, seeds = sum(value["seed"] is not None for value in caught), sum(value["seeds"] for value in caught)
        terminalreporter.write_line(
            f"simulation: {found} of {len(caught)} deliberate mistakes caught, within {seeds} seeds in all"
        )


def _reports(terminalreporter: Any) -> Iterator[Any]:
    for outcome in ("passed", "failed"):
        yield from terminalreporter.stats.get(outcome, [])
