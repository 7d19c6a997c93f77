"""Which handlers there are, found in the code, and one fault that one of them meets once.

A handler is a class named in a `case` of a `match message` of an actor, or a key of a table that is asked for
`type(message)`; the actors of the wiring are looked through, so a new actor or a new case is covered by itself.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from gpuyard.actors.base import Actor, Reply
from gpuyard.actors.model.message import Message, Ping, Shutdown
from gpuyard.actors.supervisor import Child


class How(StrEnum):
    """What a handler meets: at its begin, or (`late`) once all was done that it does."""

    EXCEPTION = "exception"
    LATE = "late exception"
    EXIT = "SystemExit"
    HANG = "hang"


class Handler(NamedTuple):
    """`actor` is its name in the wiring."""

    actor: str
    message: type[Message]

    def __str__(self) -> str:
        return f"{self.actor}-{self.message.__name__}"


class Injected(Exception):
    """What stands for a bug."""


def of(children: list[Child]) -> list[Handler]:
    """Every handler of these actors; Ping and Shutdown are the base's, and so everybody's."""
    return [
        Handler(child.name, message)
        for child in children
        for message in dict.fromkeys([*_cases(child.actor_class), Ping, Shutdown])
    ]


def _cases(actor: type[Actor]) -> Iterator[type[Message]]:
    module = vars(sys.modules[actor.__module__])
    tree = ast.parse(textwrap.dedent(inspect.getsource(actor)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node).endswith(".get(type(message))"):
            yield from module[ast.unparse(node).split(".")[0]]
        if not (isinstance(node, ast.Match) and ast.unparse(node.subject) == "message"):
            continue
        for pattern in ast.walk(node):
            if isinstance(pattern, ast.MatchClass):
                found = eval(ast.unparse(pattern.cls), module)
                if issubclass(found, Message):
                    yield found


@dataclass
class Fault:
    """`handler` meets it once, as soon as it is armed. `met` tells when; `seen` is who got what so far."""

    handler: Handler
    how: How
    armed: threading.Event = field(default_factory=threading.Event)
    met: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    seen: set[Handler] = field(default_factory=set)

    def instead_of(self, actor: str, message: Message, handle: Callable[[], Any]) -> Any:
        """Handle, or meet the fault; in the actor's thread."""
        here = Handler(actor, type(message))
        self.seen.add(here)
        if here != self.handler or not self.armed.is_set() or self.met.is_set():
            return handle()
        if self.how is How.LATE:
            answer = handle()
            self.met.set()
            raise Injected(f"a bug, after {answer!r:.40}")
        self.met.set()
        if self.how is How.HANG:
            self.released.wait()
        if self.how is How.EXIT:
            raise SystemExit(3)
        raise Injected("a bug")


def faulty(child: Child, fault: Fault) -> Child:
    """The same actor, with the fault on its way to its handlers."""

    class Faulty(child.actor_class):  # type: ignore[name-defined, misc]
        def _dispatch(self, message: Message, reply: Reply | None) -> Any:
            return fault.instead_of(self.name, message, lambda: super(Faulty, self)._dispatch(message, reply))

    Faulty.__name__ = child.actor_class.__name__
    return replace(child, actor_class=Faulty)


def blank(message: type[Message]) -> Message:
    """A message that only a fault looks at: nothing in it is of the right type."""
    parameters = inspect.signature(message).parameters.values()
    return message(**{p.name: None for p in parameters if p.default is inspect.Parameter.empty})
