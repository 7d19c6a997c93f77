"""Whose wishes are followed: those of the database that ordered what runs here, and of its later states (DESIGN 8).

A database that was restored from an older copy has a higher epoch and is followed; the copy that it replaced is not,
should it come back. Another database is followed once nothing runs here any more that the earlier one ordered. Whoever
is not followed changes nothing; but that the server of our key speaks at all keeps runs alive: they end only by a stop.
What an administrator of another database may do is to have a run that it sees here ended.
"""

from __future__ import annotations

from collections.abc import Iterable

from gpuyard.actors.model import names
from gpuyard.actors.model.agent.book import Book
from gpuyard.actors.model.agent.journal import Forgotten, Obeyed
from gpuyard.actors.model.agent.order import Order
from gpuyard.actors.model.agent.outbox import AgentOutbox
from gpuyard.actors.model.commands import ForgetRun, SetRunsAside
from gpuyard.actors.model.wire import Sync


def why_not(book: Book, strays: Iterable[Order], sync: Sync) -> str:
    """Why this server's wishes are not followed, in words; empty when they are."""
    if not is_foreign(book, sync):
        if sync.db_epoch >= book.db_epoch:
            return ""
        return f"the server has an older state of its database (epoch {sync.db_epoch}, not {book.db_epoch})"
    if all(order.gone() for order in (*book.orders.values(), *strays)):
        return ""
    return "the server has another database than the one that ordered the runs here: they live on"


def is_foreign(book: Book, sync: Sync) -> bool:
    """Does it come from another database than the one that is obeyed?"""
    return book.db_id not in ("", sync.db_id)


def follow(book: Book, strays: dict[int, Order], sync: Sync, out: AgentOutbox) -> None:
    """From now on this database, in this state. What an earlier one would have had to acknowledge nobody waits for."""
    if (book.db_id, book.db_epoch) == (sync.db_id, sync.db_epoch):
        return
    if is_foreign(book, sync):
        for fence in list(book.orders):
            book.write(Forgotten(fence), out)
            out.tell(names.KEEPER, ForgetRun(fence=fence))
        strays.clear()
        out.tell(names.KEEPER, SetRunsAside(owner=book.db_id))
    book.write(Obeyed(sync.db_id, sync.db_epoch), out)
