"""What the fleet wants from the world: rows to make durable, then messages to send."""

from __future__ import annotations

from gpuyard.actors.model.message import Message
from gpuyard.actors.model.registers import RecordRow


class FleetOutbox:
    """`records` go to the store (Record) first; the answer to the asker and `tells` leave once they are durable (at
    once where there are none). `lazy` records are written too, but nobody waits for them: a heartbeat is answered
    without the store. `tells` are (actor name, message), in order."""

    def __init__(self, cause: str = "") -> None:
        self.cause = cause
        self.records: list[RecordRow] = []
        self.lazy: list[RecordRow] = []
        self.tells: list[tuple[str, Message]] = []

    def tell(self, to: str, message: Message) -> None:
        self.tells.append((to, message))
