"""What the QueueStore tells the Scheduler."""

from __future__ import annotations

from gpuyard.actors.model.commit import Deleted, Snapshot
from gpuyard.actors.model.message import Message


class SnapshotLoaded(Message, frozen=True, kw_only=True):
    """All active state, as it is durable. From: QueueStore. To: Scheduler. Repeat: an older generation is ignored.

    After a failure it comes twice: at once, with `writable` False, so that questions are answered meanwhile; and
    again once the database could be written.
    """

    generation: int
    snapshot: Snapshot
    writable: bool = True


class Committed(Message, frozen=True, kw_only=True):
    """All commits of `generation` up to `number` are durable. From: QueueStore. To: Scheduler.

    `results` holds, per commit number, what its DeleteJob… rows found. Repeat: harmless.
    """

    generation: int
    number: int
    results: dict[int, tuple[Deleted, ...]] = {}


class CommitFailed(Message, frozen=True, kw_only=True):
    """`number` and all later commits of `generation` are void; earlier ones are durable. From: QueueStore.

    To: Scheduler, which rebuilds. `error` in words for the log; `disk` tells that the database could not be
    written (as against a failed guard), and `detail` why, in words for clients. Repeat: an older generation is ignored.
    """

    generation: int
    number: int
    error: str
    disk: bool = False
    detail: str = ""
