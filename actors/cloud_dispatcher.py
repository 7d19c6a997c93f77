"""CloudDispatcher: knows the cloud providers and what runs there (DESIGN 3, "know"). A thin shell round the books.

Each provider has a book (pure: what is wanted there, and what to do next) and a desk (its own thread, which makes the
calls). The Scheduler says which attempts shall live; what a provider answers is told back as the keeper would.
"""

from __future__ import annotations

import logging
import random
import time
from typing import Any

from pykka import ActorDeadError

from gpuyard.actors.base import LATER, Actor, Context, Reply, decline, reply_with
from gpuyard.actors.cloud import registry
from gpuyard.actors.cloud.desk import Desk
from gpuyard.actors.cloud.messages import CallEnded, Due, Heard, Loaded, Recorded, Reload, Tested, Uploading
from gpuyard.actors.cloud.provider import Forged, NotConfigured, Retryable
from gpuyard.actors.cloud.roll import REGISTER, Roll
from gpuyard.actors.cloud.settings import CloudSettings
from gpuyard.actors.model import commands as c, names
from gpuyard.actors.model.cloud_book import Book
from gpuyard.actors.model.cloud_calls import CloudCall
from gpuyard.actors.model.cloud_circuit import Circuit
from gpuyard.actors.model.cloud_remote import Health, Order, Trouble
from gpuyard.actors.model.entry import CLOUD_HOST_PREFIX
from gpuyard.actors.model.errors import NotAllowed, NotFound
from gpuyard.actors.model.message import Message, Tick
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.registers import PutRecord, audit_line
from gpuyard.actors.model.views import ProviderTested

log = logging.getLogger("gpuyard.cloud")

BEAT_SECONDS = 5.0


