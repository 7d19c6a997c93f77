"""QueueStore: remembers, alone (DESIGN 3). It makes the Scheduler's commits durable, in order and in groups.

All commits that wait in the inbox share one transaction: the first one asks for a `Flush`, which stands behind those
that are there already. Effects leave when it is on the disk; only a start on this host that nobody waits for leaves
when it is written, while the disk syncs: what a power loss takes from the log then, it takes from the run as well.
A commit that fails voids its generation: everything later of it is refused, until the Scheduler asks for a snapshot
under a new one.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gpuyard.actors.base import Actor, Context, Reply
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import (
    Commit,
    GetCommitTimes,
    GetIdentity,
    LoadRegisters,
    LoadSnapshot,
    Ready,
    Record,
    WantRun,
)
from gpuyard.actors.model.commit import Snapshot
from gpuyard.actors.model.errors import Busy, DatabaseRefused, StoreFailed
from gpuyard.actors.model.events import CommitFailed, Committed, SnapshotLoaded
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.views import DatabaseIdentity
from gpuyard.actors.store import groups, registers
from gpuyard.actors.store.checkpoint import Checkpointer
from gpuyard.actors.store.database import Database
from gpuyard.actors.store.faults import FAULTS, DiskFailed, GuardFailed, explain

log = logging.getLogger("gpuyard.store")

# Rows past which a group is written though more commits wait: bounds how long the first of them waits.
GROUP_ROWS = 2_000
TIMES_KEPT = 256
# To whom, and what.
Effect = tuple[str, Message]
# The pause before a rebuild doubles with each failure in a row: a full disk must not become a busy loop.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
# How long a restarted store waits for the one before it, which may still be closing.
PATIENCE = 10.0


class Flush(Message, frozen=True, kw_only=True):
    """Write what has been collected. From: the store itself. Repeat: harmless."""


class Load(Message, frozen=True, kw_only=True):
    """Tell the snapshot of `generation`, if the database can be written. From: the store itself. Repeat: harmless."""

    generation: int


class QueueStore(Actor):
    """`path` is the database's file. Damage found at the start is a DatabaseRefused, which names the cure."""

    def __init__(self, context: Context, path: Path) -> None:
        super().__init__(context)
        self._path = path
        self._database: Database | None = None
        self._checkpointer: Checkpointer | None = None
        self._first: Snapshot | None = None
        self._generation = -1
        self._void = True
        self._number: int | None = None
        self._group: list[Commit] = []
        self._group_rows = 0
        self._failures = 0
        self._shaken = False
        self._shown = False
        self._times: deque[float] = deque(maxlen=TIMES_KEPT)

    def started(self) -> None:
        self._database = Database.open(self._path, patience=PATIENCE)
        try:
            # Read at once, so that damage in what is active stops the start instead of the first question.
            self._first = self._database.snapshot(self.clock.now())
        except BaseException as error:
            self._database.close()
            if isinstance(error, DiskFailed):
                raise DatabaseRefused(str(error)) from error
            raise
        self._checkpointer = Checkpointer(self._database.path)
        self._checkpointer.start()

    def stopped(self) -> None:
        try:
            self._flush()
        finally:
            if self._checkpointer is not None:
                self._checkpointer.stop()
            if self._database is not None:
                self._database.close()

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case Commit():
                return self._collect(message)
            case Flush():
                return self._flush()
            case LoadSnapshot():
                return self._begin(message.generation)
            case Load():
                return self._load(message.generation)
            case Record():
                return self._record(message)
            case LoadRegisters():
                return self._registers(message.registers)
            case GetIdentity():
                return DatabaseIdentity(db_id=self.database.db_id, db_epoch=self.database.db_epoch)
            case GetCommitTimes():
                return list(self._times)
            case Ready():
                return True
            case _:
                return self.unsupported(message)

    @property
    def database(self) -> Database:
        assert self._database is not None
        return self._database

    # --- snapshots ---------------------------------------------------------------------------------------------

    def _begin(self, generation: int) -> None:
        self._flush()
        self._generation, self._void, self._number = generation, False, None
        if self._failures:
            self._shown = self._show(writable=False)
            self._try_again()
        else:
            self._load(generation)

    def _try_again(self) -> None:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures - 1, 16))
        self.inbox.after(pause, Load(generation=self._generation))

    def _load(self, generation: int) -> None:
        """Tell the snapshot; after a failure only once the database can be written."""
        if generation != self._generation:
            return
        if self._failures and not self._can_write():
            self._shown = self._shown or self._show(writable=False)
            self._failures += 1
            self._try_again()
        elif not self._show(writable=True):
            self.inbox.after(LONGEST_PAUSE, Load(generation=generation))

    def _can_write(self) -> bool:
        try:
            self._reconnect()
            self.database.try_to_write()
        except DiskFailed as error:
            self._shaken = self._shaken or error.broken
            return False
        except GuardFailed as error:
            log.error("the database cannot be written: %s", error)
            return False
        return True

    def _show(self, *, writable: bool) -> bool:
        """Tell what is durable; False when it could not be read."""
        try:
            self._reconnect()
            snapshot, self._first = self._first or self.database.snapshot(self.clock.now()), None
        except DiskFailed as error:
            log.error("the queue could not be read: %s", error)
            self._shaken = True
            return False
        except DatabaseRefused as error:
            # Damage while we run: only a restart ends this well, or says the cure and ends the server.
            raise RuntimeError(error.detail) from error
        self._tell(SnapshotLoaded(generation=self._generation, snapshot=snapshot, writable=writable))
        return True

    def _reconnect(self) -> None:
        if self._shaken:
            self.database.reconnect()
            self._shaken = False

    # --- commits -----------------------------------------------------------------------------------------------

    def _collect(self, commit: Commit) -> None:
        if commit.generation != self._generation or self._void:
            reason = "an earlier commit failed" if self._void else "a newer generation has begun"
            self._refuse(commit.number, commit.generation, reason)
            return
        if self._number is not None and commit.number != self._number + 1:
            self._flush()
            self._void = True
            self._refuse(self._number + 1, commit.generation, "it was lost on its way to the store")
            return
        self._number = commit.number
        self._group.append(commit)
        self._group_rows += len(commit.rows)
        if self._group_rows >= GROUP_ROWS or self.inbox.empty():
            self._flush()
        elif len(self._group) == 1:
            self._flush_later()

    def _flush_later(self) -> None:
        try:
            self.actor_ref.tell(Flush())
        except Busy:
            self._flush()

    def _flush(self) -> None:
        group, rows = self._group, self._group_rows
        if not group:
            return
        self._group, self._group_rows, self._first = [], 0, None
        began = time.perf_counter()
        starts = _starts_ahead(group)
        outcome = groups.write(self.database, group, durable=not starts)
        if starts and outcome.error is None:
            self._send(starts)
            outcome = groups.sync(self.database, outcome)
        else:
            starts = []
        self._times.append(time.perf_counter() - began)
        if outcome.done:
            self._failures = 0
            effects = [effect for commit in group[: outcome.done] for effect in commit.effects]
            self._send(effect for effect in effects if effect not in starts)
            last = group[outcome.done - 1]
            self._tell(Committed(generation=last.generation, number=last.number, results=outcome.results))
        if outcome.error is not None:
            self._give_up(group[outcome.done :], outcome)
        self._keep_log_short(rows)

    # --- registers ---------------------------------------------------------------------------------------------

    def _record(self, message: Record) -> bool:
        """Its own transaction, behind the commits that came before it."""
        self._flush()
        try:
            with self.database.transaction() as connection:
                registers.write(connection, message.rows)
        except DiskFailed as error:
            self._shaken = self._shaken or error.broken
            raise StoreFailed(error.detail or "the database could not be written: nothing was accepted") from error
        except GuardFailed as error:
            raise StoreFailed(str(error)) from error
        self._keep_log_short(len(message.rows))
        return True

    def _registers(self, wanted: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
        try:
            return {register: registers.read(self.database.connection, register) for register in wanted}
        except FAULTS as error:
            raise StoreFailed(explain(error, "the database")) from error

    # --- failures ----------------------------------------------------------------------------------------------

    def _give_up(self, commits: list[Commit], outcome: groups.Outcome) -> None:
        failed, *rest = commits
        log.error("commit %d of generation %d failed: %s", failed.number, failed.generation, outcome.error)
        self._void = True
        self._failures += 1
        self._shaken = outcome.broken
        self._refuse(failed.number, failed.generation, outcome.error or "", disk=outcome.disk, detail=outcome.detail)
        for commit in rest:
            self._refuse(commit.number, commit.generation, "an earlier commit failed")

    def _keep_log_short(self, rows: int) -> None:
        assert self._checkpointer is not None
        self._checkpointer.wrote(rows)
        if self._checkpointer.log_too_long:
            self.database.checkpoint()
            self._checkpointer.helped()

    def _refuse(self, number: int, generation: int, error: str, *, disk: bool = False, detail: str = "") -> None:
        self._tell(CommitFailed(generation=generation, number=number, error=error, disk=disk, detail=detail))

    def _send(self, effects: Iterable[Effect]) -> None:
        for to, message in effects:
            self.context.ref(to).tell(message)

    def _tell(self, event: Message) -> None:
        self.context.ref(names.SCHEDULER).tell(event)


def _starts_ahead(group: list[Commit]) -> list[Effect]:
    """The starts that leave when the group is written; none where somebody waits for an answer, since a sync that
    fails could not take back what was written."""
    if any(commit.awaited for commit in group):
        return []
    return [effect for commit in group for effect in commit.effects if _is_local_start(effect)]


def _is_local_start(effect: Effect) -> bool:
    to, message = effect
    return to == names.KEEPER and isinstance(message, WantRun)
