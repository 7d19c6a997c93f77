"""The queue in some plain lines, written from the requirement: what the real one must agree with.

Nothing is indexed and nothing is quick: after each event all pending jobs are gone through in order.

- Higher effective priority first, then first in, first out. A job that may not start hides none behind it.
- Local GPU jobs are bound by `local_job_max_concurrent`, `local_gpu_max_concurrent`, `user_max_gpus` and the GPUs;
  CPU jobs by `local_cpu_job_max_concurrent` alone. The free GPUs of the lowest indices are taken.
- A cancel of a running job frees what it held and starts nothing, until the next event that asks for work to start:
  a job's own end, or an accepted submit, approval, release, retry, change of priority or limits, or `process`.
- A viewer submits existing configs only, so here nothing at all.
- A blocked job waits for an admin; approved it queues up at the end. A held one keeps its place and does not start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

GPUS = 4
ACTIVE = {"blocked", "pending", "running"}
CRITICAL = 40


@dataclass
class Person:
    name: str
    level: int

    @property
    def is_lead(self) -> bool:
        return self.level >= 20

    @property
    def is_admin(self) -> bool:
        return self.level >= 30


PEOPLE = {
    person.name: person
    for person in (Person("owner", 30), Person("lead", 20), Person("ann", 10), Person("bob", 10), Person("eve", 0))
}


@dataclass
class Job:
    """`number` is its place in time: who came first."""

    owner: Person
    need: int
    number: int
    devices: tuple[int, ...] = ()
    override: int | None = None
    status: str = "pending"
    approval: bool = False
    held: bool = False
    gpus: list[int] = field(default_factory=list)
    base: int = 0

    @property
    def effective(self) -> int:
        return self.base if self.override is None else self.override

    @property
    def wanted(self) -> set[int]:
        """The GPUs that it may have: preferring fewer than it needs means any."""
        return set(self.devices) if len(self.devices) >= max(1, self.need) else set(range(GPUS))

    @property
    def insists(self) -> bool:
        return len(self.devices) >= max(1, self.need)


class Queue:
    """Each event answers the HTTP status that it deserves; what was refused changed nothing."""

    def __init__(self, **limits: Any) -> None:
        self.jobs: dict[str, Job] = {}
        self.limits = limits
        self.processing_held = False
        self._number = 0

    # --- what people do ---

    def submit(self, by: Person, job: Job, *, no_wait: bool = False, dry_run: bool = False) -> tuple[int, Job | None]:
        """The job as it now stands, or None when it was refused or only predicted."""
        if by.level == 0 or (job.override is not None and not self._may_override(by, job.override)):
            return 403, None
        if job.need > GPUS:
            return 200, None
        job.number = self._next()
        job.base = by.level
        job.status = "blocked" if job.approval else "pending"
        if dry_run:
            return 200, None
        if no_wait and (job.approval or self.obstacles(job)):
            return 200, None
        self.jobs[f"new-{job.number}"] = job
        if not job.approval:
            self._process()
        return 200, job

    def named(self, job: Job, job_id: str) -> None:
        """The server told the id."""
        self.jobs = {job_id if found is job else name: found for name, found in self.jobs.items()}

    def cancel(self, by: Person, job_id: str, *, waiting_only: bool = False) -> int:
        job = self.jobs[job_id]
        refused = self._refused(by, job)
        if refused:
            return refused
        if waiting_only and job.status == "running":
            return 409
        self._cancel(job)
        return 200

    def cancel_many(self, by: Person, chosen: list[str]) -> set[str]:
        """Those that are cancelled."""
        mine = {job_id for job_id in chosen if not self._refused(by, self.jobs[job_id])}
        for job_id in mine:
            self._cancel(self.jobs[job_id])
        return mine

    def hold(self, by: Person, job_id: str, held: bool) -> int:
        job = self.jobs[job_id]
        refused = self._refused(by, job) or (409 if job.status == "running" else 0)
        if refused:
            return refused
        job.held = held
        if not held:
            self._process()
        return 200

    def decide(self, by: Person, job_id: str, approved: bool) -> int:
        job = self.jobs[job_id]
        if not by.is_admin:
            return 403
        if job.status != "blocked":
            return 409
        job.status = "pending" if approved else "failed"
        if approved:
            job.number = self._next()
            self._process()
        return 200

    def prioritise(self, by: Person, job_id: str, value: int | None) -> int:
        job = self.jobs[job_id]
        refused = (0 if by.is_lead else 403) or (0 if job.status in ACTIVE else 409)
        refused = (
            refused or (0 if self._may_override(by, value or 0) else 403) or (409 if job.status == "running" else 0)
        )
        if refused:
            return refused
        job.override = value
        self._process()
        return 200

    def set_limits(self, by: Person, changes: dict[str, Any]) -> int:
        if not by.is_admin:
            return 403
        self.limits |= changes
        self._process()
        return 200

    def process(self, by: Person) -> int:
        if not by.is_admin:
            return 403
        self._process()
        return 200

    def retry(self, by: Person, job_id: str) -> tuple[int, Job | None]:
        old = self.jobs[job_id]
        if not by.is_lead and by is not old.owner:
            return 404, None
        if old.status not in ("failed", "cancelled"):
            return 409, None
        return self.submit(by, Job(by, old.need, 0, old.devices, approval=old.approval))

    # --- what hosts do ---

    def end(self, job_id: str, code: int) -> None:
        """The program of a running job ended by itself."""
        job = self.jobs[job_id]
        job.status, job.gpus = ("completed" if code == 0 else "failed"), []
        self._process()

    # --- what one sees ---

    def of(self, *statuses: str) -> list[str]:
        return [job_id for job_id, job in self.jobs.items() if job.status in statuses]

    def order(self) -> list[str]:
        """Pending jobs as they will be started."""
        return sorted(self.of("pending"), key=lambda job_id: (-self.jobs[job_id].effective, self.jobs[job_id].number))

    def free(self) -> set[int]:
        return set(range(GPUS)) - {gpu for job in self.jobs.values() for gpu in job.gpus}

    def obstacles(self, job: Job) -> set[str]:
        """The codes of what stands between a job and its start."""
        if job.status == "blocked":
            return {"AwaitingApproval"}
        found = {"Held"} if job.held else set()
        running = [other for other in self.jobs.values() if other.status == "running"]
        if job.need == 0:
            cpu = sum(other.need == 0 for other in running)
            return found | ({"LocalJobLimit"} if cpu >= self.limits["local_cpu_job_max_concurrent"] else set())
        on_gpus = [other for other in running if other.need]
        if len(on_gpus) >= self.limits["local_job_max_concurrent"]:
            found.add("LocalJobLimit")
        if _over(sum(other.need for other in on_gpus) + job.need, self.limits["local_gpu_max_concurrent"]):
            found.add("LocalGpuLimit")
        mine = sum(other.need for other in on_gpus if other.owner is job.owner)
        if _over(mine + job.need, self.limits["user_max_gpus"]):
            found.add("UserLimit")
        if len(self.free() & job.wanted) < job.need:
            found.add("DeviceIdsBusy" if job.insists else "GpusBusy")
        return found

    def reasons(self, job_id: str) -> set[str]:
        """The codes of a waiting job's reasons."""
        job = self.jobs[job_id]
        found = self.obstacles(job)
        return found | {"ProcessingHeld"} if self.processing_held and job.status == "pending" else found

    # --- inside ---

    def _process(self) -> None:
        """Start, in order, whatever may start."""
        self.processing_held = False
        for job_id in self.order():
            job = self.jobs[job_id]
            if not self.obstacles(job):
                job.status = "running"
                job.gpus = sorted(self.free() & job.wanted)[: job.need]

    def _cancel(self, job: Job) -> None:
        if job.status == "running":
            self.processing_held = True
        job.status, job.gpus = "cancelled", []

    def _refused(self, by: Person, job: Job) -> int:
        """409 for a job that has ended; somebody else's is 404, for a lead, who sees it, 403 (an admin may); else 0."""
        if not (by.is_lead or by is job.owner):
            return 404
        if job.status not in ACTIVE:
            return 409
        return 0 if by.is_admin or by is job.owner else 403

    def _may_override(self, by: Person, value: int) -> bool:
        return by.is_lead and (value < CRITICAL or by.is_admin)

    def _next(self) -> int:
        self._number += 1
        return self._number


def _over(wanted: int, limit: int | None) -> bool:
    return limit is not None and wanted > limit
