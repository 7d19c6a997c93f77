"""Webhooks: tells addresses of users' choice what happens to jobs (`model/webhooks`). A thin shell round its book.

It reads the story behind a durable cursor, so a commit of the Scheduler carries nothing for it and a crash loses
nothing: a message is written down together with the cursor, then sent until it is taken or given up. Whatever waits
(a receiver, a name, a file, another actor) is done in the sender's loop, which comes back with `GoOn`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import ssl
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from gpuyard.actors.base import Actor, Context, Reply
from gpuyard.actors.hooks import views
from gpuyard.actors.hooks.aside import AGAIN_SECONDS, Aside, GoOn, go_on
from gpuyard.actors.hooks.keys import Keys
from gpuyard.actors.hooks.sender import Parcel, Resolve, Sender, addresses
from gpuyard.actors.hooks.story import Story, read_story
from gpuyard.actors.model import commands as c, names
from gpuyard.actors.model.errors import GpuyardError, InvalidInput, NotAllowed, NotFound, Unavailable
from gpuyard.actors.model.message import Message, Tick
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.actors.model.registers import AppendAudit, RecordRow, audit_line
from gpuyard.actors.model.views import WebhookMade, WebhookTested, WebhookView
from gpuyard.actors.model.webhooks import payload, place
from gpuyard.actors.model.webhooks.address import Network
from gpuyard.actors.model.webhooks.book import Book, Change
from gpuyard.actors.model.webhooks.records import (
    DELIVERY,
    ENDS,
    REGISTERS,
    WEBHOOK,
    Delivery,
    Outcome,
    Scope,
    Type,
    Webhook,
    delivery_from,
    webhook_from,
)

log = logging.getLogger("gpuyard.webhooks")

FOLDER: Final = ("secrets", "webhooks")
BEAT_SECONDS: Final = 1.0
# Of one user.
MOST: Final = 50
NEEDED: Final = {Scope.TEAM: Level.LEAD, Scope.ALL: Level.ADMIN}


class Webhooks(Actor):
    """`networks` are those that webhooks may reach although they are not public, as the settings say."""

    def __init__(
        self,
        context: Context,
        data_dir: Path,
        networks: Sequence[Network] = (),
        resolve: Resolve = addresses,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(context)
        self._networks = tuple(networks)
        self._keys = Keys(Path(data_dir).absolute().joinpath(*FOLDER))
        self._sender = Sender(self._networks, resolve, tls)
        self._aside = Aside(self._sender.do, context.ref(context.name))
        self._book: Book | None = None
        self._reading = self._beating = False

    def started(self) -> None:
        self._sender.start()
        self._load()

    def stopped(self) -> None:
        self._sender.stop()

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case GoOn():
                return go_on(message)
            case Tick():
                return self._tick()
            case c.AddWebhook():
                return self._add(message, reply)
            case c.ListWebhooks():
                return self._list(message)
            case c.SetWebhook():
                return self._set(message, reply)
            case c.RemoveWebhook():
                return self._remove(message, reply)
            case c.TestWebhook():
                return self._test(message, reply)
            case c.ListDeliveries():
                self._own(message.id, message.by)
                return [views.delivery(one) for one in self._known().deliveries(message.id)]
            case c.ForgetWebhooks(owner=owner):
                return self._forget(owner)
            case c.Ready():
                return self._book is not None
            case _:
                return self.unsupported(message)

    # --- the story ---------------------------------------------------------------------------------------------

    def _load(self) -> None:
        self._book = None
        self._aside.do(self._read_registers(), self._loaded, None)

    async def _read_registers(self) -> dict[str, list[dict[str, Any]]]:
        while True:
            try:
                found: dict[str, list[dict[str, Any]]] = await self._asked(
                    names.STORE, c.LoadRegisters(registers=REGISTERS)
                )
                await asyncio.to_thread(self._keys.sweep, {row["id"] for row in found[WEBHOOK]})
            except GpuyardError as error:
                log.warning("the webhooks could not be read: %s", error)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return found

    def _loaded(self, found: dict[str, list[dict[str, Any]]]) -> None:
        self._book = Book(map(webhook_from, found[WEBHOOK]), map(delivery_from, found[DELIVERY]))
        self._beat()

    def _beat(self) -> None:
        """Where nobody listens nothing is done."""
        if not self._beating and self._book is not None and self._book.cursor is not None:
            self._beating = True
            self.inbox.after(0.0, Tick())

    def _tick(self) -> None:
        self._beating = False
        book = self._book
        if book is None or book.cursor is None:
            return
        self._read(book.cursor)
        self._send_due(book)
        self._beating = True
        self.inbox.after(BEAT_SECONDS, Tick())

    def _read(self, after: int) -> None:
        if self._reading:
            return
        self._reading = True
        self._aside.do(read_story(self._asked, after), self._heard, None, failed=self._read_over)

    def _read_over(self) -> None:
        self._reading = False

    def _heard(self, story: Story) -> None:
        book = self._book
        if book is None:
            self._reading = False
            return
        change = book.told(story.events, story.entries, story.people, self.clock.now())
        if not change.rows:
            self._kept(change, story.more)
            return
        record = self._asked(names.STORE, c.Record(rows=change.rows))
        self._aside.do(record, lambda _: self._kept(change, story.more), None, failed=self._read_over)

    def _kept(self, change: Change, more: bool) -> None:
        self._reading = False
        book = self._book
        if book is None:
            return
        book.keep(change)
        self._write(book.crowded(self.clock.now()))
        self._send_due(book)
        if more and book.cursor is not None:
            self._read(book.cursor)

    # --- sending -----------------------------------------------------------------------------------------------

    def _send_due(self, book: Book) -> None:
        for delivery in book.due(self.clock.now()):
            url = book.webhooks[delivery.webhook_id].url
            sending = self._attempt(delivery.id, delivery.webhook_id, url, delivery.body)
            self._aside.do(sending, partial(self._ended, delivery), None)

    async def _attempt(self, message_id: str, webhook_id: str, url: str, body: str) -> Outcome:
        try:
            secret = await asyncio.to_thread(self._keys.read, webhook_id)
        except GpuyardError as error:
            return Outcome(why=str(error))
        return await self._sender.attempt(Parcel(message_id, url, body.encode(), secret))

    def _ended(self, delivery: Delivery, outcome: Outcome) -> None:
        book = self._book
        if book is not None:
            self._write(book.ended(delivery.id, outcome, self.clock.now(), random.random()))
            self._send_due(book)

    def _write(self, rows: Sequence[RecordRow]) -> None:
        """How attempts went: at worst one is made again."""
        if rows:
            self.context.ref(names.STORE).tell(c.Record(rows=tuple(rows)))

    # --- what people do ----------------------------------------------------------------------------------------

    def _add(self, command: c.AddWebhook, reply: Reply | None) -> Any:
        book, by = self._known(), command.by
        url, events, scope = _checked(command, self._networks)
        if sum(webhook.owner == by.user_id for webhook in book.webhooks.values()) >= MOST:
            raise InvalidInput(f"you have {MOST} webhooks already: delete one")
        webhook_id = f"wh_{secrets.token_hex(8)}"

        async def add() -> tuple[Webhook, str]:
            _, newest = await self._asked(names.HISTORY, c.GetLastEvent())
            secret = await asyncio.to_thread(self._keys.make, webhook_id)
            now = self.clock.now()
            webhook = Webhook(
                id=webhook_id,
                owner=by.user_id,
                url=url,
                events=events,
                scope=scope,
                cursor=newest,
                created_at=now,
                created_by=by.username,
            )
            detail = {"url": place.short(url), "events": list(events), "scope": scope}
            audit = audit_line(by, now, "webhook_added", webhook_id, command.cause, **detail)
            await self._asked(names.STORE, c.Record(rows=(webhook.row(), audit), cause=command.cause))
            return webhook, secret

        def added(made: tuple[Webhook, str]) -> WebhookMade:
            self._known().add(made[0])
            self._beat()
            return WebhookMade(secret=made[1], webhook=self._view(made[0]))

        return self._aside.do(add(), added, reply)

    def _list(self, question: c.ListWebhooks) -> list[WebhookView]:
        if question.everybody and not question.by.is_admin:
            raise NotAllowed("only an admin sees everybody's webhooks")
        found = self._known().webhooks.values()
        chosen = [one for one in found if question.everybody or one.owner == question.by.user_id]
        return [self._view(webhook) for webhook in sorted(chosen, key=lambda webhook: webhook.created_at)]

    def _set(self, command: c.SetWebhook, reply: Reply | None) -> Any:
        webhook, by, now = self._own(command.id, command.by), command.by, self.clock.now()
        if webhook.enabled == command.enabled:
            return self._view(webhook)

        async def change() -> Webhook:
            cursor = webhook.cursor
            if command.enabled:
                _, cursor = await self._asked(names.HISTORY, c.GetLastEvent())
            changed = msgspec.structs.replace(
                webhook, enabled=command.enabled, why="", failing_since=None, cursor=max(cursor, webhook.cursor)
            )
            action = "webhook_enabled" if command.enabled else "webhook_disabled"
            audit = audit_line(by, now, action, webhook.id, command.cause, url=place.short(webhook.url))
            await self._asked(names.STORE, c.Record(rows=(changed.row(), audit), cause=command.cause))
            return changed

        def changed(made: Webhook) -> WebhookView:
            book = self._known()
            book.add(made)
            if not made.enabled:
                self._write(book.give_up(made.id, "the webhook was disabled", self.clock.now()))
            self._beat()
            return self._view(made)

        return self._aside.do(change(), changed, reply)

    def _remove(self, command: c.RemoveWebhook, reply: Reply | None) -> Any:
        webhook, by = self._own(command.id, command.by), command.by
        view = self._view(webhook)
        detail = {"url": place.short(webhook.url)}
        audit = audit_line(by, self.clock.now(), "webhook_removed", webhook.id, command.cause, **detail)

        async def remove() -> None:
            rows = (*Book.removal(webhook.id), audit)
            await self._asked(names.STORE, c.Record(rows=rows, cause=command.cause))
            await asyncio.to_thread(self._keys.remove, webhook.id)

        def removed(_: None) -> WebhookView:
            self._known().remove(webhook.id)
            return view

        return self._aside.do(remove(), removed, reply)

    def _forget(self, owner: int) -> None:
        """Who is no more is told nothing in any case (`book.is_told`); this clears away."""
        book, now = self._book, self.clock.now()
        for webhook in [one for one in book.webhooks.values() if one.owner == owner] if book is not None else ():
            detail = {"url": place.short(webhook.url), "why": "its owner was deleted"}
            gone = AppendAudit(at=now, action="webhook_removed", subject=webhook.id, detail=detail)
            self._write([*Book.removal(webhook.id), gone])
            self._known().remove(webhook.id)
            self._aside.do(asyncio.to_thread(self._keys.remove, webhook.id), lambda _: None, None)

    def _test(self, command: c.TestWebhook, reply: Reply | None) -> Any:
        webhook = self._own(command.id, command.by)
        message_id = f"msg_test{secrets.token_hex(8)}"
        body = payload.test_body(webhook.id, self.clock.now())

        def tested(outcome: Outcome) -> WebhookTested:
            return WebhookTested(
                id=message_id, ok=outcome.taken, status=outcome.status, why=outcome.why, seconds=outcome.seconds
            )

        return self._aside.do(self._attempt(message_id, webhook.id, webhook.url, body), tested, reply)

    def _own(self, webhook_id: str, by: Viewer) -> Webhook:
        """Raises NotFound, also for others' webhooks."""
        webhook = self._known().webhooks.get(webhook_id)
        if webhook is None or not (by.is_admin or webhook.owner == by.user_id):
            raise NotFound(f"there is no webhook {webhook_id}; `gpuyard webhooks list` shows yours")
        return webhook

    def _view(self, webhook: Webhook) -> WebhookView:
        return views.webhook(webhook, self._known().waiting(webhook.id))

    def _known(self) -> Book:
        if self._book is None:
            raise Unavailable("the webhooks are not read yet: try again shortly")
        return self._book

    # --- what takes its time -----------------------------------------------------------------------------------

    async def _asked(self, to: str, message: Message) -> Any:
        """The answer of another actor. In the sender's loop. Raises GpuyardError."""
        return await asyncio.wrap_future(self.context.ref(to).ask(message))


def _checked(command: c.AddWebhook, networks: Sequence[Network]) -> tuple[str, tuple[str, ...], str]:
    """Address, events and scope. Raises InvalidInput, NotAllowed."""
    try:
        url = place.checked(command.url, networks)
    except ValueError as error:
        raise InvalidInput(f"url {error}", field="url") from None
    events = tuple(dict.fromkeys(command.events)) or tuple(map(str, ENDS))
    for event in events:
        if event not in {*Type}:
            raise InvalidInput(f"events must be some of {', '.join(Type)}, not {event[:40]!r}", field="events")
    if command.scope not in {*Scope}:
        raise InvalidInput(f"scope must be one of {', '.join(Scope)}", field="scope")
    needed = NEEDED.get(Scope(command.scope), Level.VIEWER)
    if command.by.level < needed:
        raise NotAllowed(f"webhooks about the jobs of {command.scope} need level {needed.name.lower()}: ask an admin")
    return url, events, command.scope
