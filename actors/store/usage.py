"""History's question about usage."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from gpuyard.actors.model.commands import GetUsage
from gpuyard.actors.model.commit import AddUsage
from gpuyard.actors.model.views import UsageSums
from gpuyard.actors.store.reads import one_read
from gpuyard.actors.store.tables import LIVE_PHASES

SUMS: Final = "SELECT day, user_id, team_id, place, runs, run_ms, gpu_ms FROM usage WHERE day BETWEEN ? AND ?"
CHUNK: Final = 500


def usage(connection: sqlite3.Connection, query: GetUsage) -> UsageSums:
    """The sums, and which of the asked fences still live, in one read."""
    sql = SUMS
    values: list[str | int] = [query.first, query.last]
    if query.user_id is not None:
        sql += " AND user_id = ?"
        values.append(query.user_id)
    if query.team_id is not None:
        sql += " AND team_id = ?"
        values.append(query.team_id)
    with one_read(connection):
        rows = [AddUsage(*row) for row in connection.execute(f"{sql} ORDER BY day, user_id", values)]
        live = [fence for chunk in _chunks(query.live) for fence in _live(connection, chunk)]
        names: dict[int, str] = dict(connection.execute("SELECT id, username FROM user"))
    return UsageSums(rows=rows, live=live, usernames=names)


def _live(connection: sqlite3.Connection, fences: Sequence[int]) -> list[int]:
    marks = ", ".join("?" * len(fences))
    rows = connection.execute(f"SELECT fence FROM attempt WHERE fence IN ({marks}) AND phase IN {LIVE_PHASES}", fences)
    return [fence for (fence,) in rows]


def _chunks(fences: Sequence[int]) -> list[Sequence[int]]:
    return [fences[start : start + CHUNK] for start in range(0, len(fences), CHUNK)]
