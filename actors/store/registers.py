"""Registers in the database: which tables they are, and how their rows are written and read.

A register's columns and key are those of its model in `tables.py`, so a new one is a model, a migration and a name in
`REGISTERS`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, Final, assert_never

from peewee import CompositeKey, Model

from gpuyard.actors.model.clock import iso
from gpuyard.actors.model.errors import InvalidInput
from gpuyard.actors.model.registers import AppendAudit, DropRecord, PutRecord, RecordRow
from gpuyard.actors.store import tables
from gpuyard.actors.store.columns import tame_text, to_json

REGISTERS: Final[dict[str, type[Model]]] = {
    model._meta.table_name: model
    for model in (
        tables.Team,
        tables.User,
        tables.Token,
        tables.ApprovalRule,
        tables.Approval,
        tables.Submitter,
        tables.CloudProvider,
        tables.Worker,
        tables.Webhook,
        tables.WebhookDelivery,
    )
}

AUDIT_COLUMNS: Final = (
    "at", "action", "user_id", "username", "token_id", "address", "subject", "detail", "cause",
)  # fmt: skip
APPEND_AUDIT: Final = f"INSERT INTO audit ({', '.join(AUDIT_COLUMNS)}) VALUES ({', '.join('?' * len(AUDIT_COLUMNS))})"


def write(connection: sqlite3.Connection, rows: Iterable[RecordRow]) -> None:
    """Within the caller's transaction. Raises InvalidInput where a row does not fit its register."""
    for row in rows:
        match row:
            case PutRecord():
                _put(connection, row)
            case DropRecord():
                _drop(connection, row)
            case AppendAudit():
                connection.execute(APPEND_AUDIT, _audit(row))
            case _:
                assert_never(row)


def read(connection: sqlite3.Connection, register: str) -> list[dict[str, Any]]:
    """All rows, by key."""
    columns, key = _shape(register)
    found = connection.execute(f"SELECT {_quoted(columns)} FROM {register} ORDER BY {_quoted(key)}")
    return [dict(zip(columns, row, strict=True)) for row in found]


def _put(connection: sqlite3.Connection, row: PutRecord) -> None:
    columns, key = _shape(row.register)
    _known(row.register, row.values, columns)
    names = list(row.values)
    others = [name for name in names if name not in key]
    replaced = ", ".join(f'"{name}" = excluded."{name}"' for name in others)
    update = f"DO UPDATE SET {replaced}" if others else "DO NOTHING"
    sql = (
        f"INSERT INTO {row.register} ({_quoted(names)}) VALUES ({', '.join('?' * len(names))})"
        f" ON CONFLICT ({_quoted(key)}) {update}"
    )
    _execute(connection, sql, [_value(value) for value in row.values.values()])


def _drop(connection: sqlite3.Connection, row: DropRecord) -> None:
    columns, _ = _shape(row.register)
    _known(row.register, row.where, columns)
    if not row.where:
        raise InvalidInput(f"{row.register}: say which rows are to go")
    where = " AND ".join(f'"{name}" = ?' for name in row.where)
    _execute(connection, f"DELETE FROM {row.register} WHERE {where}", [_value(v) for v in row.where.values()])


def _execute(connection: sqlite3.Connection, sql: str, values: list[Any]) -> None:
    try:
        connection.execute(sql, values)
    except sqlite3.IntegrityError as error:
        raise InvalidInput(f"the database does not take it: {error}") from error


def _shape(register: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns and key columns. Raises InvalidInput for what is no register."""
    model = REGISTERS.get(register)
    if model is None:
        raise InvalidInput(f"there is no register {register}")
    meta: Any = model._meta
    key = meta.primary_key
    names = key.field_names if isinstance(key, CompositeKey) else (key.name,)
    return tuple(meta.columns), tuple(meta.fields[name].column_name for name in names)


def _quoted(columns: Iterable[str]) -> str:
    """As a list of SQL; one is called `order`."""
    return ", ".join(f'"{column}"' for column in columns)


def _known(register: str, values: dict[str, Any], columns: tuple[str, ...]) -> None:
    unknown = sorted(set(values) - set(columns))
    if unknown:
        raise InvalidInput(f"{register} has no column {unknown[0]}")


def _value(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return tame_text(value)
    if value is None or isinstance(value, int | float | bytes):
        return value
    return to_json(value)


def _audit(row: AppendAudit) -> tuple[Any, ...]:
    plain = (row.action, row.user_id, row.username, row.token_id, row.address, row.subject)
    return (iso(row.at), *map(_value, plain), to_json(row.detail), row.cause)
