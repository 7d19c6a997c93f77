"""What pykka does not do by itself (DESIGN 3, "Supervision"): each promise of `base` and `inbox`, with real actors."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from gpuyard.actors.base import LATER, Actor, Context, Directory, LocalRef, Reply, start
from gpuyard.actors.inbox import FdReady
from gpuyard.actors.model.errors import Busy, Internal, NotFound, Unavailable, Unsupported
from gpuyard.actors.model.message import Message, Ping, Shutdown, Tick
from tests.support import eventually


class Do(Message, frozen=True, kw_only=True):
    what: str


class Parrot(Actor):
    """Does what it is told, good and bad."""

    inbox_limit = 50

    def __init__(self, context: Context, fail_at_start: bool = False) -> None:
        super().__init__(context)
        self.fail_at_start = fail_at_start
        self.seen: list[str] = []
        self.later: Reply | None = None
        self.gate = threading.Event()
        self.ended = False
        self.pipe = os.pipe()

    def started(self) -> None:
        if self.fail_at_start:
            raise ValueError("no luck today")
        self.inbox.watch(self.pipe[0])

    def stopped(self) -> None:
        self.ended = True

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case Tick():
                self.seen.append("tick")
            case FdReady(fd=fd):
                self.seen.append(os.read(fd, 100).decode())
            case Do(what="later"):
                self.later = reply
                return LATER
            case Do(what="now") if self.later is not None:
                self.later.set_result("late answer")
            case Do(what="wait"):
                self.gate.wait(30)
            case Do(what="input error"):
                raise NotFound("no such thing", id=7)
            case Do(what="bug"):
                raise ZeroDivisionError("a bug")
            case Do(what="exit"):
                raise SystemExit(3)
            case Do(what="timer"):
                self.inbox.after(0.01, Tick())
            case Do(what=what):
                self.seen.append(what)
                return what
            case _:
                return self.unsupported(message)
        return None


Made = tuple[LocalRef, Parrot, list[tuple[str, BaseException]]]


@pytest.fixture
def parrot() -> Iterator[Made]:
    crashes: list[tuple[str, BaseException]] = []
    context = Context("parrot", directory=Directory(), crashed=lambda name, error: crashes.append((name, error)))
    pykka_ref = start(Parrot, context)
    actor = pykka_ref._actor_weakref()
    assert isinstance(actor, Parrot)
    yield context.ref("parrot"), actor, crashes
    actor.gate.set()
    pykka_ref.stop()
    for fd in actor.pipe:
        os.close(fd)


def test_an_ask_is_answered_and_may_be_answered_later(parrot: Made) -> None:
    ref, _, _ = parrot
    assert ref.ask(Do(what="hello")).result(5) == "hello"
    late = ref.ask(Do(what="later"))
    assert ref.ask(Ping()).result(5) is True and not late.done()
    ref.tell(Do(what="now"))
    assert late.result(5) == "late answer"


def test_an_input_error_goes_to_the_asker_and_the_actor_lives(parrot: Made) -> None:
    ref, _, crashes = parrot
    with pytest.raises(NotFound, match="no such thing"):
        ref.ask(Do(what="input error")).result(5)
    ref.tell(Do(what="input error"))
    assert ref.ask(Ping()).result(5) and not crashes


def test_an_unknown_message_is_unsupported(parrot: Made) -> None:
    class Strange(Message, frozen=True, kw_only=True):
        pass

    with pytest.raises(Unsupported):
        parrot[0].ask(Strange()).result(5)


@pytest.mark.parametrize("bug", ["bug", "exit"])
@pytest.mark.parametrize("asked", [True, False])
def test_any_other_exception_ends_the_actor_and_is_reported(parrot: Made, bug: str, asked: bool) -> None:
    ref, actor, crashes = parrot
    if asked:
        with pytest.raises(Internal):
            ref.ask(Do(what=bug)).result(5)
    else:
        ref.tell(Do(what=bug))
    eventually(lambda: actor.ended)
    assert [(name, type(error).__name__) for name, error in crashes] == [
        ("parrot", {"bug": "ZeroDivisionError", "exit": "SystemExit"}[bug])
    ]
    with pytest.raises(Unavailable):
        ref.ask(Ping()).result(5)


def test_one_actors_system_exit_leaves_the_others_alone(parrot: Made) -> None:
    ref, actor, _ = parrot
    context = Context("other", directory=Directory())
    other = start(Parrot, context)
    ref.tell(Do(what="exit"))
    eventually(lambda: actor.ended)
    assert context.ref("other").ask(Do(what="still here")).result(5) == "still here"
    other.stop()


def test_a_failing_start_is_reported() -> None:
    crashes: list[tuple[str, BaseException]] = []
    context = Context("parrot", directory=Directory(), crashed=lambda name, error: crashes.append((name, error)))
    start(Parrot, context, True)
    eventually(lambda: crashes)
    assert str(crashes[0][1]) == "no luck today"
    with pytest.raises(Unavailable):
        context.ref("parrot").ask(Ping()).result(5)


def test_those_who_wait_behind_the_end_are_told(parrot: Made) -> None:
    ref, actor, _ = parrot
    ref.tell(Do(what="wait"))
    stopping = ref.ask(Shutdown())
    behind = ref.ask(Do(what="too late"))
    actor.gate.set()
    assert stopping.result(5) is True
    eventually(lambda: actor.ended)
    try:
        assert behind.result(5) == "too late", "handled before the stop came to its end"
    except Unavailable:
        pass
    with pytest.raises(Unavailable):
        ref.ask(Do(what="much too late")).result(5)


def test_a_full_inbox_says_busy_instead_of_growing(parrot: Made) -> None:
    ref, actor, _ = parrot
    ref.tell(Do(what="wait"))
    replies = [ref.ask(Do(what=str(i))) for i in range(actor.inbox_limit + 10)]
    busy = [reply for reply in replies if reply.done() and isinstance(reply.exception(), Busy)]
    assert len(busy) >= 9
    actor.gate.set()
    assert all(reply.result(5) for reply in replies if reply not in busy)


def test_timers_and_descriptors_arrive_as_messages(parrot: Made) -> None:
    ref, actor, _ = parrot
    ref.tell(Do(what="timer"))
    os.write(actor.pipe[1], b"through the pipe")
    eventually(lambda: {"tick", "through the pipe"} <= set(actor.seen))


def test_a_flood_of_messages_does_not_starve_descriptors(parrot: Made) -> None:
    ref, actor, _ = parrot
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            reply: Future[Any] = ref.ask(Do(what="x"))
            reply.exception(5)

    threads = [threading.Thread(target=flood) for _ in range(3)]
    for thread in threads:
        thread.start()
    os.write(actor.pipe[1], b"heard")
    eventually(lambda: "heard" in actor.seen)
    stop.set()
    for thread in threads:
        thread.join()


def test_asking_nobody_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        Directory().ref("nobody").ask(Ping()).result(5)
