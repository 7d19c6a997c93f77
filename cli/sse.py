"""Server-sent events: follow one stream for as long as it takes, across broken connections and server restarts.

Each event's id is sent back as `Last-Event-ID` after a break, so that nothing is missed and nothing comes twice.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from gpuyard.cli.http import ApiError, Client, Query, Unreachable, broken

SILENCE_SECONDS: Final = 60.0
"""A stream that says nothing, not even a comment, for so long is taken for dead and opened anew."""
GIVE_UP_SECONDS: Final = 120.0
"""How long a server may be away before following ends."""


class Event(NamedTuple):
    """One event: its type (`message` if unnamed), its data (lines joined by newlines) and its id."""

    kind: str
    data: str
    id: str


def parse(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events in `lines` of an event stream; one that is cut off at the end is dropped, as the standard says."""
    kind, last_id = "", ""
    data: list[str] = []
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\n")
        line = line.removesuffix("\r")
        if not line:
            if data:
                yield Event(kind or "message", "\n".join(data), last_id)
            kind, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            kind = value
        elif field == "id" and "\0" not in value:
            last_id = value


def follow(
    client: Client,
    path: str,
    *,
    query: Query | None = None,
    what: str = "",
    last_id: str = "",
    notice: Callable[[str], None] = lambda text: None,
    give_up: float = GIVE_UP_SECONDS,
    silence: float = SILENCE_SECONDS,
) -> Iterator[Event]:
    """The events of `path`, on and on; the caller stops when it has seen what ends the stream.

    A break is told to `notice` once, then the stream is resumed after `last_id`. Raises Unreachable when the server
    stays away for `give_up` seconds, ApiError when it refuses.
    """
    lost_at: float | None = None
    pause = 0.1

    def alive() -> None:
        nonlocal lost_at, pause
        lost_at, pause = None, 0.1

    while True:
        try:
            for event in _once(client, path, query, what, last_id, silence, alive):
                if event.id:
                    last_id = event.id
                yield event
            why = "the connection was closed"
        except ApiError as error:
            if error.status not in (429, 503) or lost_at is None:
                raise
            why = error.why
        except Unreachable as error:
            if lost_at is None and not last_id:
                raise
            why = error.why
        except (OSError, http.client.HTTPException) as error:
            why = broken(error, silence)
        now = time.monotonic()
        if lost_at is None:
            lost_at = now
            notice(f"connection lost ({why}); trying again")
        elif now - lost_at > give_up:
            raise Unreachable(client.url, f"no contact for {give_up:g} seconds: {why}")
        time.sleep(pause)
        pause = min(2.0, pause * 1.6)


def _once(
    client: Client,
    path: str,
    query: Query | None,
    what: str,
    last_id: str,
    silence: float,
    alive: Callable[[], None],
) -> Iterator[Event]:
    """The events of one connection, until it ends or breaks; `alive` is called for each line, comments too."""

    def lines() -> Iterator[bytes]:
        for line in answer:
            alive()
            yield line

    connection = client.connect(silence)
    try:
        more = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        connection.request("GET", client.target(path, query), headers=client.headers(more))
        answer = connection.getresponse()
        if answer.status != 200 or "text/event-stream" not in (answer.getheader("Content-Type") or ""):
            client.judge(what, answer.status, answer.read())
            raise Unreachable(client.url, "something else answers there (no event stream)")
        yield from parse(lines())
    finally:
        connection.close()
