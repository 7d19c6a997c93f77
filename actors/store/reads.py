"""Rows → what the Scheduler needs to rebuild itself (`Snapshot`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from gpuyard.actors.model.approvals import Approval, ApprovalRule, Decision, RuleType
from gpuyard.actors.model.attempt import Attempt
from gpuyard.actors.model.clock import epoch, epoch_or_none, iso, utc_day
from gpuyard.actors.model.commit import Hold, Snapshot, StoredKey
from gpuyard.actors.model.job import Status
from gpuyard.actors.model.sent_file import SentFile
from gpuyard.actors.store import identity
from gpuyard.actors.store.columns import ATTEMPT_COLUMNS, JOB_READ, attempt_from, from_json, job_from
from gpuyard.actors.store.tables import LIVE_PHASES
from gpuyard.actors.store.writes import KEY_SECONDS

WAITS: Final = 100

JOB_FIELDS: Final = ", ".join(f"q.{column}" for column in JOB_READ) + ", s.spec"
JOBS: Final = f"SELECT {JOB_FIELDS} FROM queue q JOIN job_spec s ON s.id = q.id"
ACTIVE: Final = f"{JOBS} WHERE q.status IN ('blocked', 'pending', 'running') ORDER BY q.position, q.id"
ATTEMPTS: Final = f"SELECT {', '.join(ATTEMPT_COLUMNS)} FROM attempt"
# The partial index holds the open ones only: told to use it, as without statistics SQLite may scan all there were.
OPEN_HOLDS: Final = "gpu_hold INDEXED BY gpu_hold_open WHERE closed_at IS NULL"
OPEN: Final = f"SELECT host, uuid, gpu_index, fence, opened_at FROM {OPEN_HOLDS}"
# A live attempt is that of a running job (`admin.check` proves it): no index over phases is needed.
LIVE: Final = (
    f"{ATTEMPTS} WHERE phase IN {LIVE_PHASES} AND job_id IN (SELECT job_id FROM queue WHERE status = 'running')"
    f" UNION {ATTEMPTS} WHERE fence IN (SELECT fence FROM {OPEN_HOLDS}) ORDER BY 1"
)
STARTED: Final = (
    "SELECT q.queued_at, a.started_at FROM attempt a JOIN queue q ON q.job_id = a.job_id"
    " WHERE a.number = 1 AND a.started_at IS NOT NULL ORDER BY a.fence DESC LIMIT ?"
)
KEYS: Final = "SELECT user_id, key, digest, job_ids, at FROM idempotency WHERE at >= ? ORDER BY at"
RULES: Final = (
    "SELECT id, name, type, condition, threshold, enabled, required_approver_level, exempt_levels, precedence"
    " FROM approval_rule"
)
APPROVALS: Final = (
    "SELECT id, job_id, user_id, status, requested_at, reason, config_name, estimated_cost, rule_id, rule_name,"
    " required_approver_level, decided_by, decided_at, decision_reason FROM approval"
)
PENDING_APPROVALS: Final = f"{APPROVALS} WHERE status = 'pending' ORDER BY id"
SUBMITS: Final = (
    "SELECT substr(at, 1, 10) AS day, user_id, count(*) FROM event INDEXED BY event_submitted"
    " WHERE kind = 'job_submitted' AND at >= ? AND user_id IS NOT NULL GROUP BY day, user_id"
)
# A removed rule's number stands on in the approvals that it asked for.
NEXT_RULE: Final = (
    "SELECT 1 + max(coalesce((SELECT max(id) FROM approval_rule), 0), coalesce((SELECT max(rule_id) FROM approval), 0))"
)
NEXT_APPROVAL: Final = "SELECT 1 + coalesce(max(id), 0) FROM approval"
# Few jobs bring files along; the text is looked at because they stand deep in it.
WITH_FILES: Final = """SELECT spec FROM job_spec WHERE spec LIKE '%"files":{%'"""
DAY: Final = 86_400.0


@contextmanager
def one_read(connection: sqlite3.Connection) -> Iterator[None]:
    """All reads of the block see one state of the database."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def snapshot(connection: sqlite3.Connection, db_id: str, db_epoch: int, now: float) -> Snapshot:
    """All active state in one read. Raises ValueError where a row is not what our programs write."""
    with one_read(connection):
        marks = identity.high_water(connection)
        return Snapshot(
            db_id=db_id,
            db_epoch=db_epoch,
            next_job=marks.job + 1,
            next_seq=marks.seq + 1,
            next_event=marks.event + 1,
            next_fence=marks.next_fence(db_epoch),
            jobs=tuple(job_from(row) for row in connection.execute(ACTIVE)),
            attempts=tuple(attempt_from(row) for row in connection.execute(LIVE)),
            holds=tuple(_hold(row) for row in connection.execute(OPEN)),
            settings=_settings(connection),
            counts=_counts(connection),
            waits=_waits(connection),
            keys=tuple(_key(row) for row in connection.execute(KEYS, (iso(now - KEY_SECONDS),))),
            rules=tuple(_rule(row) for row in connection.execute(RULES)),
            approvals=tuple(approval_from(row) for row in connection.execute(PENDING_APPROVALS)),
            next_rule=_first(connection, NEXT_RULE),
            next_approval=_first(connection, NEXT_APPROVAL),
            submits=tuple(connection.execute(SUBMITS, (utc_day(now - DAY),))),
            let_in=tuple(user_id for (user_id,) in connection.execute("SELECT user_id FROM submitter")),
        )


