"""The book of webhooks: who is told what, when again, and that nothing is lost or said twice by it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from gpuyard.actors.model.people import Level
from gpuyard.actors.model.registers import AppendAudit, DropRecord, PutRecord, RecordRow
from gpuyard.actors.model.webhooks import book as books, pace
from gpuyard.actors.model.webhooks.book import Book, Person
from gpuyard.actors.model.webhooks.records import Delivery, Outcome, Webhook, delivery_from, webhook_from
from tests.unit.webhooks.world import PEOPLE, T0, entry, event, hook

OK, BAD = Outcome(status=204), Outcome(status=500, why="it answered 500")


class Disk:
    """Registers as the store keeps them."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, dict[str, Any]]] = {"webhook": {}, "webhook_delivery": {}}
        self.audit: list[AppendAudit] = []

    def write(self, rows: tuple[RecordRow, ...] | list[RecordRow]) -> None:
        for row in rows:
            match row:
                case PutRecord(register=register, values=values):
                    kept = {
                        key: json.dumps(value) if isinstance(value, tuple) else value for key, value in values.items()
                    }
                    self.rows[register].setdefault(values["id"], {}).update(kept)
                case DropRecord(register=register, where=where):
                    gone = [
                        id for id, one in self.rows[register].items() if all(one[key] == where[key] for key in where)
                    ]
                    for id in gone:
                        del self.rows[register][id]
                case AppendAudit():
                    self.audit.append(row)

    def book(self) -> Book:
        return Book(
            map(webhook_from, self.rows["webhook"].values()), map(delivery_from, self.rows["webhook_delivery"].values())
        )


def begun(*hooks: Webhook) -> tuple[Disk, Book]:
    disk = Disk()
    disk.write([one.row() for one in hooks or (hook(),)])
    return disk, disk.book()


def tell(disk: Disk, book: Book, *ids: int, kind: str = "job_completed", now: float = T0, **more: Any) -> None:
    change = book.told([event(id, kind) for id in ids], {"job1": entry(**more)}, PEOPLE, now)
    disk.write(change.rows)
    book.keep(change)


def due(book: Book, now: float = T0) -> list[Delivery]:
    return book.due(now)


def test_an_end_is_told_once_and_signed_by_one_id() -> None:
    disk, book = begun()
    tell(disk, book, 1)
    [message] = due(book)
    assert due(book) == [], "it is on its way"
    said = json.loads(message.body)
    assert (said["type"], said["timestamp"]) == ("job.completed", "1970-01-12T13:46:41.000Z")
    data = said["data"]
    assert (data["job_id"], data["name"], data["user"], data["status"]) == ("job1", "night run", "ann", "completed")
    assert (data["attempts"], data["ended_at"], data["team_id"]) == (1, "1970-01-12T13:46:49.000Z", "vision")
    disk.write(book.ended(message.id, OK, T0 + 1, 0.5))
    tell(disk, book, 1)
    assert due(book, T0 + 9e9) == [] and disk.book().deliveries("wh_1")[0].state == "delivered"


@pytest.mark.parametrize(
    ("kind", "data", "word"),
    [
        ("job_completed", {}, "completed"),
        ("job_failed", {"message": "CUDA out of memory"}, "failed"),
        ("job_rejected", {"reason": "too dear"}, "failed"),
        ("approval_expired", {}, "failed"),
        ("job_cancelled", {}, "cancelled"),
        ("job_submitted", {"status": "blocked"}, "blocked"),
        ("job_approved", {"reason": "ok"}, "approved"),
        ("job_submitted", {"status": "pending"}, ""),
        ("job_requeued", {}, ""),
        ("limits_changed", {}, ""),
    ],
)
def test_what_is_told_and_as_what(kind: str, data: dict[str, Any], word: str) -> None:
    everything = ("completed", "failed", "cancelled", "blocked", "approved")
    _, book = begun(hook(events=everything))
    change = book.told([event(1, kind, **data)], {"job1": entry()}, PEOPLE, T0)
    assert [one.type for one in change.deliveries] == ([f"job.{word}"] if word else [])
    if word and data.get("message", data.get("reason")):
        assert json.loads(change.deliveries[0].body)["data"]["reason"] == data.get("message", data.get("reason"))


