"""What the store's tests share: jobs and commits as the Scheduler makes them, and a Scheduler that records."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gpuyard.actors.base import Actor, Context, Directory, Reply, start
from gpuyard.actors.model import names
from gpuyard.actors.model.attempt import Attempt, GpuRef, Phase
from gpuyard.actors.model.commands import Commit, LoadSnapshot
from gpuyard.actors.model.commit import (
    CloseHolds,
    EventRow,
    InsertAttempt,
    InsertJob,
    OpenHold,
    Row,
    Snapshot,
    UpdateAttempt,
    UpdateJob,
)
from gpuyard.actors.model.errors import Unavailable
from gpuyard.actors.model.events import CommitFailed, Committed, SnapshotLoaded
from gpuyard.actors.model.ids import make_fence
from gpuyard.actors.model.job import Job, JobSpec, Status
from gpuyard.actors.model.message import Message, Shutdown
from gpuyard.actors.queue_store import QueueStore
from gpuyard.actors.store.database import Database
from tests.support import eventually

T0 = 1_700_000_000.0
# A row whose guard fails.
BAD = UpdateJob("nobody", Status.PENDING, {"held": True})
GPU = GpuRef("GPU-00000000-0000-0000-0000-000000000000", 0)


def job_of(number: int, **changes: Any) -> Job:
    """Job `number`: id, sequence and job id follow from it."""
    spec = changes.pop("spec", JobSpec(argv=("train", str(number)), config_name="sdxl"))
    fields: dict[str, Any] = {
        "id": number,
        "job_id": f"job{number:06d}",
        "user_id": 1,
        "spec": spec,
        "seq": number,
        "queued_at": T0 + number,
        "ranked_at": T0 + number,
    }
    return Job(**(fields | changes))


def attempt_of(job: Job, n: int, **changes: Any) -> Attempt:
    """Attempt with fence number `n` of epoch 1."""
    fields: dict[str, Any] = {
        "fence": make_fence(1, n),
        "job_id": job.job_id,
        "number": job.attempt,
        "gpus": (GPU,),
        "assigned_at": T0 + 100,
    }
    return Attempt(**(fields | changes))


def event_of(number: int, job_id: str | None = None, kind: str = "job_submitted") -> EventRow:
    return EventRow(id=number, at=T0 + number, kind=kind, job_id=job_id, user_id=1, by="owner", cause=f"c{number}")


def submitted(number: int, **changes: Any) -> tuple[Row, ...]:
    """The rows of submit T1 for job `number`, whose event has the same number."""
    job = job_of(number, **changes)
    return (InsertJob(job), event_of(number, job.job_id))


def started(number: int, n: int, gpu: GpuRef = GPU) -> tuple[Row, ...]:
    """The rows of a start T3."""
    job = job_of(number)
    attempt = attempt_of(job, n, gpus=(gpu,))
    return (
        UpdateJob(job.job_id, Status.PENDING, {"status": Status.RUNNING}),
        InsertAttempt(attempt),
        OpenHold("local", gpu.uuid, gpu.index, attempt.fence, T0 + 100),
    )


def ended(number: int, n: int, status: Status = Status.COMPLETED, *, release: bool = True) -> tuple[Row, ...]:
    """The rows of an end T7 (and T8 with `release`) of a run of 50 seconds."""
    job_id, fence = job_of(number).job_id, make_fence(1, n)
    code = 0 if status is Status.COMPLETED else 1
    rows: tuple[Row, ...] = (
        UpdateAttempt(
            fence,
            {"phase": Phase.EXITED, "started_at": T0 + 100, "ended_at": T0 + 150 + number, "exit_code": code, "pid": 9},
        ),
        UpdateJob(
            job_id,
            Status.RUNNING,
            {"status": status, "started_at": T0 + 100, "completed_at": T0 + 150 + number, "exit_code": code},
        ),
    )
    return (*rows, CloseHolds(fence, T0 + 151)) if release else rows


class Recorder(Actor):
    """Stands where the Scheduler stands and keeps what it is told."""

    def __init__(self, context: Context, told: list[Message]) -> None:
        super().__init__(context)
        self._told = told

    def handle(self, message: Message, reply: Reply | None) -> Any:
        self._told.append(message)


class Bench:
    """A QueueStore under test, and what it told."""

    def __init__(self, path: Path, crashes: list[BaseException]) -> None:
        self._threads = set(threading.enumerate())
        self.path = path
        self.crashes = crashes
        self.told: list[Message] = []
        self.directory = Directory()
        start(Recorder, self.context(names.SCHEDULER), self.told)
        start(QueueStore, self.context(names.STORE), path)
        self.store = self.directory.ref(names.STORE)

    def context(self, name: str) -> Context:
        return Context(name=name, directory=self.directory, crashed=lambda _name, error: self.crashes.append(error))

    def load(self, generation: int) -> Snapshot:
        """The snapshot of a new generation, once it may be written to."""
        self.store.tell(LoadSnapshot(generation=generation))
        return eventually(lambda: [m for m in self.of(SnapshotLoaded) if m.generation == generation and m.writable])[
            -1
        ].snapshot

    def commit(self, generation: int, number: int, *rows: Row, **more: Any) -> None:
        self.store.tell(Commit(generation=generation, number=number, rows=rows, **more))

    def durable(self, generation: int, number: int) -> None:
        """Wait until commit `number` is acknowledged."""
        eventually(lambda: [m for m in self.of(Committed) if (m.generation, m.number) >= (generation, number)])

    def failed(self, generation: int, number: int) -> CommitFailed:
        return eventually(
            lambda: [m for m in self.of(CommitFailed) if (m.generation, m.number) == (generation, number)]
        )[0]

    def wait_for(self, kind: type[Any], generation: int) -> Any:
        return eventually(lambda: [m for m in self.of(kind) if m.generation == generation])[-1]

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for message in list(self.told) if isinstance(message, kind)]

    def stop(self) -> None:
        for name in (names.STORE, names.SCHEDULER):
            ref = self.directory.get(name)
            if ref is not None and ref.is_alive():
                # One that has just crashed answers that it is stopping.
                with suppress(Unavailable):
                    self.directory.ref(name).ask(Shutdown()).result(10)
                eventually(lambda ref=ref: not ref.is_alive())  # type: ignore[misc]
        eventually(lambda: not [t for t in set(threading.enumerate()) - self._threads if "tore-" in t.name])


@contextmanager
def bench(path: Path) -> Iterator[Bench]:
    made = Bench(path, [])
    try:
        yield made
    finally:
        made.stop()


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    database = Database.open(path)
    try:
        yield database
    finally:
        database.close()
