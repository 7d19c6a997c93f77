"""Calls that are under way over one socket, in both directions.

Ours wait in `CallsOut` for their answer, their peer's end, or their deadline. Theirs are answered by actors in other
threads: `AnswerTray` collects the answers, and one message to the socket's actor sends them all.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pykka

from gpuyard.actors.base import Reply, decline, reply_with
from gpuyard.actors.model.errors import GpuyardError, TimedOut, Unavailable, Unsupported
from gpuyard.actors.model.message import Message
from gpuyard.transport import codec
from gpuyard.transport.calls import Table


class AnswersReady(Message, frozen=True, kw_only=True):
    """Answers wait to be sent. From: whichever thread answered first. To: the socket's actor. Repeat: harmless."""


class AnswerTray:
    """Answers for peers, put in by any thread, taken out by the actor `ref`: at AnswersReady, always, even when nothing
    is there (who takes only what is there may leave the next answer unannounced), and whenever else it likes."""

    def __init__(self, ref: pykka.ActorRef[Any]) -> None:
        self._ref = ref
        self._answers: deque[tuple[bytes, int, Reply]] = deque()
        self._announced = False

    def put(self, peer: bytes, id: int, reply: Reply) -> None:
        """In the thread of the actor that answered."""
        self._answers.append((peer, id, reply))
        if self._announced:
            return
        self._announced = True
        try:
            self._ref.tell(AnswersReady())
        except (pykka.ActorDeadError, GpuyardError):
            # Dead: nobody is there to send it. Full: whatever is taken next takes it too.
            self._announced = False

    def take(self, longest: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        """(peer, frame) of all that wait."""
        self._announced = False
        while self._answers:
            peer, id, reply = self._answers.popleft()
            error = reply.exception()
            if error is None:
                yield peer, codec.pack_value(id, reply.result(), longest)
            else:
                yield peer, codec.pack_error(id, error, longest)


@dataclass(frozen=True, slots=True)
class _Waiting:
    peer: bytes
    to: str
    message: type[Message]
    timeout: float
    reply: Reply


class CallsOut:
    """Our questions, by number. `table` says what may be asked and how answers are read."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def open_to(self, peer: bytes) -> int:
        """How many questions wait for an answer of this peer."""
        return sum(waiting.peer == peer for waiting in self._waiting.values())

    def ask(
        self, peer: bytes, to: str, message: Message, timeout: float, reply: Reply, longest: int
    ) -> tuple[int, bytes]:
        """(number, frame) of a question whose answer goes to `reply`. Raises Unsupported, InvalidInput."""
        self._check(to, message)
        number = next(self._numbers)
        frame = codec.pack_call(number, to, message, longest)
        self._waiting[number] = _Waiting(peer, to, type(message), timeout, reply)
        return number, frame

    def tell(self, to: str, message: Message, longest: int) -> bytes:
        """The frame of a message that wants no answer. Raises Unsupported, InvalidInput."""
        self._check(to, message)
        return codec.pack_call(0, to, message, longest)

    def _check(self, to: str, message: Message) -> None:
        if type(message) not in self._table.allowed(to):
            raise Unsupported(f"{to} of another host takes no {type(message).__name__}")

    def answered(self, peer: bytes, answer: codec.Answer) -> bool:
        """False when this peer was not asked that (any more)."""
        waiting = self._waiting.get(answer.id)
        if waiting is None or waiting.peer != peer:
            return False
        del self._waiting[answer.id]
        try:
            value = codec.value_of(answer, waiting.message, self._table)
        except GpuyardError as error:
            decline(waiting.reply, error)
        else:
            reply_with(waiting.reply, value)
        return True

    def failed(self, number: int, error: GpuyardError) -> None:
        """It could not be sent after all."""
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            decline(waiting.reply, error)

    def expire(self, number: int) -> None:
        """Its deadline has come."""
        waiting = self._waiting.get(number)
        if waiting is not None:
            self.failed(number, TimedOut(f"{waiting.to} did not answer within {waiting.timeout:g} s"))

    def lose(self, why: str, peer: bytes | None = None) -> None:
        """Its connection (None: every one) is gone, so no answer will come."""
        for number, waiting in list(self._waiting.items()):
            if peer is None or waiting.peer == peer:
                self.failed(number, Unavailable(why))
