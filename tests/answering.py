"""A small real actor that answers as it is told to, for tests of whatever asks actors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any

from gpuyard.actors.base import LATER, Actor, Context, Directory, Reply, start
from gpuyard.actors.model.commands import Ready
from gpuyard.actors.model.message import Message

Answers = Mapping[type[Message], Any]


class Answering(Actor):
    """Answers a message with `answers[type]`: a value, an exception to raise, or a function of the message.

    `heard` keeps all messages. NEVER answers not at all.
    """

    NEVER = LATER

    def __init__(self, context: Context, answers: Answers, heard: list[Message]) -> None:
        super().__init__(context)
        self._answers = {Ready: True, **answers}
        self._heard = heard

    def handle(self, message: Message, reply: Reply | None) -> Any:
        self._heard.append(message)
        if type(message) not in self._answers:
            return self.unsupported(message)
        answer = self._answers[type(message)]
        if isinstance(answer, Exception):
            # A copy: the exception's traceback would keep this actor alive.
            raise copy(answer)
        return answer(message) if callable(answer) else answer


class Cast:
    """The actors of a test: `play(name, answers)` starts one; `heard[name]` is what it was told and asked."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.crashes: list[tuple[str, BaseException]] = []
        self.heard: dict[str, list[Message]] = {}

    def context(self, name: str) -> Context:
        return Context(name, directory=self.directory, crashed=lambda who, error: self.crashes.append((who, error)))

    def play(self, name: str, answers: Answers | None = None) -> None:
        self.end(name)
        self.heard[name] = []
        start(Answering, self.context(name), answers or {}, self.heard[name])

    def start(self, actor_class: type[Actor], name: str, *args: Any) -> None:
        """Any other actor; returns once it serves."""
        start(actor_class, self.context(name), *args)
        self.directory.ref(name).ask(Ready()).result(10)

    def end(self, name: str) -> None:
        ref = self.directory.get(name)
        if ref is not None:
            ref.stop()
            self.directory.drop(name)

    def close(self) -> None:
        for name in reversed(self.directory.names()):
            self.end(name)


@contextmanager
def cast() -> Iterator[Cast]:
    made = Cast()
    try:
        yield made
    finally:
        made.close()


def gate() -> tuple[Callable[[Message], Any], threading.Event]:
    """An answer (True) that comes only once the event is set."""
    opened = threading.Event()

    def answer(_: Message) -> bool:
        return opened.wait(10)

    return answer, opened
