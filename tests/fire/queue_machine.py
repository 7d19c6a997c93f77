"""Days of a queue with several people, told to the HTTP API and to the model: what may happen, and what must agree."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import hypothesis.strategies as st
import msgspec
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import Ready
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.api.identity import Caller, Identity
from tests.fire.puppets import PROVIDER, EndRun, Forget
from tests.fire.reference_model import CAST, TARGETS, Job, Person, Queue, Rule, people
from tests.support import eventually
from tests.unit.api_routes.conftest import Yard

LIMITS: dict[str, Any] = {
    "local_job_max_concurrent": 2,
    "local_cpu_job_max_concurrent": 1,
    "local_gpu_max_concurrent": None,
    "user_max_gpus": None,
    "max_concurrent": 4,
    "user_max_concurrent": 2,
    "team_max_concurrent": 2,
    "enable_fair_share": False,
}
CONFIGS = ("prod-a", "test-b")

NEW_LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "local_job_max_concurrent": st.integers(1, 4),
        "local_cpu_job_max_concurrent": st.integers(1, 3),
        "local_gpu_max_concurrent": st.sampled_from([None, None, 1, 2, 3]),
        "user_max_gpus": st.sampled_from([None, None, 1, 2, 3]),
        "max_concurrent": st.integers(1, 5),
        "user_max_concurrent": st.integers(1, 3),
        "team_max_concurrent": st.integers(1, 3),
        "enable_fair_share": st.booleans(),
    },
)
# Days that have a limit of teams which somebody reaches.
FAIR = st.fixed_dictionaries(
    {
        "enable_fair_share": st.just(True),
        "team_max_concurrent": st.integers(1, 3),
        "user_max_concurrent": st.integers(2, 4),
        "max_concurrent": st.integers(4, 8),
    }
)
DAYS = st.one_of(NEW_LIMITS, FAIR)
# Those that match much come first.
EVERYTHING = st.sampled_from(
    [
        {"type": "config_pattern", "condition": "*"},
        {"type": "provider", "condition": "*"},
        {"type": "daily_jobs_exceed", "threshold": 0},
        {"type": "first_job"},
    ]
)
RULES = EVERYTHING | st.one_of(
    st.builds(dict, type=st.just("cost_exceeds"), threshold=st.sampled_from([50, 100])),
    st.builds(dict, type=st.just("daily_jobs_exceed"), threshold=st.sampled_from([2, 4])),
    st.builds(dict, type=st.just("first_job")),
    st.builds(dict, type=st.just("config_pattern"), condition=st.sampled_from(["prod-*", "*-b", "*"])),
    st.builds(dict, type=st.just("provider"), condition=st.sampled_from(["replicate", "local", "*"])),
    st.builds(
        dict,
        type=st.just("hardware_type"),
        condition=st.sampled_from(["a100*", "h100*"]),
        threshold=st.sampled_from([None, 1]),
    ),
)
somebody = st.sampled_from([*CAST, "ann", "bob", "ann"])
# Mostly somebody who may.
bosses = st.sampled_from(["owner", "owner", "owner", "lead", "lou", "ann"])
picks = st.integers(0, 1_000)
pauses = st.sets(st.sampled_from(sorted(TARGETS)), max_size=2)
approvers = st.sampled_from(["lead", "lead", "admin"])
precedences = st.sampled_from([None, None, -5, 5, 15])


class ByName:
    """Believes the credential `NAME.DAY`: the people of each day are new ones."""

    async def identify(self, caller: Caller) -> Identity:
        name, _, day = (caller.credential or "owner.0").partition(".")
        person = people(int(day or 0))[name]
        viewer = Viewer(person.user_id, person.name, Level(person.level), person.team, caller.address)
        return Identity(viewer, name, unlimited=True)


class QueueMachine(RuleBasedStateMachine):
    """A day of a queue; the yard is shared by all days, and empty at the start of each."""

    yard: ClassVar[Yard]
    days: ClassVar[Iterator[int]] = itertools.count(1)
    seen: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.day = next(self.days)
        self.people = people(self.day)
        self.owner = self.people["owner"]
        self.queue = Queue(**LIMITS)
        self.seen["days"] += 1
        for old in self.get("/api/approvals/rules")["rules"]:
            assert self.yard.ask("DELETE", f"/api/approvals/rules/{old['id']}").status_code == 200
        self.yard.post("/api/queue/concurrency", LIMITS)
        self.yard.post("/api/queue/resume")

    def ask(self, by: Person, method: str, path: str, body: Any = None) -> Any:
        return self.yard.ask(method, path, body, by=f"{by.name}.{self.day}")

    def get(self, path: str) -> Any:
        return self.yard.get(path, by=f"owner.{self.day}")

    def _tell(self, by: Person, path: str, body: Any, status: int, method: str = "POST") -> Any:
        answer = self.ask(by, method, path, body)
        assert answer.status_code == status, (path, body, answer.text)
        return answer.json()

    # --- what people do ---

    @initialize(changes=DAYS, rules=st.lists(st.tuples(RULES, approvers, precedences), max_size=3), paused=pauses)
    def begin(self, changes: dict[str, Any], rules: list[Any], paused: set[str]) -> None:
        self._limit("owner", changes)
        for values, approver, precedence in rules:
            self.add_rule("owner", values, approver, (), precedence)
        if paused:
            self.pause("owner", paused, True)

    @rule(
        name=somebody, needs=st.lists(st.sampled_from([0, 1, 1, 1, 2, 3]), min_size=1, max_size=5), cloud=st.booleans()
    )
    def submit_some(self, name: str, needs: list[int], cloud: bool) -> None:
        for need in needs:
            self._submit(Job(self.people[name], need, cloud=cloud), "")

    @rule(
        name=somebody,
        need=st.integers(0, 5),
        devices=st.sampled_from([(), (), (), (0,), (3,), (1, 2), (0, 1, 3)]),
        override=st.sampled_from([None, None, None, None, 5, 39, 45]),
        asked=st.sampled_from([False, False, False, True]),
        cloud=st.booleans(),
        cost=st.sampled_from([0.0, 0.0, 60.0, 200.0]),
        config=st.sampled_from([None, None, *CONFIGS]),
        window=st.sampled_from([None, None, None, "open", "closed"]),
        team=st.sampled_from([None, None, None, "red", "blue"]),
        how=st.sampled_from(["", "", "", "", "no_wait", "dry_run", "no_wait for_approval"]),
    )
    def submit(self, name: str, how: str, **fields: Any) -> None:
        self._submit(Job(self.people[name], **fields), how)

    def _submit(self, job: Job, how: str) -> None:
        flags = how.split()
        if "no_wait" in flags and self.queue.processing_held:
            flags = []
        answer = self.ask(job.owner, "POST", "/api/queue/submit", body_of(job) | dict.fromkeys(flags, True))
        status, taken = self.queue.submit(job.owner, job, **dict.fromkeys(flags, True))
        self._submitted(answer, status, taken)

    def _submitted(self, answer: Any, status: int, job: Job | None) -> None:
        assert answer.status_code == status, answer.text
        if status != 200:
            return
        said = answer.json()
        assert (said["job_id"] is not None) == (job is not None), said
        if job is None:
            return
        self.queue.named(job, said["job_id"])
        self.seen.update(["jobs", *["blocked"] * (job.status == "blocked"), *["by rule"] * (job.rule is not None)])
        assert said["status"] == {"pending": "queued"}.get(job.status, job.status), said
        assert (said["allocated_gpus"] or []) == job.gpus
        assert said["queue_position"] == self._positions().get(said["job_id"])
        assert (said["approval_id"] is not None) == (job.status == "blocked")

    def _pick(self, pick: int, *statuses: str) -> str:
        chosen = self.queue.of(*statuses) if statuses else list(self.queue.jobs)
        return chosen[pick % len(chosen)]

    @precondition(lambda self: self.queue.jobs)
    @rule(name=bosses, pick=picks, waiting_only=st.booleans())
    def cancel_any(self, name: str, pick: int, waiting_only: bool) -> None:
        by, job_id = self.people[name], self._pick(pick)
        ran = self.queue.jobs[job_id].status == "running"
        status = self.queue.cancel(by, job_id, waiting_only=waiting_only)
        self._tell(by, f"/api/{'queue' if waiting_only else 'jobs'}/{job_id}/cancel", None, status)
        if status == 200 and ran:
            self.yard.wait(job_id, "cancelled")

    @precondition(lambda self: self.queue.of("running"))
    @rule(pick=picks)
    def cancel_running(self, pick: int) -> None:
        job_id = self._pick(pick, "running")
        assert self.queue.cancel(self.owner, job_id) == 200
        said = self._tell(self.owner, f"/api/jobs/{job_id}/cancel", None, 200)
        assert said["processing_held"] == self.queue.processing_held
        self.yard.wait(job_id, "cancelled")

    @precondition(lambda self: any(not self.queue.jobs[one].cloud for one in self.queue.of("running")))
    @rule(
        pick=picks, then=st.sampled_from(["resume", "submit", "limits", "release", "approve", "restart", "prioritise"])
    )
    def cancel_and_then(self, pick: int, then: str) -> None:
        """While a cancel holds the queue, the one thing that asks for work to start."""
        local = [job_id for job_id in self.queue.of("running") if not self.queue.jobs[job_id].cloud]
        job_id = local[pick % len(local)]
        self.queue.cancel(self.owner, job_id)
        self._tell(self.owner, f"/api/jobs/{job_id}/cancel", None, 200)
        self.yard.wait(job_id, "cancelled")
        self.both_show_the_same_queue()
        waiting = self.queue.of("blocked" if then == "approve" else "pending")
        match then:
            case "resume":
                self.pause("owner", {"worker"}, False)
            case "submit":
                self._submit(Job(self.owner, 0), "")
            case "limits":
                self._limit("owner", {})
            case "restart":
                self.restart(True)
            case "release" if waiting:
                self.hold_or_release("owner", pick, False)
            case "approve" if waiting:
                self.decide("owner", pick, True, True, True)
            case "prioritise" if waiting:
                self.prioritise("owner", pick, 25)

    @precondition(lambda self: self.queue.jobs)
    @rule(name=bosses, first=picks, number=st.integers(1, 4), how=st.sampled_from(["ids", "mine", "all", "pending"]))
    def cancel_many(self, name: str, first: int, number: int, how: str) -> None:
        by = self.people[name]
        body: dict[str, Any] = {"all": True}
        mine = [job_id for job_id in self.queue.of("blocked", "pending", "running") if self._is_of(by, job_id)]
        chosen = mine
        if how == "ids":
            chosen = list(dict.fromkeys(self._pick(first + place) for place in range(number)))
            body = {"job_ids": chosen}
        elif how == "pending":
            chosen = [job_id for job_id in self.queue.of("pending") if by.is_admin or self._is_of(by, job_id)]
            body = {"status": ["queued"]}
        elif how == "all":
            body |= {"all_users": True}
            chosen = self.queue.of("blocked", "pending", "running") if by.is_admin else []
        status = 403 if how == "all" and not by.is_admin else 200
        ran = set(self.queue.of("running"))
        waiting = set(self.queue.of("pending"))
        cancelled = self.queue.cancel_many(by, chosen)
        said = self._tell(by, "/api/jobs/cancel", body, status)
        if status == 200:
            assert set(said["cancelled"]) == cancelled
            assert {one["job_id"] for one in said["failed"]} == set(chosen) - cancelled
            assert said["still_pending"] == len(waiting - cancelled), "no pending job starts meanwhile"
        for job_id in cancelled & ran:
            self.yard.wait(job_id, "cancelled")

    def _is_of(self, by: Person, job_id: str) -> bool:
        return self.queue.jobs[job_id].owner is by

    @precondition(lambda self: self.queue.jobs)
    @rule(name=bosses, pick=picks, held=st.booleans())
    def hold_or_release(self, name: str, pick: int, held: bool) -> None:
        by, job_id = self.people[name], self._pick(pick)
        path = f"/api/queue/{job_id}/{'hold' if held else 'release'}"
        self._tell(by, path, None, self.queue.hold(by, job_id, held))

    @precondition(lambda self: self.queue.of("pending", "blocked"))
    @rule(name=bosses, pick=picks, value=st.sampled_from([None, 0, 10, 25, 39, 40, 50]))
    def prioritise(self, name: str, pick: int, value: int | None) -> None:
        by, job_id = self.people[name], self._pick(pick)
        status = self.queue.prioritise(by, job_id, value)
        said = self._tell(by, f"/api/queue/{job_id}/priority", {"priority": value}, status)
        if status == 200:
            assert said["new_effective_priority"] == self.queue.jobs[job_id].effective

    @rule(name=bosses, changes=NEW_LIMITS)
    def limits(self, name: str, changes: dict[str, Any]) -> None:
        self._limit(name, changes)

    def _limit(self, name: str, changes: dict[str, Any]) -> None:
        by = self.people[name]
        self._tell(by, "/api/queue/concurrency", changes, self.queue.set_limits(by, changes))

    @rule(name=bosses)
    def process(self, name: str) -> None:
        by, before = self.people[name], set(self.queue.of("running"))
        status = self.queue.process(by)
        said = self._tell(by, "/api/queue/process", None, status)
        if status == 200:
            assert set(said["job_ids"]) == set(self.queue.of("running")) - before

    @rule(name=bosses, where=pauses, paused=st.booleans())
    def pause(self, name: str, where: set[str], paused: bool) -> None:
        by, before = self.people[name], set(self.queue.of("running"))
        status = self.queue.pause(by, where or TARGETS, paused)
        body = {"targets": sorted(where)} if where else None
        said = self._tell(by, f"/api/queue/{'pause' if paused else 'resume'}", body, status)
        if status == 200:
            assert said["paused"] == sorted(self.queue.paused)
            assert set(said["job_ids"]) == set(self.queue.of("running")) - before

    @precondition(lambda self: self.queue.of("completed", "failed", "cancelled"))
    @rule(name=bosses, pick=picks)
    def retry(self, name: str, pick: int) -> None:
        by, old = self.people[name], self._pick(pick, "completed", "failed", "cancelled")
        answer = self.ask(by, "POST", f"/api/jobs/{old}/retry")
        self._submitted(answer, *self.queue.retry(by, old))

    # --- approvals ---

    @precondition(lambda self: self.queue.of("blocked"))
    @rule(
        name=bosses,
        pick=picks,
        blocked=st.sampled_from([True, True, True, False]),
        approved=st.booleans(),
        by_number=st.booleans(),
    )
    def decide(self, name: str, pick: int, blocked: bool, approved: bool, by_number: bool) -> None:
        by, job_id = self.people[name], self._pick(pick, *(["blocked"] if blocked else []))
        verb, body = ("approve", None) if approved else ("reject", {"reason": "no"})
        number = self.yard.job(job_id)["approval_id"] if by_number else None
        status = self.queue.decide(by, job_id, approved)
        self.seen["decided"] += status == 200
        if number is not None:
            self._tell(by, f"/api/approvals/{number}/{verb}", body, status)
        else:
            query = "" if approved else "?reason=no"
            self._tell(by, f"/api/queue/{job_id}/{verb}{query}", None, status)

    @precondition(lambda self: self.queue.of("blocked"))
    @rule(pick=picks, approved=st.booleans())
    def decide_on_ones_own(self, pick: int, approved: bool) -> None:
        job = self.queue.jobs[self._pick(pick, "blocked")]
        self.decide(job.owner.name, pick, True, approved, False)

    @rule(
        name=bosses,
        values=RULES,
        approver=approvers,
        exempt=st.sampled_from([(), (), ("admin",), ("lead", "viewer"), ("researcher",)]),
        precedence=precedences,
    )
    def add_rule(
        self, name: str, values: dict[str, Any], approver: str, exempt: tuple[str, ...], precedence: int | None
    ) -> None:
        by = self.people[name]
        last = max((one.precedence for one in self.queue.rules), default=0)
        body = {**values, "name": f"rule {next(self.days)}", "required_approver_level": approver}
        body |= {"exempt_levels": list(exempt)} | ({} if precedence is None else {"precedence": precedence})
        said = self._tell(by, "/api/approvals/rules", body, 200 if by.is_admin else 403)
        if by.is_admin:
            where = last + 10 if precedence is None else precedence
            assert said["precedence"] == where
            self.queue.rules.append(Rule(said["id"], approver=approver, exempt=exempt, precedence=where, **values))

    @precondition(lambda self: self.queue.rules)
    @rule(name=bosses, pick=picks, what=st.sampled_from(["remove", "disable", "enable", "first"]))
    def change_rule(self, name: str, pick: int, what: str) -> None:
        by, found = self.people[name], self.queue.rules[pick % len(self.queue.rules)]
        path, status = f"/api/approvals/rules/{found.number}", 200 if by.is_admin else 403
        changes: dict[str, Any] = {"precedence": -50} if what == "first" else {"enabled": what == "enable"}
        if what == "remove":
            self._tell(by, path, None, status, "DELETE")
            if by.is_admin:
                self.queue.rules.remove(found)
            return
        self._tell(by, path, changes, status, "PATCH")
        if by.is_admin:
            for field, value in changes.items():
                setattr(found, field, value)

    # --- what hosts do ---

    @precondition(lambda self: self.queue.of("running"))
    @rule(pick=picks, code=st.sampled_from([0, 0, 3]))
    def end(self, pick: int, code: int) -> None:
        job_id = self._pick(pick, "running")
        host = names.CLOUD if self.queue.jobs[job_id].cloud else names.KEEPER
        ref = self.yard.directory.ref(host)
        # The start stands in the store's queue when its job is seen running.
        eventually(lambda: _ended(ref, EndRun(job_id=job_id, exit_code=code)), timeout=30)
        self.yard.wait(job_id)
        self.queue.end(job_id, code)

    @rule(again=st.sampled_from([True, False, False]))
    def restart(self, again: bool) -> None:
        """The Scheduler forgets everything and reads it again."""
        if again:
            self.yard.directory.ref(names.STORE).ask(Forget()).result(30)
            scheduler = self.yard.directory.ref(names.SCHEDULER)
            eventually(lambda: scheduler.ask(Ready()).result(30), timeout=30)
            self.queue.restart()
            self.seen["restarts"] += 1

    # --- what one sees ---

    def _positions(self) -> dict[str, int]:
        return {job_id: place for place, job_id in enumerate(self.queue.order(), start=1)}

    @invariant()
    def both_show_the_same_queue(self) -> None:
        page = self.get("/api/queue?limit=200&status=running,pending,blocked")
        seen = {
            entry["job_id"]: (
                entry["status"],
                entry["position"],
                (entry["allocated_gpus"] or []) if entry["status"] == "running" else [],
                entry["held"] and entry["status"] != "running",
                entry["effective_priority"],
                entry["team_id"],
                _codes(entry),
            )
            for entry in page["entries"]
        }
        self.seen.update({f"reason {code}" for entry in page["entries"] for code in _codes(entry)}, compared=1)
        places = self._positions()
        assert seen == {
            job_id: (
                job.status,
                places.get(job_id),
                job.gpus,
                job.held and job.status != "running",
                job.effective,
                job.team,
                self.queue.reasons(job_id) if job.status != "running" else set(),
            )
            for job_id, job in self.queue.jobs.items()
            if job_id in self.queue.of("running", "pending", "blocked")
        }
        assert [entry["job_id"] for entry in page["entries"] if entry["position"]] == list(places)

    @invariant()
    def both_count_the_same(self) -> None:
        stats = self.get("/api/queue/stats")
        jobs = self.queue.jobs
        pending, running = self.queue.of("pending"), self.queue.of("running")
        assert stats["processing_held"] == self.queue.processing_held
        assert stats["paused"] == sorted(self.queue.paused)
        assert (stats["total_pending"], stats["total_running"]) == (len(pending), len(running))
        assert stats["queue_depth"] == sum(jobs[job_id].cloud for job_id in pending)
        assert stats["running"] == sum(jobs[job_id].cloud for job_id in running)
        assert stats["local"]["pending_jobs"] == sum(not jobs[job_id].cloud for job_id in pending)
        assert stats["local"]["running_jobs"] == sum(not jobs[job_id].cloud for job_id in running)
        assert stats["local"]["available_gpus"] == sorted(self.queue.free())

    @invariant()
    def both_wait_for_the_same_approvals(self) -> None:
        page = self.get("/api/approvals?status=pending&limit=200")
        seen = {one["job_id"]: (one["rule_id"], one["required_approver_level"]) for one in page["approvals"]}
        blocked = {job_id: self.queue.jobs[job_id].rule for job_id in self.queue.of("blocked")}
        assert seen == {
            job_id: (found.number, found.approver) if found is not None else (None, "admin")
            for job_id, found in blocked.items()
        }

    def teardown(self) -> None:
        for job_id in self.queue.of("completed", "failed", "cancelled"):
            assert self.yard.job(job_id)["status"] == self.queue.jobs[job_id].status
        ours = {person.user_id: person for person in self.people.values()}
        lines = self.get("/api/usage?by=user")["lines"]
        runs = {ours[line["user_id"]]: line["runs"] for line in lines if line["user_id"] in ours and line["runs"]}
        assert runs == +self.queue.runs
        self._tell(self.owner, "/api/jobs/cancel", {"all": True, "all_users": True}, 200)
        eventually(lambda: self.get("/api/queue/stats")["total_running"] == 0, timeout=30)


def _codes(entry: dict[str, Any]) -> set[str]:
    return {reason["code"] for reason in entry["reasons"]}


def _ended(ref: Any, message: EndRun) -> bool:
    answer: bool = ref.ask(message).result(30)
    return answer


def body_of(job: Job) -> dict[str, Any]:
    """The submit that the model's job stands for."""
    body: dict[str, Any] = {"num_processes": job.need, "requires_approval": job.asked, "estimated_cost": job.cost}
    body |= {"config_name": job.config} if job.config else {"command": ["true"]}
    body |= {"device_ids": list(job.devices)} if job.devices else {}
    body |= {"priority_override": job.override} if job.override is not None else {}
    body |= {"target": "cloud", "provider": PROVIDER} if job.cloud else {}
    body |= {"team_id": job.team} if job.team is not None else {}
    body |= {"window": hours(job.window)} if job.window is not None else {}
    return body


def hours(window: str) -> str:
    """Hours that are open now, or closed, and stay so while the tests run."""
    now = datetime.now(UTC)
    begin, end = (-6, 6) if window == "open" else (4, 10)
    return "-".join((now + timedelta(hours=each)).strftime("%H:%M") for each in (begin, end)) + " UTC"


def configs(folder: Any) -> None:
    """What a viewer may submit."""
    for name in CONFIGS:
        (folder / f"{name}.json").write_bytes(msgspec.json.encode({"command": ["true"]}))