@pytest.mark.parametrize(
    ("owner", "scope", "told"),
    [
        (3, "own", {3}),
        (4, "own", {4}),
        (2, "own", {2}),
        (2, "team", {2, 3}),
        (3, "team", set()),
        (1, "all", {1, 2, 3, 4}),
        (2, "all", set()),
        (1, "team", set()),
        (9, "own", set()),
        (9, "all", set()),
    ],
)
def test_whose_jobs_a_webhook_hears_of(owner: int, scope: str, told: set[int]) -> None:
    """By what its owner may see today: no team of one's own means nobody, and a user who is gone hears nothing."""
    _, book = begun(hook(owner=owner, scope=scope))
    heard = {
        user
        for user, person in PEOPLE.items()
        if book.told([event(1)], {"job1": entry(user_id=user, team_id=person.team_id)}, PEOPLE, T0).deliveries
    }
    assert heard == told


def test_who_is_shut_out_or_of_a_lower_level_now_hears_nothing_more() -> None:
    _, book = begun(hook(owner=1, scope="all"))
    entries = {"job1": entry()}
    for person in (Person("root", Level.ADMIN, None, True), Person("root", Level.LEAD), Person("root", Level.VIEWER)):
        assert book.told([event(1)], entries, {**PEOPLE, 1: person}, T0).deliveries == ()
    assert len(book.told([event(1)], entries, PEOPLE, T0).deliveries) == 1


def test_a_slow_receiver_has_only_its_own_messages_waiting() -> None:
    disk, book = begun(hook("wh_1"), hook("wh_2"))
    tell(disk, book, *range(1, 8))
    first = due(book)
    assert {one.webhook_id for one in first} == {"wh_1", "wh_2"} and len(first) == 2 * books.AT_ONCE
    for _ in range(20):
        for one in [one for one in first if one.webhook_id == "wh_2"]:
            disk.write(book.ended(one.id, OK, T0, 0.5))
        first = [one for one in first if one.webhook_id == "wh_1"] + due(book)
    assert (book.waiting("wh_1"), book.waiting("wh_2")) == (7, 0)


def test_it_is_tried_for_more_than_a_day_then_given_up_and_the_webhook_disabled() -> None:
    disk, book = begun()
    tell(disk, book, 1)
    now, tries = T0, 0
    while message := next(iter(due(book, now)), None):
        tries += 1
        disk.write(book.ended(message.id, BAD, now, 0.5))
        waiting = [one.next_at for one in book.deliveries("wh_1") if one.state == "pending"]
        now = max([now, *waiting])
    assert tries == len(pace.DELAYS) + 1 and 24 * 3600 < now - T0 < 48 * 3600
    webhook = disk.book().webhooks["wh_1"]
    assert not webhook.enabled and webhook.why == "nothing was taken for 28 hours: it answered 500"
    [message] = disk.book().deliveries("wh_1")
    assert (message.state, message.attempts, message.status) == ("given_up", tries, 500)
    assert [line.action for line in disk.audit] == ["webhook_disabled"] and "hook" not in disk.audit[0].detail["url"]
    tell(disk, book, 2)
    assert due(book, now + 9e9) == []


def test_one_message_that_is_never_taken_disables_nothing_while_others_are() -> None:
    disk, book = begun()
    tell(disk, book, 1)
    [bad] = due(book)
    now, number = T0, 1
    while book.deliveries("wh_1")[-1].state == "pending":
        disk.write(book.ended(bad.id, BAD, now, 0.5))
        number += 1
        tell(disk, book, number, now=now)
        for one in due(book, now):
            if one.id != bad.id:
                disk.write(book.ended(one.id, OK, now, 0.5))
        now = next((one.next_at for one in book.deliveries("wh_1") if one.id == bad.id), now)
        book.due(now)
    assert disk.book().webhooks["wh_1"].enabled


