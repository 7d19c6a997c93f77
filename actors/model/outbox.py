"""What a decision wants from the world: rows to make durable first, then messages to send (DESIGN 3).

The core writes here and nowhere else, so a test sees everything that a decision does.
"""

from __future__ import annotations

from typing import NamedTuple

from gpuyard.actors.model.commit import EventRow, Row
from gpuyard.actors.model.message import Message


class Now(NamedTuple):
    """One reading of the clock: epoch seconds, and seconds that never jump."""

    wall: float
    monotonic: float


class Outbox:
    """`rows` become one commit; `tells` leave only after it. `lazy` rows may wait for the next commit: they repeat
    what a keeper would report again."""

    def __init__(self, cause: str = "") -> None:
        self.cause = cause
        self.rows: list[Row] = []
        self.lazy: list[Row] = []
        self.tells: list[tuple[str, Message]] = []

    def row(self, row: Row) -> None:
        self.rows.append(row)

    def tell(self, to: str, message: Message) -> None:
        self.tells.append((to, message))

    @property
    def events(self) -> list[EventRow]:
        return [row for row in self.rows if isinstance(row, EventRow)]