class CloudDispatcher(Actor):
    """Tells ProviderFacts, AttemptAccepted, AttemptStarted, AttemptProgress, AttemptExited and OrphanSeen."""

    def __init__(self, context: Context, settings: CloudSettings) -> None:
        super().__init__(context)
        self._settings = settings
        self._roll = Roll(settings.prices)
        self._books = self._roll.books
        self._desks: dict[str, Desk] = {}
        self._armed: dict[str, float] = {}
        self._loaded = False

    def started(self) -> None:
        self._roll.names = registry.known(self._settings)
        for name in self._roll.names:
            try:
                self._open(name)
            except NotConfigured as error:
                self._roll.missing[name] = str(error)
        self._load()
        self.inbox.after(BEAT_SECONDS, Tick())

    def _open(self, name: str) -> None:
        provider = registry.open_one(name, self._settings)
        self._books[name] = Book(name, provider.capabilities, Circuit(), "", random.random)
        runs, cap = self._settings.runs, self._settings.log_cap_mb << 20
        desk = self._desks[name] = Desk(name, provider, runs, cap, self._answer_of(name), self._progress_of(name))
        desk.start()

    def stopped(self) -> None:
        """Remote jobs live on."""
        for desk in self._desks.values():
            desk.stop()

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case c.WantRun():
                return self._want(message)
            case c.WantStop():
                return self._with_book(message.host, lambda book: book.stop(message.fence, message.reason, self._now()))
            case c.ForgetRun():
                return self._forget(message)
            case c.WantedComplete():
                return self._wanted_complete(message)
            case CallEnded():
                return self._call_ended(message)
            case Due():
                self._armed.pop(message.provider, None)
                return self._advance(message.provider)
            case Uploading():
                self._books[message.provider].uploading(message.fence, message.words)
                return self._advance(message.provider)
            case Heard():
                self._books[message.provider].heard(message.token, message.remote_id, self._now())
                return self._advance(message.provider)
            case Tick():
                return self._tick()
            case Loaded():
                return self._on_loaded(message)
            case Reload():
                return self._load()
            case Recorded():
                return self._recorded(message)
            case Tested():
                return self._tested(message)
            case c.Ready():
                return self._loaded
            case c.ListProviders():
                return [self._roll.view(name) for name in self._roll.names]
            case c.TestProvider():
                return self._test(message, reply)
            case c.SetProvider():
                return self._set(message, reply)
            case c.HearWebhook():
                return self._hear(message, reply)
            case _:
                return self.unsupported(message)

    # --- the start ---------------------------------------------------------------------------------------------

    def _load(self) -> None:
        asked = self.context.ref(names.STORE).ask(c.LoadRegisters(registers=(REGISTER,)))
        asked.add_done_callback(lambda done: self._tell_self(Loaded(rows=_rows_of(done))))

    def _on_loaded(self, message: Loaded) -> None:
        if message.rows is None:
            self.inbox.after(1.0, Reload())
            return
        self._roll.restore(message.rows, self._now().wall)
        self._loaded = True
        self._tell_facts()
        self.context.ref(names.SCHEDULER).tell(c.WantAgain(driver=names.CLOUD))

    # --- what the Scheduler wants ------------------------------------------------------------------------------

    def _want(self, message: c.WantRun) -> None:
        order = Order(
            token=message.token,
            spec=message.run,
            name=message.name,
            options=message.options,
            asked_at=message.asked_at,
        )

        def want(book: Book) -> None:
            book.want(order, self._now(), again=message.again, started=message.started)

        self._with_book(message.host, want)

    def _forget(self, message: c.ForgetRun) -> None:
        self._with_book(message.host, lambda book: book.forget(message.fence))
        desk = self._desks.get(_provider_at(message.host))
        if desk is not None:
            desk.forget(message.fence)

    def _wanted_complete(self, message: c.WantedComplete) -> None:
        for name, book in self._books.items():
            book.owner = message.owner
            book.wanted_complete(self._now())
            self._advance(name)

    def _with_book(self, host: str, change: Any) -> None:
        name = _provider_at(host)
        book = self._books.get(name)
        if book is None:
            # Its jobs may well live there: nothing is said of them until somebody configures it again.
            log.warning("a job is at the provider %s, which is not configured: %s", name, self._roll.missing.get(name))
            return
        change(book)
        self._advance(name)

    def _advance(self, name: str) -> None:
        """Make the calls that are due, tell what is to be told, and come again in time."""
        book, now = self._books[name], self._now()
        effects = book.advance(now)
        if effects.changed:
            self._keep(name)
            self._tell_facts()  # before the ends of runs: none is sent back to a provider that is down
        scheduler = self.context.ref(names.SCHEDULER)
        for event in effects.tells:
            scheduler.tell(event)
        for call in effects.calls:
            self._desks[name].begin(call)
        if book.next_at < self._armed.get(name, float("inf")):
            self._armed[name] = book.next_at
            self.inbox.after(max(0.0, book.next_at - now.monotonic), Due(provider=name))

    # --- what providers answer ---------------------------------------------------------------------------------

    def _call_ended(self, message: CallEnded) -> None:
        book, call = self._books[message.provider], message.call
        if message.trouble is None:
            book.answered(call, message.result, self._now())
        else:
            log.info("%s: %s: %s", message.provider, type(call).__name__, message.trouble.text)
            book.failed(call, message.trouble, self._now())
        self._advance(message.provider)

    def _tick(self) -> None:
        self.inbox.after(BEAT_SECONDS, Tick())
        if not self._loaded:
            return
        self._tell_facts()
        for name, book in self._books.items():
            book.beat()
            self._advance(name)

    # --- facts -------------------------------------------------------------------------------------------------

    def _tell_facts(self) -> None:
        if self._loaded:
            self.context.ref(names.SCHEDULER).tell(self._roll.facts())

    def _keep(self, name: str) -> None:
        """A circuit outlives a restart."""
        circuit = self._books[name].circuit
        log.warning("%s: the circuit is %s%s", name, circuit.state, f": {circuit.why}" if circuit.why else "")
        self.context.ref(names.STORE).tell(c.Record(rows=(self._roll.row(name),)))

    # --- what people ask ---------------------------------------------------------------------------------------

    def _test(self, message: c.TestProvider, reply: Reply | None) -> Any:
        self._roll.check(message.name, message.by)
        began = time.monotonic()

        def done(answer: Health | BaseException) -> None:
            self._tell_self(Tested(provider=message.name, answer=answer, began=began, reply=reply))

        self._desks[message.name].test(done)
        return LATER

    def _tested(self, message: Tested) -> None:
        name, answer, now = message.provider, message.answer, self._now()
        book, ok = self._books[name], isinstance(message.answer, Health)
        if ok and book.circuit.open:
            book.circuit.retry_at = now.wall  # its own probe will see the same
        elif isinstance(answer, Retryable):
            book.tested(Trouble(kind=answer.kind, text=str(answer), retry_after=answer.retry_after), now)
        self._advance(name)
        seconds = round(time.monotonic() - message.began, 3)
        detail = answer.detail if ok else str(answer) or type(answer).__name__
        reply_with(message.reply, ProviderTested(name=name, ok=ok, detail=detail, seconds=seconds))

    def _set(self, message: c.SetProvider, reply: Reply | None) -> Any:
        self._roll.check(message.name, message.by)
        by, values = message.by, {"name": message.name, "enabled": message.enabled}
        action = "provider_enabled" if message.enabled else "provider_disabled"
        audit = audit_line(by, self.clock.now(), action, message.name, message.cause)
        record = c.Record(rows=(PutRecord(register=REGISTER, values=values), audit), cause=message.cause)

        def done(stored: Reply) -> None:
            said = Recorded(provider=message.name, enabled=message.enabled, reply=reply, error=stored.exception())
            self._tell_self(said)

        self.context.ref(names.STORE).ask(record).add_done_callback(done)
        return LATER

    def _recorded(self, message: Recorded) -> None:
        if message.error is not None:
            decline(message.reply, message.error)
            return
        self._roll.set_enabled(message.provider, message.enabled)
        self._tell_facts()
        reply_with(message.reply, self._roll.view(message.provider))

    def _hear(self, message: c.HearWebhook, reply: Reply | None) -> Any:
        desk = self._desks.get(message.provider)
        if desk is None:
            raise NotFound(f"the provider {message.provider} is not configured")

        def done(answer: str | BaseException) -> None:
            if isinstance(answer, str):
                self._tell_self(Heard(provider=message.provider, token=message.token, remote_id=answer))
                reply_with(reply, True)
            elif isinstance(answer, Forged):
                decline(reply, NotAllowed(f"this is not from {message.provider}: {answer}"))
            else:
                decline(reply, NotFound(str(answer) or type(answer).__name__))

        desk.hear(message.headers, message.body, done)
        return LATER

    # --- small things ------------------------------------------------------------------------------------------

    def _answer_of(self, name: str) -> Any:
        def answer(call: CloudCall, result: Any, trouble: Trouble | None) -> None:
            self._tell_self(CallEnded(provider=name, call=call, result=result, trouble=trouble))

        return answer

    def _progress_of(self, name: str) -> Any:
        def say(fence: int, words: str) -> None:
            self._tell_self(Uploading(provider=name, fence=fence, words=words))

        return say

    def _tell_self(self, message: Message) -> None:
        """From any thread. Raises Busy when the inbox is full; nobody listens after the end."""
        try:
            self.actor_ref.tell(message)
        except ActorDeadError:
            log.debug("%s came too late", type(message).__name__)

    def _now(self) -> Now:
        return Now(self.clock.now(), self.clock.monotonic())


def _provider_at(host: str) -> str:
    return host.removeprefix(CLOUD_HOST_PREFIX)


def _rows_of(done: Reply) -> list[dict[str, Any]] | None:
    if done.exception() is not None:
        log.error("what is stored of the providers could not be read: %s", done.exception())
        return None
    rows: list[dict[str, Any]] = done.result()[REGISTER]
    return rows
