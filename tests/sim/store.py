"""The server's disk: what the store keeps of the queue and of the workers, with its guards, copies and epochs."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from gpuyard.actors.model.attempt import LIVE, Attempt
from gpuyard.actors.model.commit import (
    CloseHolds,
    EventRow,
    Hold,
    InsertAttempt,
    InsertJob,
    OpenHold,
    PutSetting,
    Row,
    Snapshot,
    UpdateAttempt,
    UpdateJob,
)
from gpuyard.actors.model.fleet import WorkerRecord, from_row
from gpuyard.actors.model.ids import fence_epoch
from gpuyard.actors.model.job import ACTIVE, TERMINAL, Job
from gpuyard.actors.model.registers import AppendAudit, DropRecord, PutRecord, RecordRow
from tests.sim.engine import Violation

DB_ID = "sim"
AnyRow = Row | RecordRow


class SimStore:
    """Rows that a guard of the real store would refuse are violations: the core alone writes, so it never races."""

    def __init__(self) -> None:
        self.db_epoch = 1
        self.jobs: dict[str, Job] = {}
        self.attempts: dict[int, Attempt] = {}
        self.holds: dict[tuple[str, str], Hold] = {}
        self.workers: dict[str, dict[str, Any]] = {}
        self.audit: list[AppendAudit] = []
        self.settings: dict[str, Any] = {}
        self.next_event = 1

    def write(self, rows: list[AnyRow]) -> None:
        """One commit."""
        for row in rows:
            match row:
                case InsertJob(job):
                    self.jobs[job.job_id] = replace(job)
                case UpdateJob():
                    self._update_job(row)
                case InsertAttempt(attempt):
                    _must(attempt.fence > max(self.attempts, default=0), "fences grow", row)
                    self.attempts[attempt.fence] = replace(attempt)
                case UpdateAttempt(fence, changes):
                    _must(self.is_live(fence), "an ended attempt never changes", row)
                    _set(self.attempts[fence], changes)
                case OpenHold(host, uuid, index, fence, at):
                    _must((host, uuid) not in self.holds, "one job a GPU", row)
                    self.holds[host, uuid] = Hold(host, uuid, index, fence, at)
                case CloseHolds(fence, _, uuids):
                    self.holds = {
                        k: h for k, h in self.holds.items() if h.fence != fence or (uuids and k[1] not in uuids)
                    }
                case EventRow(id=number):
                    self.next_event = max(self.next_event, number + 1)
                case PutSetting(key, value):
                    self.settings[key] = value
                case PutRecord(register="worker", values=values):
                    self.workers[values["id"]] = values
                case DropRecord(register="worker", where=where):
                    self.workers.pop(where["id"], None)
                case AppendAudit():
                    self.audit.append(row)
                case _:
                    pass  # what the stories are not about: usage, approvals, other registers

    def _update_job(self, row: UpdateJob) -> None:
        job = self.jobs[row.job_id]
        _must(job.status == row.expect_status, "the stored status is the expected one", row)
        _must(job.status not in TERMINAL or "status" not in row.changes, "terminal states never change", row)
        _set(job, row.changes)

    def records(self) -> list[WorkerRecord]:
        return [from_row(values) for values in self.workers.values()]

    def snapshot(self) -> Snapshot:
        held = {hold.fence for hold in self.holds.values()}
        return Snapshot(
            db_id=DB_ID,
            db_epoch=self.db_epoch,
            next_job=max((job.id for job in self.jobs.values()), default=0) + 1,
            next_seq=max((job.seq for job in self.jobs.values()), default=0) + 1,
            next_event=self.next_event,
            next_fence=1 + sum(fence_epoch(fence) == self.db_epoch for fence in self.attempts),
            jobs=tuple(replace(job) for job in self.jobs.values() if job.status in ACTIVE),
            attempts=tuple(replace(a) for a in self.attempts.values() if a.phase in LIVE or a.fence in held),
            holds=tuple(self.holds.values()),
            settings=dict(self.settings),
            counts={status: sum(job.status == status for job in self.jobs.values()) for status in (*ACTIVE, *TERMINAL)},
        )

    def is_live(self, fence: int) -> bool:
        attempt = self.attempts.get(fence)
        return attempt is not None and attempt.phase in LIVE

    def holds_gpu(self, fence: int) -> bool:
        return any(hold.fence == fence for hold in self.holds.values())

    def is_terminal(self, job_id: str) -> bool:
        job = self.jobs.get(job_id)
        return job is not None and job.status in TERMINAL

    def copy(self) -> SimStore:
        """As a backup holds it."""
        twin = SimStore()
        twin.jobs = {key: replace(job) for key, job in self.jobs.items()}
        twin.attempts = {key: replace(attempt) for key, attempt in self.attempts.items()}
        twin.holds, twin.workers, twin.audit = dict(self.holds), dict(self.workers), list(self.audit)
        twin.settings = dict(self.settings)
        twin.db_epoch, twin.next_event = self.db_epoch, self.next_event
        return twin


def _must(right: bool, rule: str, row: AnyRow) -> None:
    if not right:
        raise Violation(f"{rule}: the store refuses {row}")


def _set(target: Job | Attempt, changes: dict[str, Any]) -> None:
    for field, value in changes.items():
        setattr(target, field, value)
