"""Event streams: parsing, resuming after a break, giving up."""

from __future__ import annotations

from typing import Any

import pytest

from gpuyard.cli import sse
from gpuyard.cli.http import ApiError, Client, Unreachable
from gpuyard.cli.sse import Event, parse
from tests.unit.cli.recorder import Answer, Recorder


def stream(text: str) -> Answer:
    """An event stream that ends after `text`."""
    return Answer(raw=text.encode(), headers={"Content-Type": "text/event-stream; charset=utf-8"})


def until_done(client: Client, **more: Any) -> list[Event]:
    found = []
    for event in sse.follow(client, "/s", **more):
        found.append(event)
        if event.kind == "done":
            break
    return found


def test_the_parser_knows_the_standard() -> None:
    text = ": hello\n\nid: 4\ndata: one\n\ndata:two\r\ndata: lines\r\n\r\nevent: done\ndata: completed\n\ndata: cut off"
    assert list(parse(line.encode() + b"\n" for line in text.split("\n"))) == [
        Event("message", "one", "4"),
        Event("message", "two\nlines", "4"),
        Event("done", "completed", "4"),
    ]


def test_a_broken_stream_goes_on_after_the_last_event(server: Recorder, client: Client) -> None:
    told: list[str] = []
    server.on(
        "GET",
        "/s",
        stream("id: 4\ndata: one\n\nid: 8\ndata: two\n\nid: 12\ndata: thr"),
        Answer(break_off=True),
        stream("id: 14\ndata: three\n\nevent: done\ndata: completed\n\n"),
    )
    events = until_done(client, notice=told.append)
    assert [event.data for event in events] == ["one", "two", "three", "completed"]
    assert [asked.headers.get("last-event-id") for asked in server.asked] == [None, "8", "8"]
    assert len(told) == 1, "one break is told once"


def test_a_restarting_server_is_waited_for(server: Recorder, client: Client) -> None:
    server.on(
        "GET",
        "/s",
        stream("id: 4\ndata: one\n\n"),
        Answer({"detail": "starting", "code": "unavailable"}, 503),
        stream("event: done\ndata: failed\n\n"),
    )
    assert [event.data for event in until_done(client)] == ["one", "failed"]


def test_a_refusal_is_raised(server: Recorder, client: Client) -> None:
    server.on("GET", "/s", Answer({"detail": "no such job", "code": "not_found"}, 404))
    with pytest.raises(ApiError) as caught:
        until_done(client, what="the log cannot be followed")
    assert caught.value.status == 404


def test_a_server_that_stays_away_ends_the_following(server: Recorder, client: Client) -> None:
    server.on("GET", "/s", stream("id: 4\ndata: one\n\n"), Answer(break_off=True))
    with pytest.raises(Unreachable, match="cannot reach"):
        until_done(client, give_up=0.2)


def test_comments_alone_are_a_living_stream(server: Recorder, client: Client) -> None:
    told: list[str] = []
    server.on("GET", "/s", *[stream(": ping\n\n")] * 3, stream("event: done\ndata: completed\n\n"))
    events = until_done(client, notice=told.append, give_up=0.05)
    assert [event.kind for event in events] == ["done"]


def test_what_is_no_stream_is_said(server: Recorder, client: Client) -> None:
    server.on("GET", "/s", Answer({"hello": 1}))
    with pytest.raises(Unreachable):
        until_done(client)
