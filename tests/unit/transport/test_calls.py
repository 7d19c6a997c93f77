"""The table of calls is complete: whatever the Frontend may ask stands in it, with the answer its docstring names."""

from __future__ import annotations

import inspect

import pytest

from gpuyard.actors.model import commands, message
from gpuyard.actors.model.message import Message
from gpuyard.transport import calls, codec

ALL = [
    kind
    for module in (commands, message)
    for kind in vars(module).values()
    if inspect.isclass(kind) and issubclass(kind, Message) and kind is not Message
]
OF_THE_FRONTEND = [kind for kind in ALL if "From: Frontend" in " ".join((kind.__doc__ or "").split())]


def test_the_docstrings_name_the_commands_of_the_frontend() -> None:
    assert len(OF_THE_FRONTEND) > 25


@pytest.mark.parametrize("kind", OF_THE_FRONTEND, ids=lambda kind: kind.__name__)
def test_each_command_of_the_frontend_may_travel(kind: type[Message]) -> None:
    assert kind in calls.answers()


@pytest.mark.parametrize("kind", calls.answers(), ids=lambda kind: kind.__name__)
def test_each_answer_has_a_type_that_can_be_read(kind: type[Message]) -> None:
    codec._values_of(kind, calls.LINK)


def test_nothing_of_the_inner_life_may_be_called() -> None:
    for kind in (
        commands.Commit,
        commands.LoadSnapshot,
        commands.WantRun,
        commands.WantStop,
        commands.PurgeRuns,
        commands.FetchSecrets,
    ):
        assert kind not in calls.answers()
    assert message.Shutdown not in calls.answers()


def test_an_unknown_actor_may_be_asked_nothing() -> None:
    assert calls.allowed("nobody") == {}
    assert commands.GetStats not in calls.allowed("history")
