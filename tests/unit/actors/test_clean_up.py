"""Cleaning up goes in steps: what others ask meanwhile is done between them, and the answer comes when all is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.base import Actor, Reply
from gpuyard.actors.model import change, names
from gpuyard.actors.model.commands import CleanUp, Commit, GetStats, Ready, SubmitJob
from gpuyard.actors.model.commit import DeleteFinished, InsertJob
from gpuyard.actors.model.errors import InvalidInput, StoreFailed
from gpuyard.actors.model.events import GpuFacts, RunsAdopted
from gpuyard.actors.model.job import JobSpec, Status
from gpuyard.actors.model.limits import Limits
from gpuyard.actors.model.message import Message
from gpuyard.actors.queue_store import QueueStore
from gpuyard.actors.scheduler import Scheduler
from gpuyard.actors.store import groups
from gpuyard.actors.store.database import Database
from gpuyard.actors.store.groups import Outcome
from gpuyard.actors.supervisor import Child, Supervisor
from tests import leaks
from tests.support import eventually
from tests.support_store import T0, job_of, opened

JOBS, STEP = 95, 10
LONG_AGO = T0


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


class Told(Actor):
    """Stands where another actor stands."""

    def handle(self, message: Message, reply: Reply | None) -> Any:
        return True


class Core:
    """A store and a Scheduler over `JOBS` jobs that ended long ago. `commits` is what was written, in order."""

    def __init__(self, path: Path) -> None:
        with opened(path) as database:
            ended = (
                job_of(n, status=Status.COMPLETED, completed_at=LONG_AGO + n, exit_code=0) for n in range(1, JOBS + 1)
            )
            rows = tuple(InsertJob(job) for job in ended)
            assert groups.write(database, [Commit(generation=1, number=1, rows=rows)]).done == 1
        told = [Child(name, Told) for name in (names.KEEPER, names.GPUS, names.LINK)]
        store = Child(names.STORE, QueueStore, lambda: (path,))
        self.supervisor = Supervisor([*told, store, Child(names.SCHEDULER, Scheduler, lambda: (Limits(),))])
        self.supervisor.boot()
        self.scheduler = self.supervisor.directory.ref(names.SCHEDULER)
        self.scheduler.tell(RunsAdopted())
        self.scheduler.tell(GpuFacts(revision=1, observed_at=0.0, backend="none"))
        eventually(lambda: self.scheduler.ask(Ready()).result(5))


@pytest.fixture
def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Core]:
    monkeypatch.setattr(change, "CLEANUP_STEP", STEP)
    made = Core(tmp_path / "jobs.db")
    yield made
    made.supervisor.shut_down()
    assert made.supervisor.restarts == 0


def test_a_submit_in_the_midst_of_it_is_written_before_its_end(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    asked: list[Reply] = []
    real = groups.write

    def write(database: Database, commits: Sequence[Commit], *, durable: bool = True) -> Outcome:
        outcome = real(database, commits, durable=durable)
        for commit in commits:
            written.extend("step" for row in commit.rows if isinstance(row, DeleteFinished))
            written.extend("submit" for row in commit.rows if isinstance(row, InsertJob))
        if written == ["step"]:
            # Somebody submits while the first step is being written, and asks.
            submit = SubmitJob(spec=JobSpec(argv=("true",), name="new", num_processes=0))
            asked.extend([core.scheduler.ask(submit), core.scheduler.ask(GetStats())])
        return outcome

    monkeypatch.setattr(groups, "write", write)
    cleaned = core.scheduler.ask(CleanUp(days=30)).result(30)
    assert sorted(cleaned.job_ids) == sorted(job_of(n).job_id for n in range(1, JOBS + 1))
    assert asked[0].done() and asked[1].done(), "both were answered before the clean-up was"
    assert written.count("step") == JOBS // STEP + 1
    assert written.index("submit") <= 2, written
    left = eventually(lambda: core.scheduler.ask(GetStats()).result(5).by_status)
    assert left.get("completed", 0) == 0


def test_a_step_that_was_just_full_is_followed_by_an_empty_one(core: Core) -> None:
    core.scheduler.ask(CleanUp(days=30)).result(30)
    assert core.scheduler.ask(CleanUp(days=30)).result(30).job_ids == []


def test_what_is_not_allowed_deletes_nothing(core: Core) -> None:
    assert isinstance(core.scheduler.ask(CleanUp(days=0)).exception(10), InvalidInput)
    assert core.scheduler.ask(GetStats()).result(5).by_status["completed"] == JOBS


def test_a_disk_that_fails_in_the_midst_of_it_is_said_and_the_next_one_deletes_what_is_left(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, steps = groups.write, []

    def write(database: Database, commits: Sequence[Commit], *, durable: bool = True) -> Outcome:
        steps.extend(commits)
        if len(steps) == 3:
            return Outcome(done=0, results={}, error="the disk is full", disk=True, detail="the disk is full")
        return real(database, commits, durable=durable)

    monkeypatch.setattr(groups, "write", write)
    assert isinstance(core.scheduler.ask(CleanUp(days=30)).exception(30), StoreFailed)
    eventually(lambda: core.scheduler.ask(Ready()).result(5))
    assert core.scheduler.ask(GetStats()).result(5).by_status["completed"] == JOBS - 2 * STEP
    assert len(core.scheduler.ask(CleanUp(days=30)).result(30).job_ids) == JOBS - 2 * STEP
