"""The queue in some plain lines, written from the requirement: what the real one must agree with.

Nothing is indexed and nothing is quick: after each event all pending jobs are gone through in order.

- Higher effective priority first, then first in, first out. A job that may not start hides none behind it.
- Local GPU jobs are bound by `local_job_max_concurrent`, `local_gpu_max_concurrent`, `user_max_gpus` and the GPUs;
  CPU jobs by `local_cpu_job_max_concurrent` alone. The free GPUs of the lowest indices are taken.
- Cloud jobs are bound by `max_concurrent`, then `user_max_concurrent`, then, with `enable_fair_share` and for jobs of
  a team, `team_max_concurrent`.
- A cancel of a running local job frees what it held and starts nothing here, until the next event that asks for work
  to start: a job's own end, or an accepted submit, approval, release, retry, resume, change of priority or limits, or
  `process`, or a restart. The cloud is held back by no cancel.
- A viewer submits existing configs only.
- Rules are looked at in order; the first that matches blocks a submit, else its author's wish does. A blocked job waits
  for an admin, or a lead where its rule says so, who does not decide on an own job; approved it queues up at the end.
- A held job, one whose window is closed, and all at a paused target keep their places and do not start.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

GPUS = 4
GPU_NAME = "a100"
ACTIVE = {"blocked", "pending", "running"}
CRITICAL = 40
TARGETS = {"local", "worker", "cloud"}
LEVELS = {"viewer": 0, "researcher": 10, "lead": 20, "admin": 30}


@dataclass(frozen=True)
class Person:
    name: str
    level: int
    team: str | None
    user_id: int

    @property
    def is_lead(self) -> bool:
        return self.level >= 20

    @property
    def is_admin(self) -> bool:
        return self.level >= 30


CAST = {
    "owner": (30, None),
    "lead": (20, "red"),
    "lou": (20, "blue"),
    "ann": (10, "red"),
    "bob": (10, "blue"),
    "cat": (10, None),
    "eve": (0, "red"),
}


def people(day: int) -> dict[str, Person]:
    """The people of one day: nobody has submitted anything before it."""
    return {
        name: Person(name, level, team, 1_000 + day * 10 + place)
        for place, (name, (level, team)) in enumerate(CAST.items())
    }


@dataclass
class Rule:
    """As an administrator wrote it."""

    number: int
    type: str
    condition: str = ""
    threshold: float | None = None
    approver: str = "admin"
    exempt: tuple[str, ...] = ()
    precedence: int = 0
    enabled: bool = True


@dataclass
class Job:
    """`number` is its place in time: who came first. `asked`: its author asked for an approval."""

    owner: Person
    need: int = 1
    number: int = 0
    devices: tuple[int, ...] = ()
    override: int | None = None
    status: str = "pending"
    asked: bool = False
    rule: Rule | None = None
    held: bool = False
    cloud: bool = False
    cost: float = 0.0
    config: str | None = None
    window: str | None = None
    team: str | None = None
    gpus: list[int] = field(default_factory=list)
    base: int = 0

    @property
    def effective(self) -> int:
        return self.base if self.override is None else self.override

    @property
    def wanted(self) -> set[int]:
        """The GPUs that it may have: preferring fewer than it needs means any."""
        return set(self.devices) if self.insists else set(range(GPUS))

    @property
    def insists(self) -> bool:
        return len(self.devices) >= max(1, self.need)


class Queue:
    """Each event answers the HTTP status that it deserves; what was refused changed nothing."""

    def __init__(self, **limits: Any) -> None:
        self.jobs: dict[str, Job] = {}
        self.limits = limits
        self.rules: list[Rule] = []
        self.paused: set[str] = set()
        self.processing_held = False
        self.submitted: Counter[Person] = Counter()
        self.let_in: set[Person] = set()
        self.runs: Counter[Person] = Counter()
        self._number = 0

    # --- what people do ---

    def submit(
        self, by: Person, job: Job, *, no_wait: bool = False, dry_run: bool = False, for_approval: bool = False
    ) -> tuple[int, Job | None]:
        """The job as it now stands, or None when it was refused or only predicted."""
        if by.level == 0 and job.config is None:
            return 403, None
        if job.override is not None and not self._may_override(by, job.override):
            return 403, None
        if job.team is not None and job.team != by.team and not by.is_admin:
            return 403, None
        return self._take(by, job, no_wait=no_wait, dry_run=dry_run, for_approval=for_approval)

    def _take(self, by: Person, job: Job, **how: bool) -> tuple[int, Job | None]:
        if not job.cloud and job.need > GPUS:
            return 200, None
        job.team = job.team or by.team
        job.number, job.base = self._next(), by.level
        job.rule = self.matching(job)
        blocked = job.rule is not None or job.asked
        job.status = "blocked" if blocked else "pending"
        if how.get("dry_run"):
            return 200, None
        if how.get("no_wait") and (not how.get("for_approval") if blocked else self.obstacles(job)):
            return 200, None
        self.jobs[f"new-{job.number}"] = job
        self.submitted[by] += 1
        if not blocked:
            self.let_in.add(by)
            self._process()
        return 200, job

    def matching(self, job: Job) -> Rule | None:
        """The first rule in order that blocks this submit."""
        level = next(name for name, value in LEVELS.items() if value == job.owner.level)
        for rule in sorted(self.rules, key=lambda rule: (rule.precedence, rule.number)):
            if rule.enabled and level not in rule.exempt and self._matches(rule, job):
                return rule
        return None

    def _matches(self, rule: Rule, job: Job) -> bool:
        most = rule.threshold if rule.threshold is not None else -1.0
        match rule.type:
            case "cost_exceeds":
                return job.cost > most
            case "daily_jobs_exceed":
                return self.submitted[job.owner] + 1 > most
            case "first_job":
                return job.owner not in self.let_in
            case "config_pattern":
                return fnmatchcase(job.config or "", rule.condition)
            case "provider":
                return fnmatchcase("replicate" if job.cloud else "local", rule.condition)
            case _:
                return not job.cloud and job.need > max(0.0, most) and fnmatchcase(GPU_NAME, rule.condition)

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
        self._cancel([job])
        return 200

    def cancel_many(self, by: Person, chosen: list[str]) -> set[str]:
        """Those that are cancelled."""
        mine = {job_id for job_id in chosen if not self._refused(by, self.jobs[job_id])}
        self._cancel([self.jobs[job_id] for job_id in mine])
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
        if not by.is_lead:
            return 403
        if job.status != "blocked":
            return 409
        lead_may = job.rule is not None and job.rule.approver == "lead" and job.owner is not by
        if not by.is_admin and not lead_may:
            return 403
        job.status = "pending" if approved else "failed"
        if approved:
            job.number = self._next()
            self.let_in.add(job.owner)
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

    def pause(self, by: Person, targets: set[str], paused: bool) -> int:
        if not by.is_admin:
            return 403
        self.paused = self.paused | targets if paused else self.paused - targets
        if not paused:
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
        again = Job(by, old.need, devices=old.devices, asked=old.asked and old.rule is None, cloud=old.cloud)
        again.cost, again.config, again.window = old.cost, old.config, old.window
        again.team = old.team if by.is_admin or old.team == by.team else None
        return self._take(by, again)

    # --- what hosts do ---

    def end(self, job_id: str, code: int) -> None:
        """The program of a running job ended by itself."""
        job = self.jobs[job_id]
        job.status, job.gpus = ("completed" if code == 0 else "failed"), []
        self.runs[job.owner] += 1
        self._process()

    def restart(self) -> None:
        """All that is not durable is forgotten, which is the hold of a cancel; what may start does."""
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
        if job.window == "closed":
            found.add("Window")
        if ("cloud" if job.cloud else "local") in self.paused:
            found.add("QueuePaused")
        running = [other for other in self.jobs.values() if other.status == "running" and other.cloud is job.cloud]
        return found | (self._cloud(job, running) if job.cloud else self._local(job, running))

    def _cloud(self, job: Job, running: list[Job]) -> set[str]:
        found = {"GlobalLimit"} if len(running) >= self.limits["max_concurrent"] else set()
        if sum(other.owner is job.owner for other in running) >= self.limits["user_max_concurrent"]:
            return found | {"UserLimit"}
        ours = sum(other.team == job.team for other in running)
        if self.limits["enable_fair_share"] and job.team and ours >= self.limits["team_max_concurrent"]:
            found.add("TeamLimit")
        return found

    def _local(self, job: Job, running: list[Job]) -> set[str]:
        if job.need == 0:
            cpu = sum(other.need == 0 for other in running)
            return {"LocalJobLimit"} if cpu >= self.limits["local_cpu_job_max_concurrent"] else set()
        found: set[str] = set()
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
        held = self.processing_held and job.status == "pending" and not job.cloud
        return found | {"ProcessingHeld"} if held else found

    # --- inside ---

    def _process(self) -> None:
        """Something asks for work to start."""
        self.processing_held = False
        self._start()

    def _start(self) -> None:
        """Start, in order, whatever may start."""
        for job_id in self.order():
            job = self.jobs[job_id]
            if not self.reasons(job_id):
                job.status = "running"
                job.gpus = [] if job.cloud else sorted(self.free() & job.wanted)[: job.need]

    def _cancel(self, jobs: list[Job]) -> None:
        for job in jobs:
            if job.status == "running":
                self.processing_held = self.processing_held or not job.cloud
                self.runs[job.owner] += 1
            job.status, job.gpus = "cancelled", []
        self._start()

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
