"""One subscription to the core's events, shared by all who follow them over HTTP.

Each event is encoded once and the bytes are shared. A viewer has a bounded queue and gets only what it may see; one
that does not keep up is told `resync` and dropped: its client loads the state again and follows from there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from gpuyard.actors.model.clock import iso
from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.people import Viewer
from gpuyard.api import sse
from gpuyard.api.changes import KINDS, OF_EVENT, PEOPLE, QUEUE, Changes

MOST_WAITING = 1_000
# With so few viewers each event is sent at once; with more they are gathered, never so long that a page seems old.
FEW = 8
LONGEST_GATHERING = 0.25


def event_view(row: EventRow) -> dict[str, Any]:
    """A stored event as the public sees it."""
    return {
        "id": row.id,
        "at": iso(row.at),
        "kind": row.kind,
        "job_id": row.job_id,
        "user_id": row.user_id,
        "by": row.by,
        "data": row.data,
        "cause": row.cause,
    }


def event_frame(row: EventRow) -> bytes:
    return sse.frame(event_view(row), event=row.kind, id=row.id)


def may_see(viewer: Viewer, row: EventRow) -> bool:
    """An event without an owner is everybody's (GPUs, workers, limits)."""
    return row.user_id is None or viewer.may_see(row.user_id)


def resync(newest: int | None = None) -> bytes:
    """Load the state again; events go on after `newest`."""
    return sse.frame({}, event="resync", id=newest)


class Subscription:
    """What one viewer has still to be sent: (event id or None, frame), oldest first.

    `pause` says how many seconds to gather what comes before it is sent: with many viewers a send for each event
    would cost more than all else.
    """

    def __init__(self, viewer: Viewer, pause: Callable[[], float] = lambda: 0.0) -> None:
        self.viewer = viewer
        self._pause = pause
        self.lost = False
        self._waiting: deque[tuple[int | None, bytes]] = deque()
        self._filled = asyncio.Event()

    def put(self, id: int | None, data: bytes) -> None:
        if self.lost:
            return
        if len(self._waiting) >= MOST_WAITING:
            self.drop()
            return
        self._waiting.append((id, data))
        self._filled.set()

    def drop(self) -> None:
        """The viewer has missed something: `resync` is the last it gets."""
        self.lost = True
        self._waiting.clear()
        self._waiting.append((None, resync()))
        self._filled.set()

    async def frames(self, after: int = 0) -> AsyncIterator[bytes]:
        """All that comes, joined as it waits, without events up to id `after`; ends when the viewer was dropped."""
        while True:
            await self._filled.wait()
            if (pause := self._pause()) > 0:
                await asyncio.sleep(pause)
            self._filled.clear()
            taken = list(self._waiting)
            self._waiting.clear()
            data = b"".join(frame for id, frame in taken if id is None or id > after)
            if data:
                yield data
            if self.lost:
                return


class Hub:
    """A `Watcher` of the core."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self.changes = Changes()

    def subscribe(self, viewer: Viewer) -> Subscription:
        subscription = Subscription(viewer, self._gathering)
        self._subscriptions.add(subscription)
        return subscription

    def _gathering(self) -> float:
        """None for a few viewers, a quarter of a second for a hundred and more."""
        return min(LONGEST_GATHERING, max(0, len(self._subscriptions) - FEW) / 300)

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def published(self, events: Sequence[EventRow], revision: int) -> None:
        self.changes.note({QUEUE, *(OF_EVENT[row.kind] for row in events if row.kind in OF_EVENT)})
        if not self._subscriptions:
            return
        framed = [(row, event_frame(row)) for row in events]
        changed = sse.frame({"revision": revision}, event="queue_changed")
        for subscription in self._subscriptions:
            for row, data in framed:
                if may_see(subscription.viewer, row):
                    subscription.put(row.id, data)
            subscription.put(None, changed)

    def settings_changed(self) -> None:
        """People, tokens, rules or providers are others now, of which the core tells no event: whoever shows them looks
        again."""
        self.changes.note((PEOPLE,))
        data = sse.frame({}, event="settings_changed")
        for subscription in self._subscriptions:
            subscription.put(None, data)

    def interrupted(self) -> None:
        """The link to the core was cut: nobody knows what was missed."""
        self.changes.note(KINDS)
        for subscription in self._subscriptions:
            subscription.drop()
