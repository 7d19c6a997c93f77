"""A small world round the real core: a store in memory that checks every guard, and hosts that report on demand."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from gpuyard.actors.model import cancel, change, policy, runs, submit, windows
from gpuyard.actors.model.approvals import Approval, ApprovalRule, Decision, RuleType
from gpuyard.actors.model.attempt import LIVE, LOCAL_HOST, Attempt
from gpuyard.actors.model.clock import ManualClock, epoch, epoch_or_none, utc_day
from gpuyard.actors.model.commands import CancelJob, CancelJobs, LookAtGpus, SubmitJob, WantRun, WantStop, WatchRelease
from gpuyard.actors.model.commit import (
    AddUsage,
    CloseHolds,
    EventRow,
    Hold,
    InsertAttempt,
    InsertJob,
    OpenHold,
    PutSetting,
    RememberKey,
    Row,
    Snapshot,
    StoredKey,
    UpdateAttempt,
    UpdateJob,
)
from gpuyard.actors.model.events import AttemptExited, AttemptStarted, GpuEmptied, GpuFacts, GpusLooked, ProviderFacts
from gpuyard.actors.model.gpu import GpuFact, GpuProcess
from gpuyard.actors.model.job import ACTIVE, TERMINAL, Job, JobSpec, Target
from gpuyard.actors.model.limits import Limits
from gpuyard.actors.model.orders import driver_of
from gpuyard.actors.model.outbox import Now, Outbox
from gpuyard.actors.model.people import OWNER, Viewer
from gpuyard.actors.model.registers import AppendAudit, DropRecord, PutRecord
from gpuyard.actors.model.shapes import Pool, pool_of
from gpuyard.actors.model.views import JobAccepted, JobRefused
from gpuyard.actors.model.violations import violations
from gpuyard.actors.model.yard import Yard


class MemoryStore:
    """Applies rows as the real store must: a guard that fails is an error here, since the core never races."""

    def __init__(self) -> None:
        self.db_epoch = 1
        self.jobs: dict[str, Job] = {}
        self.attempts: dict[int, Attempt] = {}
        self.holds: dict[tuple[str, str], Hold] = {}
        self.events: list[EventRow] = []
        self.settings: dict[str, Any] = {}
        self.keys: list[StoredKey] = []
        self.records: dict[str, dict[Any, dict[str, Any]]] = {"approval": {}, "approval_rule": {}, "submitter": {}}
        self.audit: list[AppendAudit] = []
        self.usage: dict[tuple[str, int, str, str], Counter[str]] = {}

    def apply(self, rows: list[Row]) -> None:
        for row in rows:
            self._apply(row)

    def _apply(self, row: Row) -> None:
        match row:
            case InsertJob(job):
                assert job.job_id not in self.jobs
                self.jobs[job.job_id] = msgspec.structs.replace(job)
            case UpdateJob(job_id, expect, changes):
                job = self.jobs[job_id]
                assert job.status == expect, f"{job_id}: stored {job.status}, expected {expect}"
                if job.status in TERMINAL:
                    assert "status" not in changes, "terminal states never change"
                for field, value in changes.items():
                    setattr(job, field, value)
            case InsertAttempt(attempt):
                assert all(fence < attempt.fence for fence in self.attempts), "fences grow"
                self.attempts[attempt.fence] = msgspec.structs.replace(attempt)
            case UpdateAttempt(fence, changes):
                attempt = self.attempts[fence]
                assert attempt.phase in LIVE
                for field, value in changes.items():
                    setattr(attempt, field, value)
            case OpenHold(host, uuid, index, fence, at):
                assert (host, uuid) not in self.holds, "a GPU is held twice"
                self.holds[host, uuid] = Hold(host, uuid, index, fence, at)
            case CloseHolds(fence, _, uuids):
                for key, hold in list(self.holds.items()):
                    if hold.fence == fence and (not uuids or hold.uuid in uuids):
                        del self.holds[key]
            case EventRow():
                assert not self.events or row.id > self.events[-1].id, "event ids grow"
                self.events.append(row)
            case RememberKey(user_id, key, digest, job_ids, at):
                self.keys.append(StoredKey(user_id, key, digest, job_ids, at))
            case PutSetting(key, value):
                self.settings[key] = value
            case PutRecord(register, values):
                key = values["user_id" if register == "submitter" else "id"]
                before = self.records[register].get(key, {})
                assert register != "approval" or before.get("status", "pending") == "pending", "decided twice"
                self.records[register][key] = {**before, **values}
            case DropRecord(register, where):
                del self.records[register][where["id"]]
            case AddUsage(day, user_id, team_id, place, runs, run_ms, gpu_ms):
                self.usage.setdefault((day, user_id, team_id, place), Counter()).update(
                    runs=runs, run_ms=run_ms, gpu_ms=gpu_ms
                )
            case AppendAudit():
                self.audit.append(row)
            case _:
                raise AssertionError(f"unexpected row {row}")

    def snapshot(self) -> Snapshot:
        counts: dict[str, int] = {}
        for job in self.jobs.values():
            counts[job.status] = counts.get(job.status, 0) + 1
        held = {hold.fence for hold in self.holds.values()}
        return Snapshot(
            db_id="test",
            db_epoch=self.db_epoch,
            next_job=max((job.id for job in self.jobs.values()), default=0) + 1,
            next_seq=max((job.seq for job in self.jobs.values()), default=0) + 1,
            next_event=max((event.id for event in self.events), default=0) + 1,
            next_fence=len(self.attempts) + 1,
            jobs=tuple(msgspec.structs.replace(j) for j in self.jobs.values() if j.status in ACTIVE),
            attempts=tuple(
                msgspec.structs.replace(a) for a in self.attempts.values() if a.phase in LIVE or a.fence in held
            ),
            holds=tuple(self.holds.values()),
            settings=dict(self.settings),
            counts=counts,
            keys=tuple(self.keys),
            rules=tuple(_rule(values) for values in self.records["approval_rule"].values()),
            approvals=tuple(a for a in map(_approval, self.records["approval"].values()) if a.status == "pending"),
            next_rule=max((*self.records["approval_rule"], *self._rules_named()), default=0) + 1,
            next_approval=max(self.records["approval"], default=0) + 1,
            submits=tuple((day, user, number) for (day, user), number in self._submits().items()),
            let_in=tuple(self.records["submitter"]),
        )

    def _rules_named(self) -> list[int]:
        return [values["rule_id"] or 0 for values in self.records["approval"].values()]

    def _submits(self) -> Counter[tuple[str, int]]:
        events = (event for event in self.events if event.kind == "job_submitted")
        return Counter((utc_day(event.at), event.user_id or 0) for event in events)


def _rule(values: dict[str, Any]) -> ApprovalRule:
    return ApprovalRule(**{**values, "type": RuleType(values["type"])})


def _approval(values: dict[str, Any]) -> Approval:
    times = {"requested_at": epoch(values["requested_at"]), "decided_at": epoch_or_none(values["decided_at"])}
    return Approval(**{**values, **times, "status": Decision(values["status"])})


class World:
    """One host with `gpus` GPUs. `at_once` as for simulated GPUs; else releases wait for `empty`."""

    def __init__(self, gpus: int = 4, at_once: bool = True, **limits: Any) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore()
        self.limits = Limits(**limits)
        self.at_once = at_once
        self._ids = itertools.count(1)
        self.facts = {i: GpuFact(uuid=f"GPU-{i}", index=i, name="SIM", memory_total=80 << 30) for i in range(gpus)}
        self.revision = 0
        self.started: list[str] = []
        self.live: dict[int, WantRun] = {}
        self.stopping: set[int] = set()
        self.releasing: dict[int, tuple[str, ...]] = {}
        self.to_look_at: list[int] = []
        self.providers = ProviderFacts(revision=1)
        self.yard = self._new_yard()
        self.tell_facts()

    def _new_yard(self) -> Yard:
        yard = Yard(self.store.snapshot(), lambda: f"job{next(self._ids)}", self.limits)
        yard.clouds.learn(self.providers)
        return yard

    def now(self) -> Now:
        return Now(self.clock.now(), self.clock.monotonic())

    def do(self, decide: Callable[[Yard, Now, Outbox], Any]) -> Any:
        """Run one decision, make it durable, perform its effects; invariants hold afterwards."""
        out = Outbox("test")
        answer = decide(self.yard, self.now(), out)
        self.store.apply([*out.lazy, *out.rows])
        new = {row.attempt.fence for row in out.rows if isinstance(row, InsertAttempt)}
        for to, message in out.tells:
            match message:
                case WantRun():
                    assert to == driver_of(message.host)
                    self.live[message.run.fence] = message
                    self.started.append(message.run.job_id)
                    if message.run.fence in new:
                        self._check_start(message)
                case WantStop():
                    self.stopping.add(message.fence)
                case WatchRelease():
                    self.releasing[message.fence] = message.uuids
                case LookAtGpus():
                    self.to_look_at.append(message.fence)
        assert violations(self.yard) == []
        return answer

    def _check_start(self, want: WantRun) -> None:
        """Every limit and every fact allowed this start."""
        yard, limits, job = self.yard, self.yard.limits, self.yard.jobs[want.run.job_id]
        assert not job.held and not (job.spec.not_before or 0) > self.clock.now()
        assert job.spec.window is None or windows.is_open(job.spec.window, self.clock.now())
        place = {Pool.CLOUD: "cloud", Pool.WORKER: "worker"}.get(yard.pool(job), "local")
        assert place not in yard.paused
        if pool_of(job) is Pool.CLOUD:
            assert len(yard.running[Pool.CLOUD]) <= limits.max_concurrent
            return
        assert len(want.run.gpus) == job.spec.num_processes
        if want.host != LOCAL_HOST:
            self.check_start_elsewhere(want, job)
            return
        assert job.spec.target in (Target.AUTO, Target.LOCAL)
        if job.spec.is_cpu:
            assert len(yard.running[Pool.CPU]) <= limits.local_cpu_job_max_concurrent
            return
        assert len(yard.running[Pool.GPU]) <= limits.local_job_max_concurrent
        assert yard.local_gpus_used <= (limits.local_gpu_max_concurrent or 1024)
        assert yard.gpus_of_user[job.user_id] <= (limits.user_max_gpus or 1024)
        assert all(self.facts[gpu.index].usable for gpu in want.run.gpus)
        if job.spec.wanted_devices:
            assert {gpu.index for gpu in want.run.gpus} <= set(job.spec.wanted_devices)

    def check_start_elsewhere(self, want: WantRun, job: Job) -> None:
        raise AssertionError(f"there is no host {want.host}")

    def restart(self) -> None:
        """The Scheduler forgets everything and reads the store again."""
        self.yard = self._new_yard()
        self.live, known = {}, self.live
        self.do(lambda yard, now, out: runs.want_all(yard, out))
        assert set(self.live) == set(known), "exactly the live attempts are wanted again"
        self.tell_facts()
        self.do(runs.release_ended)
        self.do(policy.start_what_may)

    def tell_facts(self) -> None:
        self.revision += 1
        facts = GpuFacts(
            revision=self.revision,
            observed_at=self.clock.monotonic(),
            backend="simulated",
            gpus=tuple(self.facts.values()),
            at_once=self.at_once,
        )
        self.do(lambda yard, now, out: runs.facts_changed(yard, facts, now, out))

    # --- what people do ---

    def submit(self, gpus: int = 1, by: Viewer = OWNER, **more: Any) -> JobAccepted | JobRefused:
        command_fields = {
            name: more.pop(name)
            for name in (
                "no_wait",
                "dry_run",
                "priority_override",
                "requires_approval",
                "for_approval",
                "idempotency_key",
                "digest",
                "team_id",
            )
            if name in more
        }
        spec = JobSpec(argv=("true",), num_processes=gpus, **more)
        command = SubmitJob(spec=spec, by=by, **command_fields)
        answer: JobAccepted | JobRefused = self.do(lambda y, n, o: submit.submit_one(y, command, n, o))
        return answer

    def job(self, gpus: int = 1, **more: Any) -> str:
        """Submit and give the id; the job must be accepted."""
        answer = self.submit(gpus, **more)
        assert isinstance(answer, JobAccepted) and answer.job_id is not None, answer
        return answer.job_id

    def cancel(self, job_id: str, **more: Any) -> Any:
        command = CancelJob(job_id=job_id, **more)
        return self.do(lambda y, n, o: cancel.cancel_one(y, command, n, o))

    def cancel_all(self) -> Any:
        return self.do(lambda y, n, o: cancel.cancel_many(y, CancelJobs(everything=True, all_users=True), n, o))

    def change(self, function: Callable[..., Any], command: Any) -> Any:
        return self.do(lambda y, n, o: function(y, command, n, o))

    def limit(self, **changes: Any) -> None:
        from gpuyard.actors.model.commands import SetLimits

        self.change(change.set_limits, SetLimits(changes=changes))

    def tell_providers(self, *available: str, **more: Any) -> None:
        """What the cloud dispatcher knows now: these take jobs."""
        self.providers = ProviderFacts(revision=1, available=available, **more)

        def learn(yard: Yard, now: Now, out: Outbox) -> None:
            yard.clouds.learn(self.providers)
            policy.start_what_may(yard, now, out)

        self.do(learn)

    # --- what hosts do ---

    def fence(self, job_id: str) -> int:
        return self.yard.attempt_of[job_id].fence

    def report_start(self, job_id: str) -> None:
        event = AttemptStarted(fence=self.fence(job_id), pid=4711, at=self.clock.now())
        self.do(lambda y, n, o: runs.started(y, event, n, o))

    def end(self, job_id: str, exit_class: str = "completed", exit_code: int | None = 0) -> None:
        """The run of `job_id` ends; with `at_once` its GPUs are free in the same commit."""
        self.report_end(job_id, exit_class, exit_code)
        self.look()

    def report_end(self, job_id: str, exit_class: str, exit_code: int | None) -> None:
        """Its keeper says so; where the GPUs must be looked at first, nobody has done so yet."""
        fence = self.fence(job_id)
        self.live.pop(fence, None)
        event = AttemptExited(fence=fence, exit_class=exit_class, exit_code=exit_code, message=exit_class)
        self.do(lambda y, n, o: runs.exited(y, event, n, o))

    def look(self) -> None:
        """The allocator reads the GPUs that it was asked to look at."""
        asked, self.to_look_at = self.to_look_at, []
        for fence in asked:
            self.tell_facts()
            event = GpusLooked(fence=fence)
            self.do(lambda y, n, o, event=event: runs.looked(y, event, n, o))

    def empty(self, fence: int) -> None:
        """The GPUs of an ended run are empty now."""
        uuids = self.releasing.pop(fence)
        event = GpuEmptied(fence=fence, uuids=uuids)
        self.do(lambda y, n, o: runs.emptied(y, event, n, o))

    def foreign(self, index: int, *pids: int) -> None:
        """Processes from outside the queue use a GPU now (none: they are gone)."""
        processes = tuple(GpuProcess(pid, "python", 5 << 30) for pid in pids)
        self.facts[index] = msgspec.structs.replace(self.facts[index], foreign=processes)
        self.tell_facts()

    # --- what one sees ---

    def status(self, job_id: str) -> str:
        return str(self.store.jobs[job_id].status)

    def gpus_of(self, job_id: str) -> list[int]:
        return [gpu.index for gpu in self.yard.attempt_of[job_id].gpus]

    def running(self) -> list[str]:
        return [job_id for job_id in self.store.jobs if self.status(job_id) == "running"]

    def pending(self) -> list[str]:
        return [job_id for job_id in self.store.jobs if self.status(job_id) == "pending"]
