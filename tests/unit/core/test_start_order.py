"""An actor is known by its name before it speaks."""

from __future__ import annotations

from typing import Any

from gpuyard.actors.base import Actor, Context, Reply, start
from gpuyard.actors.model.message import Message, Ping


class Asker(Actor):
    """Looks itself up the moment it starts, as one does whose first question is answered at once."""

    def started(self) -> None:
        self.found = self.context.directory.get(self.name)

    def handle(self, message: Message, reply: Reply | None) -> Any:
        return self.found is not None


class Look(Message, frozen=True, kw_only=True):
    """For this test."""


def test_what_an_actor_asks_at_its_start_can_be_answered() -> None:
    for number in range(50):
        context = Context(f"asker-{number}")
        ref = start(Asker, context)
        assert context.ref(context.name).ask(Look()).result(timeout=10)
        assert context.ref(context.name).ask(Ping()).result(timeout=10)
        ref.stop()