def attempts_of(connection: sqlite3.Connection, job_ids: list[str]) -> dict[str, list[Attempt]]:
    """The attempts of these jobs, the oldest first."""
    found: dict[str, list[Attempt]] = {}
    marks = ", ".join("?" * len(job_ids))
    for row in connection.execute(f"{ATTEMPTS} WHERE job_id IN ({marks}) ORDER BY fence", job_ids):
        found.setdefault(row[1], []).append(attempt_from(row))
    return found


def _counts(connection: sqlite3.Connection) -> dict[str, int]:
    """All jobs by status. An unknown status would hide its job from everybody: that raises ValueError too."""
    rows = connection.execute("SELECT status, count(*) FROM queue GROUP BY status")
    return {str(Status(status)): count for status, count in rows}


def _settings(connection: sqlite3.Connection) -> dict[str, Any]:
    rows = connection.execute("SELECT key, value FROM setting")
    return {key: from_json(value) for key, value in rows if not key.startswith(identity.OWN_PREFIX)}


def _first(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _waits(connection: sqlite3.Connection) -> tuple[float, ...]:
    rows = connection.execute(STARTED, (WAITS,)).fetchall()
    return tuple(max(0.0, epoch(started) - epoch(queued)) for queued, started in reversed(rows))


def _hold(row: tuple[Any, ...]) -> Hold:
    host, uuid, index, fence, at = row
    return Hold(host=host, uuid=uuid, index=index, fence=fence, at=epoch(at))


def _key(row: tuple[Any, ...]) -> StoredKey:
    user_id, key, digest, job_ids, at = row
    return StoredKey(user_id=user_id, key=key, digest=digest, job_ids=tuple(from_json(job_ids)), at=epoch(at))


def _rule(row: tuple[Any, ...]) -> ApprovalRule:
    id_, name, type_, condition, threshold, enabled, approver, exempt, precedence = row
    return ApprovalRule(
        id=id_,
        name=name,
        type=RuleType(type_),
        # Its column says `{}` where nothing was said.
        condition="" if condition == "{}" else condition,
        threshold=threshold,
        enabled=bool(enabled),
        required_approver_level=approver,
        exempt_levels=tuple(from_json(exempt)),
        precedence=precedence,
    )


def approval_from(row: tuple[Any, ...]) -> Approval:
    """An approval from APPROVALS. Raises ValueError as `job_from` does."""
    (id_, job_id, user_id, status, requested, reason, config_name, cost, rule_id, rule_name, level, by, decided,
     why) = row  # fmt: skip
    return Approval(
        id=id_,
        job_id=job_id,
        user_id=user_id or 0,
        status=Decision(status),
        requested_at=epoch(requested),
        reason=reason,
        config_name=config_name,
        estimated_cost=cost,
        rule_id=rule_id,
        rule_name=rule_name,
        required_approver_level=level,
        decided_by=by,
        decided_at=epoch_or_none(decided),
        decision_reason=why,
    )


def blobs(connection: sqlite3.Connection) -> list[str]:
    """The content that stored jobs brought along, each once."""
    specs = (msgspec.json.decode(text, type=Files) for (text,) in connection.execute(WITH_FILES))
    return sorted({file.blob for spec in specs for file in spec.files.values()})


class Files(msgspec.Struct, frozen=True):
    """Of a stored spec, the files."""

    files: dict[str, SentFile] = {}
