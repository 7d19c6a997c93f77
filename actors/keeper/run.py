"""What a ProcessKeeper knows of one run, and what can be read about it from its folder.

ordered     The order was given (or waits to be given) to a spare keeper; nothing has been heard yet.
live        Its keeper lives and is watched.
keeperless  Its keeper is gone without a word; its processes, if any, are looked for (see `keeperless.py`).
ended       No process is left, the end is known, and it is told until it is acknowledged.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from gpuyard.actors.keeper.descriptors import Descriptors
from gpuyard.actors.keeper.keeperless import Keeperless
from gpuyard.actors.keeper.lease import Lease
from gpuyard.actors.keeper.news import ExitRecord, RunRecord
from gpuyard.actors.keeper.program import records
from gpuyard.actors.model.commands import RunSpec
from gpuyard.actors.model.events import AttemptExited, OrphanSeen, RunsAdopted


class Stage(Enum):
    ORDERED = auto()
    LIVE = auto()
    KEEPERLESS = auto()
    ENDED = auto()


@dataclass(slots=True, kw_only=True)
class Run:
    """`order` is kept until the run was claimed; `keeper` is a pidfd while it is live; `stop_reason` is set once a
    stop was asked, `look_at` (monotonic) while a look is due, `wanted` once this database wanted the run, `lease`
    where it has one, and `lapse` the sentence once it was ended for that from here."""

    fence: int
    stage: Stage
    job_id: str = ""
    order: dict[str, Any] | None = None
    record: RunRecord | None = None
    keeper: int | None = None
    keeperless: Keeperless | None = None
    look_at: float | None = None
    stop_reason: str | None = None
    wanted: bool = False
    end: AttemptExited | None = None
    lease: Lease | None = None
    lapse: str = ""


def unseen(spec: RunSpec) -> Run:
    """One of which there is nothing but the wish."""
    return Run(fence=spec.fence, stage=Stage.ORDERED, job_id=spec.job_id)


def told(record: ExitRecord) -> AttemptExited:
    """The event that an exit record stands for. What is `lost` has no exit code that means anything."""
    return AttemptExited(
        fence=record.fence,
        exit_class=record.exit_class,
        exit_code=None if record.exit_class == "lost" else record.code,
        message=record.message,
        started_at=record.started_at,
        ended_at=record.ended_at,
    )


def unheard_end(fence: int, job_id: str, exit_class: str, message: str, at: float, run: RunRecord | None) -> ExitRecord:
    """The end of a run that no keeper could write."""
    return ExitRecord(
        version=records.VERSION,
        fence=fence,
        job_id=run.job_id if run else job_id,
        attempt=run.attempt if run else 1,
        exit_class=exit_class,
        message=message,
        started_at=run.started_at if run else None,
        ended_at=at,
    )


def adopted(runs: Collection[Run]) -> RunsAdopted:
    """What lives here, and what has ended and is not acknowledged."""
    ended = tuple(run.fence for run in runs if run.stage is Stage.ENDED)
    live = [run for run in runs if run.stage is not Stage.ENDED]
    return RunsAdopted(live=tuple(run.fence for run in live), ended=ended, jobs={run.fence: run.job_id for run in live})


def orphans(runs: Iterable[Run]) -> list[OrphanSeen]:
    """What lives here though this database never wanted it."""
    return [
        OrphanSeen(fence=run.fence, job_id=run.job_id, pid=run.record.pid, uuids=tuple(run.record.gpus))
        for run in runs
        if not run.wanted and run.stage is not Stage.ENDED and run.record is not None
    ]


def let_go(run: Run, descriptors: Descriptors) -> None:
    """Stop watching its processes, and looking for them."""
    run.look_at = None
    if run.keeper is not None:
        descriptors.unwatch(run.keeper)
        os.close(run.keeper)
        run.keeper = None
    if run.keeperless is not None:
        if run.keeperless.program is not None:
            descriptors.unwatch(run.keeperless.program)
        run.keeperless.close()
        run.keeperless = None
