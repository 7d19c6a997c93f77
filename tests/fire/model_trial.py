"""Run the machine of `queue_machine.py` against one application for so many days of so many steps."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.errors import HypothesisException
from hypothesis.stateful import run_state_machine_as_test

from gpuyard.actors.model import names
from gpuyard.actors.supervisor import Child
from tests.fire.puppets import ForgetfulStore, Puppet
from tests.fire.queue_machine import ByName, QueueMachine, configs
from tests.fire.report import Report
from tests.unit.api_routes.conftest import opened


@dataclass(frozen=True)
class Form:
    """`seed` None takes another one each time; `shrink` looks for a shorter story of a failure."""

    runs: int
    steps: int
    seed: int | None = None
    shrink: bool = False


def trial(folder: Path, form: Form) -> Report:
    """What was done; a difference between both is a broken promise."""
    hosts = (
        Child(names.STORE, ForgetfulStore, lambda: (folder / "data" / "jobs.db",), core=True),
        Child(names.KEEPER, Puppet, core=True),
        Child(names.CLOUD, Puppet, core=True),
    )
    report = Report("the HTTP API and the reference model")
    began, QueueMachine.seen = time.perf_counter(), Counter()
    with opened(folder, instead=hosts, authenticator=ByName()) as yard:
        configs(yard.configs)
        # Kept GPUs and boosts come with waiting, which a day here does not have.
        yard.post("/api/queue/concurrency", {"reserve_after_seconds": 86_400.0})
        QueueMachine.yard = yard
        try:
            _run(form)
        except (AssertionError, HypothesisException) as error:
            report.broken("\n".join([str(error), *getattr(error, "__notes__", [])]))
    seen = QueueMachine.seen
    report.figure("days", seen["days"], f"{form.runs} of {form.steps} steps")
    report.figure("comparisons", seen["compared"])
    report.figure("jobs", seen["jobs"])
    report.figure("blocked, by rules", f"{seen['blocked']}, {seen['by rule']}")
    report.figure("decisions", seen["decided"])
    report.figure("restarts", seen["restarts"])
    report.figure("reasons seen", ", ".join(sorted(name[7:] for name in seen if name.startswith("reason "))))
    report.figure("seconds", f"{time.perf_counter() - began:.0f}")
    return report


def _run(form: Form) -> None:
    machine = QueueMachine if form.seed is None else seed(form.seed)(QueueMachine)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=form.runs,
            stateful_step_count=form.steps,
            deadline=None,
            database=None,
            phases=[Phase.generate, *([Phase.shrink] if form.shrink else [])],
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
