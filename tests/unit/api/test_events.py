"""GET /api/events over a real port: what is followed, what is replayed, who sees what, who is dropped."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetEvents, GetLastEvent
from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.api import hub as hubs
from gpuyard.api.identity import Caller, Identity
from gpuyard.api.settings import Settings
from tests.answering import Cast
from tests.frontends import Served, frontend
from tests.support import eventually


def event(number: int, user_id: int | None = 1, kind: str = "job_started") -> EventRow:
    return EventRow(
        id=number, at=1_700_000_000.5, kind=kind, job_id="j1", user_id=user_id, by="ann", data={"n": number}, cause="c"
    )


def stored(actors: Cast, rows: list[EventRow], oldest: int = 1) -> None:
    """A history that keeps these."""

    def page(message: Message) -> list[EventRow]:
        assert isinstance(message, GetEvents)
        return [row for row in rows if row.id > message.after][: message.limit]

    newest = rows[-1].id if rows else 0
    actors.play(names.HISTORY, {GetLastEvent: (oldest if rows else 0, newest), GetEvents: page})


def followed(served: Served) -> None:
    """Wait until the stream that was just opened is subscribed."""
    eventually(lambda: served.cores[-1][1]._watchers and any(_subscriptions(served)))


def _subscriptions(served: Served) -> Iterator[hubs.Subscription]:
    for watcher in served.cores[-1][1]._watchers:
        if isinstance(watcher, hubs.Hub):
            yield from watcher._subscriptions


def test_an_event_arrives_with_its_id_kind_and_story(served: Served) -> None:
    with served.stream() as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        assert stream.frame() == {"retry": "2000"}
        followed(served)
        served.publish([event(5)], 9)
        frame = stream.frame()
        assert (frame["id"], frame["event"]) == ("5", "job_started")
        assert json.loads(frame["data"]) == {
            "id": 5,
            "at": "2023-11-14T22:13:20.500Z",
            "kind": "job_started",
            "job_id": "j1",
            "user_id": 1,
            "by": "ann",
            "data": {"n": 5},
            "cause": "c",
        }
        assert stream.frame() == {"event": "queue_changed", "data": '{"revision":9}'}


def test_many_streams_get_the_same(served: Served) -> None:
    with served.stream() as one, served.stream() as two:
        eventually(lambda: len(list(_subscriptions(served))) == 2)
        served.publish([event(1), event(2)], 2)
        for stream in (one, two):
            assert [frame.get("id") for frame in stream.until("queue_changed")[1:]] == ["1", "2", None]


def test_what_was_missed_is_replayed_and_nothing_comes_twice(served: Served, actors: Cast) -> None:
    stored(actors, [event(n) for n in range(1, 8)])
    with served.stream(Last_Event_ID="4") as stream:
        assert stream.frame() == {"retry": "2000"}
        assert [stream.frame()["id"] for _ in range(3)] == ["5", "6", "7"]
        served.publish([event(7), event(8)], 3)
        assert [frame.get("id") for frame in stream.until("queue_changed")] == ["8", None]


def test_a_long_past_comes_in_pages(served: Served, actors: Cast) -> None:
    stored(actors, [event(n) for n in range(1, 2_501)])
    with served.stream(Last_Event_ID="0") as stream:
        stream.frame()
        assert [int(stream.frame()["id"]) for _ in range(2_500)] == list(range(1, 2_501))


@pytest.mark.parametrize("sent", ["10", "3", "900"])
def test_a_past_that_is_gone_or_never_was_asks_for_a_resync(served: Served, actors: Cast, sent: str) -> None:
    stored(actors, [event(n) for n in range(50, 60)], oldest=50)
    with served.stream(Last_Event_ID=sent) as stream:
        stream.frame()
        assert stream.frame() == {"id": "59", "event": "resync", "data": "{}"}
        followed(served)
        served.publish([event(60)], 3)
        assert stream.frame()["id"] == "60"


def test_the_very_next_event_is_no_gap(served: Served, actors: Cast) -> None:
    stored(actors, [event(n) for n in range(50, 60)], oldest=50)
    with served.stream(Last_Event_ID="49") as stream:
        stream.frame()
        assert stream.frame()["id"] == "50"


@pytest.mark.parametrize("sent", ["-1", "x", "1.5", "9" * 19, "\xb2"])
def test_a_last_event_id_that_is_none_is_refused(served: Served, sent: str) -> None:
    answer = served.ask("GET", "/api/events", Last_Event_ID=sent)
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "Last-Event-ID")


def test_a_cut_link_asks_for_a_resync_and_ends_the_stream(served: Served) -> None:
    with served.stream() as stream:
        stream.frame()
        followed(served)
        served.interrupt()
        assert stream.frame() == {"event": "resync", "data": "{}"}
        assert stream.frame() == {}


def test_a_history_that_is_away_ends_the_stream(served: Served, actors: Cast) -> None:
    actors.end(names.HISTORY)
    with served.stream(Last_Event_ID="4") as stream:
        stream.frame()
        assert stream.frame() == {}


class As:
    """An authenticator that believes the token: LEVEL:USER."""

    async def identify(self, caller: Caller) -> Identity:
        level, _, number = caller.credential.partition(":")
        return Identity(Viewer(user_id=int(number), username=number, level=Level[level]), number, unlimited=True)


def test_a_viewer_sees_its_own_and_what_is_everybodys_and_a_lead_sees_all(actors: Cast) -> None:
    rows = [event(1, user_id=1), event(2, user_id=2), event(3, user_id=None, kind="gpu_changed")]
    stored(actors, rows)
    seen = {}
    with frontend(actors, authenticator=As()) as served:
        for who in ("RESEARCHER:1", "VIEWER:2", "LEAD:9", "ADMIN:9"):
            with (
                served.stream(X_API_Key=who, Last_Event_ID="0") as past,
                served.stream(X_API_Key=who) as present,
            ):
                eventually(lambda: len(list(_subscriptions(served))) == 2)
                past.frame()
                served.publish(rows, 4)
                live = [frame.get("id") for frame in present.until("queue_changed")]
                old = [frame.get("id") for frame in past.until("queue_changed")]
                assert live[1:] == old
                seen[who] = [int(id) for id in old if id]
            eventually(lambda: not list(_subscriptions(served)))
    assert seen == {"RESEARCHER:1": [1, 3], "VIEWER:2": [2, 3], "LEAD:9": [1, 2, 3], "ADMIN:9": [1, 2, 3]}


def test_who_does_not_keep_up_is_told_to_resync_and_dropped(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "MOST_WAITING", 20)
    with served.stream() as slow:
        slow.frame()
        followed(served)
        for batch in range(200):
            served.publish([event(batch * 50 + n) for n in range(50)], batch)
        frames = slow.until("resync")
        assert len(frames) < 200 * 50
        assert slow.frame() == {}


def test_quiet_streams_carry_comments(actors: Cast) -> None:
    with frontend(actors, Settings(keepalive_seconds=0.02)) as served, served.stream() as stream:
        stream.frame()
        assert stream.frame() == {"": "keep-alive"}
        assert stream.frame() == {"": "keep-alive"}


def test_there_are_only_so_many_streams(actors: Cast) -> None:
    with frontend(actors, Settings(max_streams=2)) as served:
        with served.stream() as one, served.stream() as two:
            one.frame()
            two.frame()
            answer = served.ask("GET", "/api/events")
            assert (answer.status, answer.json["code"]) == (503, "busy")
            assert answer.headers["retry-after"] == "1"

        def again() -> bool:
            with served.stream() as third:
                return bool(third.frame())

        eventually(again)


def test_a_client_that_hangs_up_is_forgotten(served: Served) -> None:
    with served.stream() as stream:
        stream.frame()
        followed(served)
    eventually(lambda: not list(_subscriptions(served)))


def test_open_streams_do_not_hold_up_the_end(actors: Cast) -> None:
    with frontend(actors) as served:
        with served.stream() as stream:
            stream.frame()
            followed(served)
            actors.end(names.FRONTEND)
            assert stream.frame() == {}
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", served.port), timeout=5)
