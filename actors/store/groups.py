"""Group commit: all commits that wait share one transaction, and with it one fsync.

Each commit is whole or not at all. A failed guard is rare, so there are no savepoints on the way: the group is taken
back and the commits before the failed one are written again.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gpuyard.actors.model.commands import Commit
from gpuyard.actors.model.commit import Deleted
from gpuyard.actors.store import writes
from gpuyard.actors.store.database import Database
from gpuyard.actors.store.faults import DiskFailed, GuardFailed


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The first `done` commits of the group are durable; `error` says why the next one is not (None: all are)."""

    done: int
    results: dict[int, tuple[Deleted, ...]]
    error: str | None = None
    disk: bool = False
    detail: str = ""
    broken: bool = False


def write(database: Database, commits: Sequence[Commit], *, durable: bool = True) -> Outcome:
    """Make `commits` durable, in order, as far as their guards hold.

    `durable` False leaves the sync of a group without an error to `sync`.
    """
    try:
        results, failed, error = _attempt(database, commits, durable=durable)
        if error is None:
            return Outcome(done=len(commits), results=results)
        if failed:
            results, _, again = _attempt(database, commits[:failed])
            if again is not None:
                return Outcome(done=0, results={}, error=again)
        return Outcome(done=failed, results=results, error=error)
    except GuardFailed as fault:
        return Outcome(done=0, results={}, error=str(fault))
    except DiskFailed as fault:
        return _nothing(fault)


def sync(database: Database, written: Outcome) -> Outcome:
    """Make durable what `write` left: the same outcome, or that nothing of it is to be relied on."""
    try:
        database.sync()
    except DiskFailed as fault:
        return _nothing(fault)
    return written


def _nothing(fault: DiskFailed) -> Outcome:
    return Outcome(done=0, results={}, error=str(fault), disk=True, detail=fault.detail, broken=fault.broken)


class _TakeBack(Exception):
    """Leaves a transaction without a trace."""


def _attempt(
    database: Database, commits: Sequence[Commit], *, durable: bool = True
) -> tuple[dict[int, tuple[Deleted, ...]], int, str | None]:
    """All commits in one transaction: what they found. Or nothing: which one failed (its index), and why."""
    results = {}
    done = 0
    error = None
    try:
        with database.transaction(durable=durable) as connection:
            for commit in commits:
                try:
                    found = writes.apply(connection, commit.rows)
                except GuardFailed as fault:
                    error = str(fault)
                    raise _TakeBack from None
                if found:
                    results[commit.number] = found
                done += 1
    except _TakeBack:
        return {}, done, error
    return results, done, None
