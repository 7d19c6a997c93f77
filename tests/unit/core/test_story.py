"""The tables of what the story tells are whole: no kind, reason or variable is missing, none is too many."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from gpuyard.actors.keeper import environment
from gpuyard.actors.model.attempt import GpuRef
from gpuyard.actors.model.commands import RunSpec
from gpuyard.actors.model.reasons import MEANINGS, ReasonCode
from gpuyard.actors.model.runs import BLAMELESS, RETRIED_BY_DEFAULT
from gpuyard.actors.model.story import ENDS, EVENTS

ACTORS = Path(__file__).parents[3] / "actors"


def kinds(tree: ast.Module) -> Iterator[str]:
    """The kinds of all `yard.event(out, now, kind, …)` and `EventRow(kind=…)`; a variable stands for all its values."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        for call in calls:
            if isinstance(call.func, ast.Attribute) and call.func.attr == "event" and len(call.args) >= 3:
                yield from _values(call.args[2], function)


def _values(kind: ast.expr, function: ast.FunctionDef) -> Iterator[str]:
    if isinstance(kind, ast.Constant):
        assert isinstance(kind.value, str)
        yield kind.value
        return
    assert isinstance(kind, ast.Name), ast.dump(kind)
    found = [
        node.value.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and any(isinstance(target, ast.Name) and target.id == kind.id for target in node.targets)
    ]
    assert found, f"{function.name}: where does {kind.id} come from?"
    yield from found


def test_every_kind_of_event_is_told_of_and_none_that_never_happens() -> None:
    found = {kind for file in ACTORS.rglob("*.py") for kind in kinds(ast.parse(file.read_text()))}
    assert found == set(EVENTS)


def test_events_are_made_nowhere_else() -> None:
    makers = [file.name for file in ACTORS.rglob("*.py") if "EventRow(" in file.read_text()]
    assert sorted(makers) == ["commit.py", "pages.py", "writes.py", "yard.py"]


def test_every_reason_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ReasonCode)


def test_every_class_of_end_that_the_core_knows_is_told_of() -> None:
    assert set(ENDS) >= RETRIED_BY_DEFAULT | BLAMELESS


def test_every_variable_of_a_run_is_told_of() -> None:
    run = RunSpec(fence=1, job_id="a", attempt=1, argv=("true",), gpus=(GpuRef("GPU-0", 0),))
    assert set(environment.of_run(run, "/somewhere", 4242)) == set(environment.VARIABLES)
