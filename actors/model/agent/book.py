"""The book: the journal as it is known in memory. Whatever changes it is an entry first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from gpuyard.actors.model.agent.journal import Began, Ended, Entry, Forgotten, Highest, Obeyed, Ordered, StopAsked
from gpuyard.actors.model.agent.order import Order, ordered
from gpuyard.actors.model.agent.outbox import AgentOutbox
from gpuyard.actors.model.events import AttemptExited


class Book:
    """`orders` are the runs that were ordered here and are not forgotten, by fence; `highest` is the highest fence that
    was ever ordered: none up to it is started again, whatever an older state of the server wants."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.id = ""
        self.life = 0
        self.db_id = ""
        self.db_epoch = 0
        self.highest = 0
        self.orders: dict[int, Order] = {}
        for entry in entries:
            self._apply(entry)

    def write(self, entry: Entry, out: AgentOutbox) -> None:
        out.journal.append(entry)
        self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        match entry:
            case Began(id=id, life=life):
                self.id, self.life = id, life
            case Obeyed(db_id=db_id, db_epoch=db_epoch):
                if db_id != self.db_id:
                    self.highest = 0  # its fences are numbers of their own
                self.db_id, self.db_epoch = db_id, db_epoch
            case Ordered(want=want, spec_hash=spec_hash, incarnation=incarnation):
                self.orders[want.run.fence] = ordered(want, spec_hash, incarnation)
                self.highest = max(self.highest, want.run.fence)
            case StopAsked(fence=fence, reason=reason):
                self.orders.setdefault(fence, Order(fence=fence)).stop_reason = reason
            case Ended():
                self.orders[entry.fence].end = AttemptExited(
                    fence=entry.fence, exit_class=entry.exit_class, message=entry.message, ended_at=entry.at
                )
            case Forgotten(fence=fence):
                self.orders.pop(fence, None)
            case Highest(fence=fence):
                self.highest = max(self.highest, fence)
            case _:
                assert_never(entry)

    def shortened(self) -> list[Entry]:
        """Entries that make the same book."""
        entries: list[Entry] = [Began(self.id, self.life)]
        if self.db_id:
            entries.append(Obeyed(self.db_id, self.db_epoch))
        entries.append(Highest(self.highest))
        for order in self.orders.values():
            if order.want is not None:
                entries.append(Ordered(order.want, order.spec_hash, order.incarnation))
            if order.stop_reason is not None:
                entries.append(StopAsked(order.fence, order.stop_reason))
            if order.end is not None and not order.kept:
                end = order.end
                entries.append(Ended(order.fence, end.exit_class, end.message, end.ended_at or 0.0))
        return entries
