"""What cloud jobs cost, summed: of the `queue` table, which keeps a job's cost beside what was expected of it."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from gpuyard.actors.model.clock import iso
from gpuyard.actors.model.commands import GetCloudCost
from gpuyard.actors.model.views import CloudCost
from gpuyard.actors.store.reads import one_read

# What a sum may be for → the SQL that names it.
KEYS: Final = {
    "provider": "coalesce(provider, '')",
    "user": "coalesce(CAST(user_id AS TEXT), '')",
    "team": "coalesce(team_id, '')",
    "day": "substr(coalesce(completed_at, queued_at), 1, 10)",
    "month": "substr(coalesce(completed_at, queued_at), 1, 7)",
    "job": "job_id",
}
MOST: Final = 1_000


def cloud_costs(connection: sqlite3.Connection, query: GetCloudCost) -> list[CloudCost]:
    """The dearest first (days: the newest). Only jobs that ever ran, or run, cost anything."""
    terms = ["target = 'cloud'", "started_at IS NOT NULL"]
    values: list[Any] = []
    for column, operator, at in (("queued_at", ">=", query.since), ("queued_at", "<", query.until)):
        if at is not None:
            terms.append(f"{column} {operator} ?")
            values.append(iso(at))
    if query.user_id is not None:
        terms.append("user_id = ?")
        values.append(query.user_id)
    order = "key DESC" if query.by in ("day", "month") else "cost DESC, key"
    sql = (
        f"SELECT {KEYS[query.by]} AS key, count(*), coalesce(sum(cost_usd), 0.0) AS cost,"
        " coalesce(sum(estimated_cost), 0.0), sum(cost_usd IS NULL)"
        f" FROM queue WHERE {' AND '.join(terms)} GROUP BY key ORDER BY {order} LIMIT {MOST}"
    )
    with one_read(connection):
        rows = connection.execute(sql, values).fetchall()
    return [_line(*row) for row in rows]


def _line(key: Any, jobs: int, cost: float, estimated: float, unpriced: int) -> CloudCost:
    return CloudCost(
        key=str(key), jobs=jobs, cost_usd=round(cost, 4), estimated_usd=round(estimated, 4), unpriced=unpriced
    )
