"""The one place that subclasses pykka: an actor that cannot die silently (DESIGN 3, "Supervision").

What pykka 4.5 does by itself, and what stands here instead: an exception in a `tell` kills the actor for good
→ reported to the supervisor, which restarts it; `start()` returns although `on_start` raised → the supervisor
pings; `SystemExit` in a handler stops all actors → treated as any other exception; messages behind a stop vanish
→ their askers get `Unavailable`; the inbox has no bound → `Busy`.
"""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol

import pykka

from gpuyard.actors.inbox import Inbox
from gpuyard.actors.model.clock import Clock
from gpuyard.actors.model.errors import GpuyardError, Internal, Unavailable, Unsupported
from gpuyard.actors.model.message import Message, Ping, Shutdown

log = logging.getLogger("gpuyard.actors")

# What `ask` gives: a standard future, so that threads wait with `result(timeout)` and an event loop with
# `asyncio.wrap_future`.
Reply = Future[Any]


class SystemClock:
    """The real time. `monotonic` counts suspended time too (CLOCK_BOOTTIME), as leases need."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class Ref(Protocol):
    """How to reach an actor, wherever it lives: the same for one in this process and one behind a link."""

    def tell(self, message: Message) -> None:
        """Send without an answer. A dead or full receiver is logged, never raised: events are told again."""

    def ask(self, message: Message) -> Reply:
        """Send and get a future of the answer; errors are GpuyardError."""


class Directory:
    """Names → the actors that bear them now. A pykka reference is dead for ever once its actor is, so everybody
    holds a name and the supervisor changes what it means. Thread-safe (one dict write)."""

    def __init__(self) -> None:
        self._refs: dict[str, pykka.ActorRef[Any]] = {}

    def put(self, name: str, ref: pykka.ActorRef[Any]) -> None:
        self._refs[name] = ref

    def drop(self, name: str) -> None:
        self._refs.pop(name, None)

    def get(self, name: str) -> pykka.ActorRef[Any] | None:
        return self._refs.get(name)

    def names(self) -> list[str]:
        return list(self._refs)

    def ref(self, name: str) -> LocalRef:
        return LocalRef(self, name)

    def depths(self) -> dict[str, int]:
        """Messages that wait, by actor."""
        return {name: getattr(ref.actor_inbox, "depth", int)() for name, ref in list(self._refs.items())}


@dataclass(frozen=True, slots=True)
class Request:
    """A message whose sender waits for an answer."""

    message: Message
    reply: Reply


@dataclass(frozen=True, slots=True)
class LocalRef:
    """A Ref to whatever bears `name` in this process at the moment of sending."""

    directory: Directory
    name: str

    def tell(self, message: Message) -> None:
        ref = self.directory.get(self.name)
        if ref is None:
            # Not started yet (or being restarted): it asks for what it missed when it comes.
            log.debug("%s to %s was not delivered: it is not there", type(message).__name__, self.name)
            return
        try:
            ref.tell(message)
        except (pykka.ActorDeadError, GpuyardError) as error:
            log.warning("%s to %s was not delivered: %s", type(message).__name__, self.name, error)

    def ask(self, message: Message) -> Reply:
        reply: Reply = Future()
        ref = self.directory.get(self.name)
        try:
            if ref is None:
                raise Unavailable(f"{self.name} is not running: try again shortly")
            ref.tell(Request(message, reply))
        except pykka.ActorDeadError:
            decline(reply, Unavailable(f"{self.name} is restarting: try again shortly"))
        except GpuyardError as error:
            decline(reply, error)
        return reply


def reply_with(reply: Reply | None, value: Any) -> None:
    """Unless nobody waits, or it was answered already, perhaps by another thread this moment."""
    if reply is not None:
        with suppress(InvalidStateError):
            reply.set_result(value)


def decline(reply: Reply | None, error: BaseException) -> None:
    """Answer with an error, as `reply_with` does."""
    if reply is not None:
        with suppress(InvalidStateError):
            reply.set_exception(error)


class _Later:
    """Returned by a handler that answers its request later, by hand."""


LATER: Final = _Later()


@dataclass(frozen=True)
class Context:
    """What wiring gives every actor: its name, the time, whom it may reach, and whom to tell of its death."""

    name: str
    clock: Clock = field(default_factory=SystemClock)
    directory: Directory = field(default_factory=Directory)
    crashed: Callable[[str, BaseException], None] = lambda name, error: None

    def ref(self, name: str) -> LocalRef:
        return self.directory.ref(name)


class Actor(pykka.ThreadingActor):
    """Subclass it, and write `handle`: one `match` over the messages, closed by `unsupported`.

    `started` and `stopped` run in the actor's own thread. No handler may block for more than 50 ms.
    """

    use_daemon_thread = True
    inbox_limit: ClassVar[int] = 20_000

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        self.name = context.name
        self.clock = context.clock

    @classmethod
    def _create_actor_inbox(cls) -> Inbox:
        return Inbox(cls.inbox_limit)

    @property
    def inbox(self) -> Inbox:
        """The same object as pykka's `actor_inbox`, by its real type."""
        assert isinstance(self.actor_inbox, Inbox)
        return self.actor_inbox

    @abstractmethod
    def handle(self, message: Message, reply: Reply | None) -> Any:
        """Handle one message; what is returned answers a request (LATER: `reply` is answered by hand).

        `reply` is None for a `tell`. A GpuyardError goes to the asker; anything else ends this actor.
        """

    def started(self) -> None:
        """Before the first message. An exception here ends the actor and is reported."""

    def stopped(self) -> None:
        """After the last message, in every ending but a crash of `started`."""

    def unsupported(self, message: Message) -> Any:
        """For the last case of `handle`: a message that this actor does not know."""
        raise Unsupported(f"{self.name} does not know {type(message).__name__}")

    # --- pykka's hooks; each runs in the actor's own thread ---

    def on_start(self) -> None:
        # Known by name before it speaks: whoever answers a question asked in `started` must find the asker.
        self.context.directory.put(self.name, self.actor_ref)
        try:
            self.started()
        except BaseException as error:
            if not isinstance(error, GpuyardError):
                log.exception("%s could not start", self.name)
            self.context.crashed(self.name, error)
            self._turn_away()
            raise RuntimeError(f"{self.name} could not start: {error}") from error

    def on_receive(self, message: Any) -> Any:
        reply = message.reply if isinstance(message, Request) else None
        body: Message = message.message if isinstance(message, Request) else message
        try:
            answer = self._dispatch(body, reply)
        except GpuyardError as error:
            self._decline(reply, error, body)
        except BaseException as error:
            log.exception("%s failed at %s", self.name, type(body).__name__)
            self._decline(reply, Internal(f"{self.name} failed and is restarted: try again shortly"), body)
            self.context.crashed(self.name, error)
            raise RuntimeError(f"{self.name} ended at {type(body).__name__}") from error
        else:
            if reply is not None and answer is not LATER and not reply.done():
                reply.set_result(answer)

    def _dispatch(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case Ping():
                return True
            case Shutdown():
                self.stop()
                return True
            case _:
                return self.handle(message, reply)

    def _decline(self, reply: Reply | None, error: GpuyardError, message: Message) -> None:
        if reply is None:
            log.warning("%s refused %s: %s", self.name, type(message).__name__, error)
        else:
            decline(reply, error)

    def on_stop(self) -> None:
        self._let_go()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._let_go()

    def _let_go(self) -> None:
        try:
            self.stopped()
        except BaseException:
            log.exception("%s did not end well", self.name)
            raise
        finally:
            self._turn_away()

    def _turn_away(self) -> None:
        """Answer those who wait behind the end; pykka would leave them waiting."""
        self.inbox.close()
        while not self.inbox.empty():
            message = self.inbox.get().message
            if isinstance(message, Request):
                decline(message.reply, Unavailable(f"{self.name} is stopping: try again shortly"))


def start(actor_class: type[Actor], context: Context, *args: Any, **kwargs: Any) -> pykka.ActorRef[Any]:
    """Start an actor under its context's name; it puts itself into the directory."""
    ref = actor_class.start(context, *args, **kwargs)
    context.directory.put(context.name, ref)
    return ref


def has_ended(ref: pykka.ActorRef[Any]) -> bool:
    """Has its `stopped` been run? pykka calls an actor dead before that: its sockets and files may still be open."""
    return bool(getattr(ref.actor_inbox, "closed", False))
