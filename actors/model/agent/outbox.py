"""What the agent wants from its host: lines of its journal first, then messages."""

from __future__ import annotations

from gpuyard.actors.model.agent.journal import Entry
from gpuyard.actors.model.message import Message


class AgentOutbox:
    """`journal` is appended and on the disk (fsync) before any of `tells` leaves: a run that lives is in the journal.
    `tells` are (actor name, message), in order: to names.KEEPER, names.GPUS and names.UPLINK."""

    def __init__(self, cause: str = "") -> None:
        self.cause = cause
        self.journal: list[Entry] = []
        self.tells: list[tuple[str, Message]] = []

    def tell(self, to: str, message: Message) -> None:
        self.tells.append((to, message))