def test_410_disables_at_once_and_what_waits_is_given_up() -> None:
    disk, book = begun()
    tell(disk, book, 1, 2, 3)
    message = due(book)[0]
    disk.write(book.ended(message.id, Outcome(status=410, why="it answered 410"), T0, 0.5))
    again = disk.book()
    assert "gone for good" in again.webhooks["wh_1"].why
    assert {one.state for one in again.deliveries("wh_1") if one.event_id == 3} == {"given_up"}
    other = next(one for one in book.deliveries("wh_1") if one.event_id == 2)
    disk.write(book.ended(other.id, BAD, T0, 0.5))
    assert disk.book().waiting("wh_1") == 0


def test_what_waits_is_bounded_and_so_is_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "MOST_WAITING", 5)
    monkeypatch.setattr(books, "KEPT", 3)
    disk, book = begun()
    tell(disk, book, *range(1, 21))
    disk.write(book.crowded(T0))
    kept = disk.book().deliveries("wh_1")
    assert [one.event_id for one in kept if one.state == "pending"] == [20, 19, 18, 17, 16]
    assert len(kept) == 5 + 3 and kept == book.deliveries("wh_1")


@given(st.integers(1, 30), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1e9)))
def test_pauses_grow_and_are_bounded(attempts: int, chance: float, retry_after: float | None) -> None:
    at = pace.next_at(attempts, T0, chance, retry_after)
    if attempts > len(pace.DELAYS):
        assert at is None
        return
    assert at is not None
    delay = pace.DELAYS[attempts - 1]
    assert 0.8 * delay - 1e-6 <= at - T0 <= max(1.2 * delay, 3600.0) + 1e-6
    if retry_after is None:
        assert at - T0 <= 1.2 * delay + 1e-6


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_happens_each_end_is_taken_or_given_up_and_known_after_a_crash(data: st.DataObject) -> None:
    """Events come, attempts end well and badly, the process dies between any two of these (what was not written is
    lost, what was read is read again): each event of the webhook is known, and is never known twice."""
    disk, book = begun()
    story = 0
    flying: list[str] = []
    taken: set[int] = set()
    now = T0
    for _ in range(data.draw(st.integers(1, 25))):
        now += data.draw(st.floats(0, 50_000))
        match data.draw(st.sampled_from(["event", "read", "send", "end", "crash", "crash before the write"])):
            case "event":
                story += 1
            case "read" | "crash before the write" as step:
                after = book.cursor
                if after is not None:
                    events = [event(id) for id in range(after + 1, story + 1)]
                    change = book.told(events, {"job1": entry()}, PEOPLE, now)
                    if step == "read":
                        disk.write(change.rows)
                        book.keep(change)
                    else:
                        book, flying = disk.book(), []
            case "send":
                flying += [one.id for one in book.due(now)]
            case "end" if flying:
                id = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
                outcome = data.draw(st.sampled_from([OK, BAD, Outcome(why="no answer")]))
                if outcome is OK:
                    taken |= {one.event_id for one in book.deliveries("wh_1") if one.id == id}
                disk.write(book.ended(id, outcome, now, 0.5))
            case "crash":
                book, flying = disk.book(), []
            case _:
                pass
    after = book.cursor
    if after is not None:
        tell(disk, book, *range(after + 1, story + 1), now=now)
        known = [one.event_id for one in disk.book().deliveries("wh_1")]
        assert sorted(known) == list(range(1, story + 1))
    states = {one.event_id: one.state for one in disk.book().deliveries("wh_1")}
    assert {states[id] for id in taken} <= {"delivered"}
