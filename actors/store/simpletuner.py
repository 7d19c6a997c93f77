"""`gpuyard db import-simpletuner`: the ended jobs of a SimpleTuner queue become history here.

SimpleTuner's database (requirement "Database Schema") is opened read-only and never changed. Its waiting and running
jobs are not taken over: SimpleTuner still owns their processes; they are counted, so that a person can submit them.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from gpuyard.actors.model.accounts_users import OWNERS_ID
from gpuyard.actors.model.clock import epoch
from gpuyard.actors.model.commands import Commit
from gpuyard.actors.model.commit import InsertJob
from gpuyard.actors.model.errors import InvalidInput, NotFound, StoreFailed
from gpuyard.actors.model.job import Job, JobSpec, Status, Target
from gpuyard.actors.store import groups
from gpuyard.actors.store.database import Database

ENDED: Final = {
    "completed": Status.COMPLETED,
    "failed": Status.FAILED,
    "cancelled": Status.CANCELLED,
    "canceled": Status.CANCELLED,
}
JOB_ID: Final = re.compile(r"[0-9a-z-]{1,64}")
NEEDED: Final = {"job_id", "status", "queued_at"}


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """`jobs` were taken over, `known` were here already, `active` have not ended, `odd` cannot be understood."""

    jobs: int
    known: int
    active: int
    odd: int


def import_from(source: Path, path: Path) -> Imported:
    """Take the ended jobs of `source` into the database at `path`; a repeat takes only what is new.

    Raises NotFound (no `source`), InvalidInput (it is no SimpleTuner queue), DatabaseRefused (the server runs),
    StoreFailed.
    """
    rows = _read(source)
    database = Database.open(path)
    try:
        snapshot = database.snapshot(time.time())
        with database.transaction() as connection:
            present = {job_id for (job_id,) in connection.execute("SELECT job_id FROM queue")}
        jobs: list[Job] = []
        known = active = odd = 0
        for row in rows:
            if row["job_id"] in present:
                known += 1
            elif row["status"] not in ENDED:
                active += 1
            elif (job := _job(row, snapshot.next_job + len(jobs), snapshot.next_seq + len(jobs))) is None:
                odd += 1
            else:
                jobs.append(job)
        if jobs:
            commit = Commit(generation=0, number=1, rows=tuple(InsertJob(job) for job in jobs))
            outcome = groups.write(database, [commit])
            if outcome.error is not None:
                raise StoreFailed(f"nothing was imported: {outcome.error}")
        return Imported(jobs=len(jobs), known=known, active=active, odd=odd)
    finally:
        database.close()


def _read(source: Path) -> list[dict[str, Any]]:
    if not source.is_file():
        raise NotFound(f"there is no file {source}")
    try:
        with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            rows = [dict(row) for row in connection.execute("SELECT * FROM queue ORDER BY queued_at, id")]
    except sqlite3.Error as error:
        raise InvalidInput(f"{source} is not a SimpleTuner queue: {error}") from None
    if rows and not rows[0].keys() >= NEEDED:
        raise InvalidInput(f"{source} is not a SimpleTuner queue: its columns are others")
    return rows


def _job(row: dict[str, Any], number: int, seq: int) -> Job | None:
    """The row as a job that has ended; None when it makes no sense."""
    try:
        queued_at = epoch(row["queued_at"])
        cloud = row.get("job_type", "cloud") == "cloud"
        metadata = json.loads(row.get("metadata") or "{}")
        metadata = metadata if isinstance(metadata, dict) else {"metadata": metadata}
        if row.get("user_id") is not None:
            metadata |= {"simpletuner_user_id": row["user_id"]}
        spec = JobSpec(
            config_name=row.get("config_name"),
            target=Target.CLOUD if cloud else Target.LOCAL,
            provider=row.get("provider") if cloud else None,
            num_processes=int(row.get("num_processes") or 1),
            estimated_cost=float(row.get("estimated_cost") or 0.0),
            max_attempts=int(row.get("max_attempts") or 3),
            metadata=metadata,
        )
        if not JOB_ID.fullmatch(row["job_id"]):
            return None
        return Job(
            id=number,
            job_id=row["job_id"],
            user_id=OWNERS_ID,  # its users are not ours: their numbers mean other people here
            team_id=row.get("team_id"),
            spec=spec,
            seq=seq,
            queued_at=queued_at,
            ranked_at=queued_at,
            status=ENDED[row["status"]],
            priority=int(row.get("priority") or 0),
            priority_override=row.get("priority_override"),
            started_at=epoch(row["started_at"]) if row.get("started_at") else None,
            completed_at=epoch(row["completed_at"]) if row.get("completed_at") else queued_at,
            attempt=int(row.get("attempt") or 1),
            error_message=row.get("error_message"),
        )
    except (TypeError, ValueError):
        return None
