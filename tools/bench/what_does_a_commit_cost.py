"""What does the commit between two jobs cost over its fsync? And what does a submit cost in a group of a hundred?

The hot commit is one job's end, its GPU's release and the next job's start: eight rows. Reference: one row inserted and
committed by plain sqlite3 under the same settings (WAL, FULL, the log's space written in advance), in turns.
Bar: none, reported. Run: python tools/bench/what_does_a_commit_cost.py
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness import Ratio, median, report

from gpuyard.actors.model.attempt import Attempt, GpuRef, Phase
from gpuyard.actors.model.commands import Commit
from gpuyard.actors.model.commit import (
    CloseHolds,
    EventRow,
    InsertAttempt,
    InsertJob,
    OpenHold,
    Row,
    UpdateAttempt,
    UpdateJob,
)
from gpuyard.actors.model.ids import make_fence
from gpuyard.actors.model.job import Job, JobSpec, Status
from gpuyard.actors.store import groups
from gpuyard.actors.store.checkpoint import Checkpointer
from gpuyard.actors.store.database import Database

JOBS = 20_000
TURNS = 500
GROUP = 100
T0 = 1_700_000_000.0
GPU = GpuRef("GPU-00000000-0000-0000-0000-000000000000", 0)


def name(number: int) -> str:
    """A job id whose neighbours lie far apart in an index, as random ones do."""
    return f"{number * 2_654_435_761 % 2**32:08x}{number:04x}"


def submit(number: int) -> tuple[Row, ...]:
    spec = JobSpec(argv=("accelerate", "launch", "train.py"), config_name="sdxl", metadata={"run_name": "x"})
    at = T0 + number
    job = Job(id=number, job_id=name(number), user_id=number % 7, spec=spec, seq=number, queued_at=at, ranked_at=at)
    return (InsertJob(job), EventRow(id=2 * JOBS + number, at=at, kind="job_submitted", job_id=job.job_id))


def start(number: int) -> tuple[Row, ...]:
    fence, job_id = make_fence(1, number), name(number)
    return (
        UpdateJob(job_id, Status.PENDING, {"status": Status.RUNNING}),
        InsertAttempt(Attempt(fence=fence, job_id=job_id, number=1, gpus=(GPU,), assigned_at=T0)),
        OpenHold("local", GPU.uuid, GPU.index, fence, T0),
        EventRow(id=10 * JOBS + 2 * number, at=T0, kind="job_started", job_id=job_id, user_id=1, data={"gpus": [0]}),
    )


def end(number: int) -> tuple[Row, ...]:
    fence, job_id = make_fence(1, number), name(number)
    over = {"exit_code": 0, "exit_class": "completed", "started_at": T0 + 50}
    return (
        UpdateJob(job_id, Status.RUNNING, {"status": Status.COMPLETED, "completed_at": T0 + 99, **over}),
        UpdateAttempt(fence, {"phase": Phase.EXITED, "ended_at": T0 + 99, "pid": 123, **over}),
        CloseHolds(fence, T0 + 99),
        EventRow(id=10 * JOBS + 2 * number + 1, at=T0, kind="job_completed", job_id=job_id, user_id=1),
    )


def write(database: Database, *commits: tuple[Row, ...]) -> None:
    outcome = groups.write(database, [Commit(generation=1, number=n, rows=rows) for n, rows in enumerate(commits)])
    if outcome.error is not None:
        raise RuntimeError(outcome.error)


def insert(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO bare VALUES (1)")
    connection.execute("COMMIT")


def seconds(what: Callable[[], None]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="gpuyard-bench-") as folder:
        database = Database.open(Path(folder) / "store" / "jobs.db")
        other = Database.open(Path(folder) / "bare" / "jobs.db")
        other.connection.execute("CREATE TABLE bare (x)")
        checkpointer = Checkpointer(database.path)
        checkpointer.start()
        for first in range(1, JOBS, 1000):
            write(database, *(submit(number) for number in range(first, first + 1000)))
        database.checkpoint()
        write(database, start(1))
        hot, bare, group = [], [], []
        for turn in range(1, TURNS):
            hot.append(seconds(lambda turn=turn: write(database, end(turn) + start(turn + 1))))  # type: ignore[misc]
            checkpointer.wrote(8)
            bare.append(seconds(lambda: insert(other.connection)))
        for turn in range(20):
            numbers = range(JOBS + 1 + turn * GROUP, JOBS + 1 + (turn + 1) * GROUP)
            rows = [submit(number) for number in numbers]
            group.append(seconds(lambda rows=rows: write(database, *rows)) / GROUP)  # type: ignore[misc]
        checkpointer.stop()
        other.close()
        database.close()
    one = median(bare)
    note = f"{median(hot) * 1e6:.0f} us against {one * 1e6:.0f} us"
    each = f"{median(group) * 1e6:.0f} us each"
    return report(
        [
            Ratio("the commit between two jobs, against one inserted row", median(hot) / one, None, note=note),
            Ratio(f"a submit among {GROUP} in a group, against one inserted row", median(group) / one, None, note=each),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
