"""Rows of a commit → SQL. The hot path: plain parametrised statements, a fifth of what models would cost.

Everything here happens inside a transaction that the caller has opened, and fails as a whole: GuardFailed when the
stored state is not the expected one, sqlite3.Error when the disk is at fault.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, assert_never

import msgspec

from gpuyard.actors.model.attempt import LOCAL_HOST, Attempt
from gpuyard.actors.model.clock import iso
from gpuyard.actors.model.commit import (
    AddUsage,
    CloseHolds,
    Deleted,
    DeleteFinished,
    DeleteJobRow,
    EventRow,
    InsertAttempt,
    InsertJob,
    OpenHold,
    PutSetting,
    RememberKey,
    Row,
    UpdateAttempt,
    UpdateJob,
)
from gpuyard.actors.model.entry import CLOUD_HOST_PREFIX
from gpuyard.actors.model.errors import InvalidInput
from gpuyard.actors.model.job import Job
from gpuyard.actors.model.registers import AppendAudit, DropRecord, PutRecord
from gpuyard.actors.store import deletes, registers
from gpuyard.actors.store.columns import (
    ATTEMPT_COLUMNS,
    JOB_COLUMNS,
    Value,
    attempt_change,
    attempt_row,
    job_change,
    job_row,
    spec_json,
    tame_text,
    to_json,
)
from gpuyard.actors.store.faults import GuardFailed
from gpuyard.actors.store.identity import OWN_PREFIX
from gpuyard.actors.store.tables import LIVE_PHASES

KEY_SECONDS: Final = 24 * 3600.0


def _insert(table: str, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


INSERT_JOB: Final = _insert("queue", JOB_COLUMNS)
INSERT_SPEC: Final = _insert("job_spec", ("id", "spec"))
INSERT_ATTEMPT: Final = _insert("attempt", ATTEMPT_COLUMNS)
INSERT_EVENT: Final = _insert(
    "event",
    ("id", "at", "kind", "job_id", "user_id", "who", "data", "cause", "by_user_id", "token_id", "address"),
)
INSERT_KEY: Final = _insert("idempotency", ("user_id", "key", "digest", "job_ids", "at"))
OPEN_HOLD: Final = _insert("gpu_hold", ("host", "uuid", "gpu_index", "fence", "opened_at"))
PLACED: Final = "UPDATE queue SET allocated_gpus = ? WHERE job_id = ?"
PLACED_BY: Final = "UPDATE queue SET allocated_gpus = ?, provider = ? WHERE job_id = ?"
CLOSE_ALL: Final = "UPDATE gpu_hold SET closed_at = ? WHERE fence = ? AND closed_at IS NULL"
CLOSE_ONE: Final = CLOSE_ALL + " AND uuid = ?"
DROP_KEYS: Final = "DELETE FROM idempotency WHERE at < ?"
ADD_USAGE: Final = (
    f"{_insert('usage', ('day', 'user_id', 'team_id', 'place', 'runs', 'run_ms', 'gpu_ms'))}"
    " ON CONFLICT (day, user_id, team_id, place) DO UPDATE SET runs = runs + excluded.runs,"
    " run_ms = run_ms + excluded.run_ms, gpu_ms = gpu_ms + excluded.gpu_ms"
)
PUT_SETTING: Final = (
    "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


@lru_cache(maxsize=256)
def _update_job(columns: tuple[str, ...]) -> str:
    assignments = ", ".join(f"{column} = ?" for column in columns) or "id = id"
    return f"UPDATE queue SET {assignments} WHERE job_id = ? AND status = ?"


@lru_cache(maxsize=256)
def _update_attempt(columns: tuple[str, ...]) -> str:
    assignments = ", ".join(f"{column} = ?" for column in columns) or "fence = fence"
    return f"UPDATE attempt SET {assignments} WHERE fence = ? AND phase IN {LIVE_PHASES}"


def apply(connection: sqlite3.Connection, rows: Iterable[Row]) -> tuple[Deleted, ...]:
    """Write `rows` in order; what the deleting ones found. Raises GuardFailed, sqlite3.Error."""
    found = []
    for row in rows:
        try:
            result = _apply(connection, row)
        except sqlite3.IntegrityError as error:
            raise GuardFailed(f"{type(row).__name__}: {error}") from None
        except OverflowError as error:
            raise GuardFailed(f"{type(row).__name__}: a number does not fit: {error}") from None
        if result is not None:
            found.append(result)
    return tuple(found)


def _apply(connection: sqlite3.Connection, row: Row) -> Deleted | None:
    match row:
        case UpdateJob():
            _change_job(connection, row)
        case InsertAttempt():
            _add_attempt(connection, row.attempt)
        case UpdateAttempt():
            _change_attempt(connection, row)
        case OpenHold():
            _run(connection, OPEN_HOLD, (row.host, row.uuid, row.index, row.fence, iso(row.at)))
        case CloseHolds():
            _close_holds(connection, row)
        case EventRow():
            _add_event(connection, row)
        case InsertJob():
            _add_job(connection, row.job)
        case RememberKey():
            _remember(connection, row)
        case PutSetting():
            _put(connection, row)
        case AddUsage():
            values = (row.day, row.user_id, row.team_id, row.place, row.runs, row.run_ms, row.gpu_ms)
            _run(connection, ADD_USAGE, values)
        case PutRecord() | DropRecord() | AppendAudit():
            _record(connection, row)
        case DeleteJobRow():
            return _told(connection, deletes.delete_job(connection, row.job_id), row.event)
        case DeleteFinished():
            return _told(connection, deletes.delete_finished(connection, row.before, row.limit), row.event)
        case _:
            assert_never(row)
    return None


def _run(connection: sqlite3.Connection, sql: str, values: tuple[Value, ...]) -> int:
    """Execute, and say how many rows it met."""
    try:
        return connection.execute(sql, values).rowcount
    except UnicodeEncodeError:
        return connection.execute(sql, tuple(map(tame_text, values))).rowcount


def _add_job(connection: sqlite3.Connection, job: Job) -> None:
    try:
        spec = spec_json(job.spec)
    except ValueError as error:
        raise GuardFailed(f"job {job.job_id} cannot be stored: {error}") from None
    _run(connection, INSERT_JOB, job_row(job))
    _run(connection, INSERT_SPEC, (job.id, spec))


def _change_job(connection: sqlite3.Connection, row: UpdateJob) -> None:
    changes = [job_change(field, value) for field, value in row.changes.items()]
    if row.changes.get("status") == "pending":
        changes.append(("allocated_gpus", None))
    values = (*(value for _, value in changes), row.job_id, str(row.expect_status))
    if _run(connection, _update_job(tuple(column for column, _ in changes)), values) != 1:
        raise GuardFailed(f"job {row.job_id} is not {row.expect_status}")


def _add_attempt(connection: sqlite3.Connection, attempt: Attempt) -> None:
    _run(connection, INSERT_ATTEMPT, attempt_row(attempt))
    gpus = to_json([gpu.index for gpu in attempt.gpus])
    if attempt.host.startswith(CLOUD_HOST_PREFIX):
        _run(connection, PLACED, (gpus, attempt.job_id))
    else:
        provider = "local" if attempt.host == LOCAL_HOST else "worker"
        _run(connection, PLACED_BY, (gpus, provider, attempt.job_id))


def _change_attempt(connection: sqlite3.Connection, row: UpdateAttempt) -> None:
    changes = [attempt_change(field, value) for field, value in row.changes.items()]
    values = (*(value for _, value in changes), row.fence)
    if _run(connection, _update_attempt(tuple(column for column, _ in changes)), values) != 1:
        raise GuardFailed(f"attempt {row.fence} has ended or never was")


def _close_holds(connection: sqlite3.Connection, row: CloseHolds) -> None:
    at = iso(row.at)
    if not row.uuids:
        connection.execute(CLOSE_ALL, (at, row.fence))
    for uuid in row.uuids:
        connection.execute(CLOSE_ONE, (at, row.fence, uuid))


def _add_event(connection: sqlite3.Connection, row: EventRow) -> None:
    whose = (row.job_id, row.user_id, row.by)
    said = (to_json(row.data), row.cause)
    _run(
        connection,
        INSERT_EVENT,
        (row.id, iso(row.at), row.kind, *whose, *said, row.by_user_id, row.token_id, row.address),
    )


def _told(connection: sqlite3.Connection, result: Deleted, event: EventRow | None) -> Deleted:
    """What was deleted is told, in the same transaction; what was not is not."""
    if event is not None and result.job_ids:
        data = {**event.data, "deleted": len(result.job_ids)}
        _add_event(connection, msgspec.structs.replace(event, data=data))
    return result


def _remember(connection: sqlite3.Connection, row: RememberKey) -> None:
    connection.execute(DROP_KEYS, (iso(row.at - KEY_SECONDS),))
    _run(connection, INSERT_KEY, (row.user_id, row.key, row.digest, to_json(row.job_ids), iso(row.at)))


def _record(connection: sqlite3.Connection, row: PutRecord | DropRecord | AppendAudit) -> None:
    try:
        registers.write(connection, (row,))
    except InvalidInput as error:
        raise GuardFailed(error.detail) from None


def _put(connection: sqlite3.Connection, row: PutSetting) -> None:
    if row.key.startswith(OWN_PREFIX):
        raise GuardFailed(f"setting {row.key} is the store's own")
    value: Any = row.value
    if value is None:
        connection.execute("DELETE FROM setting WHERE key = ?", (row.key,))
    else:
        _run(connection, PUT_SETTING, (row.key, to_json(value)))
