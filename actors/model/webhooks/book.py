"""The book of webhooks: which message goes to whom, when, and what follows from how it went.

A proposal (`Change`) is made from the book as it is and kept (`keep`) once its rows are durable: a message is known
before it is sent, so that none is lost; how an attempt went is kept at once, since at worst it is made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.people import Level
from gpuyard.actors.model.registers import AppendAudit, DropRecord, RecordRow
from gpuyard.actors.model.views import Entry
from gpuyard.actors.model.webhooks import pace, payload, place
from gpuyard.actors.model.webhooks.records import DELIVERY, WEBHOOK, Delivery, Outcome, Scope, State, Webhook

# At once to one webhook: a slow receiver has only its own messages waiting.
AT_ONCE: Final = 2
# Waiting for one webhook; beyond that the oldest is given up.
MOST_WAITING: Final = 1_000
# Ended messages that are kept to look at, of each webhook.
KEPT: Final = 50
HOUR: Final = 3_600.0


class Person(NamedTuple):
    """An owner as of now."""

    username: str
    level: Level
    team_id: str | None = None
    disabled: bool = False


People = Mapping[int, Person]


class Change(NamedTuple):
    webhooks: tuple[Webhook, ...]
    deliveries: tuple[Delivery, ...]
    rows: tuple[RecordRow, ...]


def is_told(webhook: Webhook, type: str, entry: Entry, people: People) -> bool:
    """Does this webhook hear of it? What its owner may see today decides, not what it was."""
    owner = people.get(webhook.owner)
    if owner is None or owner.disabled or type not in webhook.events:
        return False
    match webhook.scope:
        case Scope.OWN:
            return entry.user_id == webhook.owner
        case Scope.TEAM:
            return owner.level >= Level.LEAD and owner.team_id is not None and entry.team_id == owner.team_id
        case Scope.ALL:
            return owner.level >= Level.ADMIN
        case _:
            return False


class Book:
    def __init__(self, webhooks: Iterable[Webhook] = (), deliveries: Iterable[Delivery] = ()) -> None:
        self.webhooks = {webhook.id: webhook for webhook in webhooks}
        self._of: dict[str, dict[str, Delivery]] = {id: {} for id in self.webhooks}
        self._flying: set[str] = set()
        for delivery in deliveries:
            if delivery.webhook_id in self._of:
                self._of[delivery.webhook_id][delivery.id] = delivery

    # --- what happens to jobs ----------------------------------------------------------------------------------

    @property
    def cursor(self) -> int | None:
        """Events up to here are known to all who listen; None while nobody does."""
        return min((webhook.cursor for webhook in self._live()), default=None)

    def told(self, events: Sequence[EventRow], entries: Mapping[str, Entry], people: People, now: float) -> Change:
        """The messages that follow from `events` (all up to the last one). `entries` are jobs by id; one that has been
        deleted since is told to nobody."""
        last = events[-1].id if events else 0
        made: list[Delivery] = []
        heard: set[str] = set()
        for event in events:
            type, entry = payload.type_of(event), entries.get(event.job_id or "")
            if type is None or entry is None:
                continue
            for webhook in self._live():
                if event.id > webhook.cursor and is_told(webhook, type, entry, people):
                    user = people.get(entry.user_id)
                    body = payload.body_of(type, event, entry, user.username if user else "")
                    made.append(_delivery(webhook, event, f"job.{type}", body, now))
                    heard.add(webhook.id)
        moved = [msgspec.structs.replace(w, cursor=last) for w in self._live() if w.cursor < last]
        # A cursor alone is no reason to write: the same events say the same again.
        rows = [webhook.row() for webhook in moved if webhook.id in heard] + [delivery.row() for delivery in made]
        return Change(tuple(moved), tuple(made), tuple(rows))

    def keep(self, change: Change) -> None:
        """Its rows are durable."""
        for webhook in change.webhooks:
            if webhook.id in self.webhooks:
                known = self.webhooks[webhook.id]
                self.webhooks[webhook.id] = msgspec.structs.replace(known, cursor=max(known.cursor, webhook.cursor))
        for delivery in change.deliveries:
            if delivery.webhook_id in self._of:
                self._of[delivery.webhook_id].setdefault(delivery.id, delivery)

    def crowded(self, now: float) -> list[RecordRow]:
        """Give up the oldest where too many wait."""
        rows: list[RecordRow] = []
        for webhook in self._live():
            waiting = sorted(self._waiting(webhook.id), key=lambda delivery: delivery.event_id)
            for delivery in waiting[: max(0, len(waiting) - MOST_WAITING)]:
                rows += self._end(delivery, State.GIVEN_UP, now, why=f"more than {MOST_WAITING} messages wait")
        return rows

    # --- sending -----------------------------------------------------------------------------------------------

    def due(self, now: float) -> list[Delivery]:
        """What is to be sent now; it counts as on its way until `ended`."""
        found = []
        for webhook in self._live():
            flying = sum(delivery_id in self._flying for delivery_id in self._of[webhook.id])
            ready = sorted(
                (d for d in self._waiting(webhook.id) if d.next_at <= now), key=lambda d: (d.next_at, d.event_id)
            )
            found += ready[: max(0, AT_ONCE - flying)]
        self._flying.update(delivery.id for delivery in found)
        return found

    def ended(self, delivery_id: str, outcome: Outcome, now: float, chance: float) -> list[RecordRow]:
        """An attempt has ended."""
        self._flying.discard(delivery_id)
        delivery = next((of[delivery_id] for of in self._of.values() if delivery_id in of), None)
        if delivery is None or delivery.state != State.PENDING:
            return []  # its webhook was deleted or disabled meanwhile
        webhook = self.webhooks[delivery.webhook_id]
        delivery = msgspec.structs.replace(
            delivery, attempts=delivery.attempts + 1, status=outcome.status, why="" if outcome.taken else outcome.why
        )
        if outcome.taken:
            rows = self._mark(msgspec.structs.replace(webhook, failing_since=None, delivered_at=now))
            return rows + self._end(delivery, State.DELIVERED, now)
        rows = []
        if webhook.failing_since is None:
            webhook = msgspec.structs.replace(webhook, failing_since=now)
            rows += self._mark(webhook)
        if outcome.gone:
            rows += self._end(delivery, State.GIVEN_UP, now)
            return rows + self.disable(webhook.id, "the receiver says that it is gone for good (410)", now)
        if not webhook.enabled:
            return rows + self._end(delivery, State.GIVEN_UP, now)
        again = pace.next_at(delivery.attempts, now, chance, outcome.retry_after)
        if again is not None:
            delivery = msgspec.structs.replace(delivery, next_at=again)
            self._of[webhook.id][delivery.id] = delivery
            return [*rows, delivery.row()]
        rows += self._end(delivery, State.GIVEN_UP, now)
        if webhook.failing_since is not None and webhook.failing_since <= delivery.created_at + HOUR:
            hours = (now - webhook.failing_since) / HOUR
            rows += self.disable(webhook.id, f"nothing was taken for {hours:.0f} hours: {outcome.why}", now)
        return rows

    # --- what people do ----------------------------------------------------------------------------------------

    def add(self, webhook: Webhook) -> None:
        self.webhooks[webhook.id] = webhook
        self._of.setdefault(webhook.id, {})

    def remove(self, webhook_id: str) -> None:
        self.webhooks.pop(webhook_id, None)
        self._of.pop(webhook_id, None)

    @staticmethod
    def removal(webhook_id: str) -> list[RecordRow]:
        return [DropRecord(WEBHOOK, {"id": webhook_id}), DropRecord(DELIVERY, {"webhook_id": webhook_id})]

    def disable(self, webhook_id: str, why: str, now: float) -> list[RecordRow]:
        """By gpuyard itself: its waiting messages are given up, and the audit tells. Repeat: harmless."""
        webhook = self.webhooks[webhook_id]
        if not webhook.enabled:
            return []
        rows = self._mark(msgspec.structs.replace(webhook, enabled=False, why=why))
        rows += self.give_up(webhook_id, f"the webhook was disabled: {why}", now)
        detail = {"url": place.short(webhook.url), "why": why}
        return [*rows, AppendAudit(at=now, action="webhook_disabled", subject=webhook_id, detail=detail)]

    def give_up(self, webhook_id: str, why: str, now: float) -> list[RecordRow]:
        """All that waits for it."""
        return [
            row for delivery in list(self._waiting(webhook_id)) for row in self._end(delivery, State.GIVEN_UP, now, why)
        ]

    def deliveries(self, webhook_id: str) -> list[Delivery]:
        """The newest first."""
        return sorted(self._of.get(webhook_id, {}).values(), key=lambda d: (d.event_id, d.created_at), reverse=True)

    def waiting(self, webhook_id: str) -> int:
        """Messages that have not been taken yet."""
        return sum(delivery.state == State.PENDING for delivery in self._of.get(webhook_id, {}).values())

    # --- small steps -------------------------------------------------------------------------------------------

    def _live(self) -> list[Webhook]:
        return [webhook for webhook in self.webhooks.values() if webhook.enabled]

    def _waiting(self, webhook_id: str) -> Iterator[Delivery]:
        """What is neither ended nor on its way."""
        for delivery in self._of.get(webhook_id, {}).values():
            if delivery.state == State.PENDING and delivery.id not in self._flying:
                yield delivery

    def _mark(self, webhook: Webhook) -> list[RecordRow]:
        self.webhooks[webhook.id] = webhook
        return [webhook.row()]

    def _end(self, delivery: Delivery, state: State, now: float, why: str | None = None) -> list[RecordRow]:
        ended = msgspec.structs.replace(delivery, state=state, ended_at=now, why=delivery.why if why is None else why)
        of = self._of[delivery.webhook_id]
        of[delivery.id] = ended
        old = sorted((d for d in of.values() if d.state != State.PENDING), key=lambda d: d.ended_at or 0.0)
        rows: list[RecordRow] = [ended.row()]
        for one in old[: max(0, len(old) - KEPT)]:
            del of[one.id]
            rows.append(DropRecord(DELIVERY, {"id": one.id}))
        return rows


def _delivery(webhook: Webhook, event: EventRow, type: str, body: str, now: float) -> Delivery:
    """Its id follows from what it tells: a story that is read twice makes it once."""
    return Delivery(
        id=f"msg_{webhook.id.removeprefix('wh_')}{event.id}",
        webhook_id=webhook.id,
        event_id=event.id,
        type=type,
        body=body,
        created_at=now,
        next_at=now,
    )
