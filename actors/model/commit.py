"""The rows of a commit: what one decision makes durable, and what must be true for it (DESIGN 3).

A row with an `expect_…` field is guarded (compare and set): when the stored value differs the whole commit fails
and its generation is void. `DeleteJob…` rows are questions as well: they answer in `Committed.results` and never
void anything.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gpuyard.actors.model.approvals import Approval, ApprovalRule
from gpuyard.actors.model.attempt import Attempt
from gpuyard.actors.model.job import Job
from gpuyard.actors.model.registers import AppendAudit, DropRecord, PutRecord


class InsertJob(msgspec.Struct, frozen=True, tag=True):
    job: Job


class UpdateJob(msgspec.Struct, frozen=True, tag=True):
    """`changes` are Job field names → values (epoch seconds for times). Guard: the stored status."""

    job_id: str
    expect_status: str
    changes: dict[str, Any]


class InsertAttempt(msgspec.Struct, frozen=True, tag=True):
    attempt: Attempt


class UpdateAttempt(msgspec.Struct, frozen=True, tag=True):
    """Guard: the attempt exists and is not `exited` or `lost`."""

    fence: int
    changes: dict[str, Any]


class OpenHold(msgspec.Struct, frozen=True, tag=True):
    """Guard: no open hold of this GPU (a partial unique index)."""

    host: str
    uuid: str
    index: int
    fence: int
    at: float


class CloseHolds(msgspec.Struct, frozen=True, tag=True):
    """Close the open holds of a fence; `uuids` empty means all of them."""

    fence: int
    at: float
    uuids: tuple[str, ...] = ()


class EventRow(msgspec.Struct, frozen=True, tag=True):
    """One line of the append-only story. `kind` is `job_submitted`, `job_started`, … (see `model/story.py`).

    `user_id` is whose event it is (who may see it; None = everybody), `by` who did it: the name of user `by_user_id`,
    with the token `token_id`, from `address`. All empty for what gpuyard did by itself.
    """

    id: int
    at: float
    kind: str
    job_id: str | None = None
    user_id: int | None = None
    by: str = ""
    data: dict[str, Any] = {}
    cause: str = ""
    by_user_id: int | None = None
    token_id: int | None = None
    address: str = ""


class RememberKey(msgspec.Struct, frozen=True, tag=True):
    """An idempotency key: per user, 24 h. Keys past their time are dropped by the store."""

    user_id: int
    key: str
    digest: str
    job_ids: tuple[str, ...]
    at: float


class PutSetting(msgspec.Struct, frozen=True, tag=True):
    """`value` is any JSON-able value; a None deletes the key."""

    key: str
    value: Any


class AddUsage(msgspec.Struct, frozen=True, tag=True):
    """Add what an attempt used to the sums of a UTC day (`2026-11-22`), user, team ("" for none) and place.

    Milliseconds; `gpu_ms` is the run's time times its GPUs. Never repeated: it stands in the commit of the end.
    """

    day: str
    user_id: int
    team_id: str
    place: str
    runs: int
    run_ms: int
    gpu_ms: int


class DeleteJobRow(msgspec.Struct, frozen=True, tag=True):
    """Delete one terminal job with its attempts and holds; `event` is told if it was deleted. Result: Deleted."""

    job_id: str
    event: EventRow | None = None


class DeleteFinished(msgspec.Struct, frozen=True, tag=True):
    """Delete terminal jobs that ended before `before` (epoch seconds). Result: Deleted.

    Jobs with an open hold stay. `limit` bounds how many go (the oldest first; None = all of them). `event` is told if
    any went, and how many (data `deleted`).
    """

    before: float
    limit: int | None = None
    event: EventRow | None = None


Row = (
    InsertJob
    | UpdateJob
    | InsertAttempt
    | UpdateAttempt
    | OpenHold
    | CloseHolds
    | EventRow
    | RememberKey
    | PutSetting
    | PutRecord
    | DropRecord
    | AppendAudit
    | AddUsage
    | DeleteJobRow
    | DeleteFinished
)


class Deleted(msgspec.Struct, frozen=True, tag=True):
    """`by_status` counts the deleted jobs; `fences` are the runs whose folders may go, `hosts` names the workers of
    those that were on one.

    For DeleteJobRow: `found` tells that the job exists, `terminal` that it had ended and holds no GPU any more (else
    nothing was deleted).
    """

    job_ids: tuple[str, ...] = ()
    by_status: dict[str, int] = {}
    fences: tuple[int, ...] = ()
    hosts: dict[int, str] = {}
    found: bool = True
    terminal: bool = True


class Hold(msgspec.Struct, frozen=True):
    """An open GPU hold. `releasing_since` is set once its attempt ended and the GPU is not yet empty."""

    host: str
    uuid: str
    index: int
    fence: int
    at: float


class StoredKey(msgspec.Struct, frozen=True):
    user_id: int
    key: str
    digest: str
    job_ids: tuple[str, ...]
    at: float


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All that the Scheduler needs to rebuild itself.

    `jobs` are the active ones, `attempts` the live ones (with every attempt that still has an open hold),
    `next_*` the smallest unused numbers; `next_fence` is the `n` of `ids.make_fence`. `waits` are the seconds
    that the last started jobs waited (at most 100), `counts` all stored jobs by status. `approvals` are those that
    wait; `submits` are (UTC day, user, jobs submitted on it) of the last two days, `let_in` the users
    of whom a job was ever let into the queue.
    """

    db_id: str
    db_epoch: int
    next_job: int
    next_seq: int
    next_event: int
    next_fence: int
    jobs: tuple[Job, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    holds: tuple[Hold, ...] = ()
    settings: dict[str, Any] = {}
    counts: dict[str, int] = {}
    waits: tuple[float, ...] = ()
    keys: tuple[StoredKey, ...] = ()
    rules: tuple[ApprovalRule, ...] = ()
    approvals: tuple[Approval, ...] = ()
    next_rule: int = 1
    next_approval: int = 1
    submits: tuple[tuple[str, int, int], ...] = ()
    let_in: tuple[int, ...] = ()
