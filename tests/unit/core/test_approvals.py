"""Approvals: what the rules match, who decides, when it expires, and that nothing else starts a blocked job."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from gpuyard.actors.model import approvals, change, explain, reviews
from gpuyard.actors.model.approvals import ApprovalRule, Candidate, RuleType
from gpuyard.actors.model.commands import (
    AddRule,
    ApproveJob,
    ChangeRule,
    HoldJob,
    PastSubmit,
    PauseQueue,
    ProcessQueue,
    RejectJob,
    ReleaseJob,
    RemoveRule,
    ResumeQueue,
    SetPriority,
    TryRule,
)
from gpuyard.actors.model.errors import GpuyardError, InvalidInput, NotAllowed, NotFound, WrongState
from gpuyard.actors.model.job import JobSpec, Target
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.pauses import pause, resume
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.actors.model.reasons import Reason
from gpuyard.actors.model.views import JobAccepted, JobRefused
from tests.unit.core.fleet_world import FleetWorld
from tests.unit.core.world import World

ANN = Viewer(user_id=2, username="ann", level=Level.RESEARCHER)
LEE = Viewer(user_id=3, username="lee", level=Level.LEAD)
LOU = Viewer(user_id=4, username="lou", level=Level.LEAD)
DEAR = {"name": "dear", "type": "cost_exceeds", "threshold": 50.0, "exempt_levels": ["admin"]}


def add(world: World, **values: Any) -> ApprovalRule:
    rule: ApprovalRule = world.change(reviews.add_rule, AddRule(values={"name": values["type"], **values}))
    return rule


def why(world: World, job_id: str) -> Reason:
    return explain.why(world.yard, world.yard.jobs[job_id], world.now())[0]


def blocked(world: World, gpus: int = 1, **more: Any) -> bool:
    answer = world.submit(gpus, **more)
    assert isinstance(answer, JobAccepted)
    return answer.status == "blocked"


class TestRules:
    def test_a_cost_above_the_threshold_is_blocked_one_at_it_is_not(self) -> None:
        world = World()
        add(world, **DEAR)
        assert not blocked(world, by=ANN, estimated_cost=50.0)
        assert blocked(world, by=ANN, estimated_cost=50.01)

    def test_exempt_levels_pass(self) -> None:
        world = World()
        add(world, **DEAR)
        assert not blocked(world, estimated_cost=1e6)

    @pytest.mark.parametrize(
        ("pattern", "found"),
        [("a100*", True), ("*A100*", True), ("nvidia a100*", True), ("H100*", False), ("100*", False), ("*", True)],
    )
    def test_hardware_is_found_by_its_name_or_by_one_that_begins_at_any_of_its_words(
        self, pattern: str, found: bool
    ) -> None:
        rule = ApprovalRule(id=1, name="big", type=RuleType.HARDWARE_TYPE, condition=pattern)
        candidate = Candidate(level=Level.RESEARCHER, hardware=("NVIDIA A100-SXM4-40GB",))
        assert (approvals.matched(rule, candidate) is not None) == found

    def test_hardware_is_what_the_job_may_get_here_or_asks_a_worker_for(self) -> None:
        world = World(gpus=2, local_job_max_concurrent=9)
        add(world, type="hardware_type", condition="sim")
        assert blocked(world), "a local GPU"
        assert not blocked(world, 0), "a CPU job has none"
        assert not blocked(world, target=Target.WORKER)
        assert blocked(world, target=Target.WORKER, worker_labels={"gpu_type": "SIM"})
        assert blocked(world, metadata={"hardware": "sim"}, target=Target.WORKER)

    def test_hardware_of_a_worker_counts_where_the_job_may_go_there(self) -> None:
        world = FleetWorld(gpus=0)
        world.worker("w1", gpus=2, labels={"site": "north"})
        add(world, type="hardware_type", condition="sim*")
        assert blocked(world, target=Target.WORKER)
        assert not blocked(world, target=Target.WORKER, worker_labels={"site": "south"})
        assert blocked(world), "auto may go to the worker"

    def test_pausing_workers_keeps_jobs_from_them_and_local_ones_go_on(self) -> None:
        world = FleetWorld(gpus=1, local_job_max_concurrent=9)
        world.worker("w1", gpus=2)
        world.change(pause, PauseQueue(targets=("worker",)))
        local, remote, either = world.job(target=Target.LOCAL), world.job(target=Target.WORKER), world.job()
        assert world.running() == [local]
        assert why(world, remote).code == "QueuePaused"
        assert "QueuePaused" in [
            reason.code for reason in explain.why(world.yard, world.yard.jobs[either], world.now())
        ]
        predicted = world.submit(dry_run=True)
        assert isinstance(predicted, JobAccepted) and predicted.allocated_worker_id is None
        world.change(resume, ResumeQueue(targets=("worker",)))
        assert world.host(remote) == world.host(either) == "w1"

    def test_what_people_write_is_shown_in_short_and_harmless(self) -> None:
        world = World()
        add(world, type="hardware_type", condition="*")
        job = world.job(by=ANN, target=Target.WORKER, metadata={"hardware": "x\x1b[2J\n" * 900})
        assert why(world, job).text.isprintable() and len(why(world, job).text) < 400

    def test_hardware_with_a_threshold_means_more_gpus_than_that(self) -> None:
        world = World(gpus=4, local_job_max_concurrent=9)
        add(world, type="hardware_type", condition="*", threshold=2)
        assert not blocked(world, 2)
        assert blocked(world, 3)

    def test_the_jobs_of_a_utc_day_are_counted_by_user_whatever_became_of_them(self) -> None:
        world = World()
        add(world, type="daily_jobs_exceed", threshold=2)
        world.cancel(world.job(by=ANN), by=ANN)
        assert not blocked(world, by=ANN)
        assert blocked(world, by=ANN)
        assert not blocked(world, by=LEE)
        assert blocked(world, by=ANN, dry_run=True), "a prediction counts nothing but is blocked too"
        world.restart()
        assert blocked(world, by=ANN)
        world.clock.advance(86_400 - world.clock.now() % 86_400)
        assert not blocked(world, by=ANN), "midnight in UTC"
        world.restart()
        assert not blocked(world, by=ANN)
        assert blocked(world, by=ANN)

    def test_newcomers_are_blocked_until_one_of_their_jobs_was_let_in(self) -> None:
        world = World()
        add(world, type="first_job", exempt_levels=["admin"])
        first = world.job(by=ANN)
        assert world.status(first) == "blocked"
        world.cancel(first, by=ANN)
        second = world.job(by=ANN)
        assert world.status(second) == "blocked", "cancelling the first one is no way round it"
        world.restart()
        world.change(reviews.approve, ApproveJob(job_id=second))
        assert not blocked(world, by=ANN)
        world.restart()
        assert not blocked(world, by=ANN)
        assert blocked(world, by=LEE)

    def test_a_config_is_found_by_its_name_and_a_command_has_none(self) -> None:
        world = World()
        add(world, type="config_pattern", condition="prod-*")
        assert blocked(world, config_name="prod-7")
        assert not blocked(world, config_name="test-prod-7")
        assert not blocked(world)
        add(world, type="config_pattern", condition="*", name="all")
        assert blocked(world)

    @pytest.mark.parametrize(
        ("pattern", "target", "found"),
        [("worker", Target.WORKER, True), ("local", Target.AUTO, True), ("repl*", Target.LOCAL, False)],
    )
    def test_the_provider_of_a_job_is_a_clouds_name_local_or_worker(
        self, pattern: str, target: Target, found: bool
    ) -> None:
        world = World()
        add(world, type="provider", condition=pattern)
        assert blocked(world, target=target) == found

    def test_the_first_in_order_that_matches_decides_and_a_disabled_one_is_passed_over(self) -> None:
        world = World()
        late = add(world, type="config_pattern", condition="*", name="late", precedence=20)
        early = add(world, type="config_pattern", condition="*", name="early", required_approver_level="lead")
        assert early.precedence == 30
        world.change(reviews.change_rule, ChangeRule(rule_id=early.id, changes={"precedence": 10}))
        job = world.job(by=ANN)
        assert why(world, job).detail["rule"] == "early"
        world.change(reviews.change_rule, ChangeRule(rule_id=early.id, changes={"enabled": False}))
        assert why(world, world.job(by=ANN)).detail["rule_id"] == late.id
        world.change(reviews.remove_rule, RemoveRule(rule_id=late.id))
        assert not blocked(world, by=ANN)
        assert why(world, job).detail["required_approver_level"] == "lead", "what was asked for stays"

    def test_rules_survive_a_restart_and_their_numbers_are_never_given_again(self) -> None:
        world = World()
        rule = add(world, type="config_pattern", condition="*")
        world.job(by=ANN)
        world.restart()
        assert world.yard.book.rules == {rule.id: rule}
        world.change(reviews.remove_rule, RemoveRule(rule_id=rule.id))
        world.restart()
        assert add(world, type="first_job").id > rule.id
        assert [line.action for line in world.store.audit] == [
            "approval_rule_added",
            "approval_rule_removed",
            "approval_rule_added",
        ]

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"type": "cost_exceeds"}, "threshold"),
            ({"type": "cost_exceeds", "threshold": -1}, "threshold"),
            ({"type": "cost_exceeds", "threshold": float("nan")}, "threshold"),
            ({"type": "cost_exceeds", "threshold": 1, "condition": "x"}, "condition"),
            ({"type": "first_job", "threshold": 1}, "threshold"),
            ({"type": "provider"}, "condition"),
            ({"type": "provider", "condition": "x" * 200}, "condition"),
            ({"type": "provider", "condition": "a\nb"}, "condition"),
            ({"type": "unknown"}, "type"),
            ({"type": "first_job", "name": " "}, "name"),
            ({"type": "first_job", "name": "taken"}, "name"),
            ({"type": "first_job", "exempt_levels": ["king"]}, "exempt_levels"),
            ({"type": "first_job", "exempt_levels": "admin"}, "exempt_levels"),
            ({"type": "first_job", "required_approver_level": "researcher"}, "required_approver_level"),
            ({"type": "first_job", "enabled": 1}, "enabled"),
            ({"type": "first_job", "id": 7}, "id"),
            ({"type": "first_job", "precedence": 1e9}, "precedence"),
        ],
    )
    def test_a_wrong_rule_is_refused_naming_the_field(self, values: dict[str, Any], field: str) -> None:
        world = World()
        add(world, type="first_job", name="taken")
        with pytest.raises(InvalidInput) as refused:
            world.change(reviews.add_rule, AddRule(values={"name": "x", **values}))
        assert refused.value.data["field"] == field
        assert len(world.yard.book.rules) == 1

    def test_another_type_forgets_what_it_has_no_use_for(self) -> None:
        world = World()
        rule = add(world, **DEAR)
        changed = world.change(reviews.change_rule, ChangeRule(rule_id=rule.id, changes={"type": "first_job"}))
        assert (changed.type, changed.threshold, changed.name) == (RuleType.FIRST_JOB, None, "dear")

    def test_only_admins_change_rules_and_there_is_no_rule_of_a_wrong_number(self) -> None:
        world = World()
        rule = add(world, **DEAR)
        for function, command in (
            (reviews.add_rule, AddRule(values={"name": "x", "type": "first_job"}, by=LEE)),
            (reviews.change_rule, ChangeRule(rule_id=rule.id, changes={}, by=LEE)),
            (reviews.remove_rule, RemoveRule(rule_id=rule.id, by=LEE)),
        ):
            with pytest.raises(NotAllowed):
                world.change(function, command)
        with pytest.raises(NotFound):
            world.change(reviews.remove_rule, RemoveRule(rule_id=99))

    def test_a_rule_can_be_tried_on_submits_of_the_past(self) -> None:
        world = World()
        rule = add(world, type="hardware_type", condition="SIM", enabled=False, exempt_levels=["lead"])
        past = [
            PastSubmit(job_id="a", candidate=Candidate(level=Level.RESEARCHER), spec=JobSpec()),
            PastSubmit(job_id="b", candidate=Candidate(level=Level.LEAD), spec=JobSpec()),
            PastSubmit(job_id="c", candidate=Candidate(level=Level.RESEARCHER), spec=JobSpec(target=Target.WORKER)),
        ]
        found = reviews.try_rule(world.yard, TryRule(rule_id=rule.id, submits=tuple(past)), world.now())
        assert [(match.job_id, "SIM" in match.reason) for match in found] == [("a", True)]


class TestDecisions:
    def test_an_approval_is_written_down_with_who_when_and_why(self) -> None:
        world = World()
        rule = add(world, **DEAR, required_approver_level="lead")
        job = world.job(by=ANN, estimated_cost=120.0)
        assert world.yard.jobs[job].approval_id == 1
        assert "$120.00 is above $50.00" in why(world, job).text
        world.clock.advance(60)
        world.change(reviews.approve, ApproveJob(job_id=job, by=LEE, reason="deadline"))
        assert world.status(job) == "running"
        record = world.store.records["approval"][1]
        assert (record["status"], record["decided_by"], record["decision_reason"]) == ("approved", "lee", "deadline")
        assert (record["rule_id"], record["job_id"], record["user_id"]) == (rule.id, job, 2)
        assert record["decided_at"] > record["requested_at"]
        with pytest.raises(WrongState):
            world.change(reviews.approve, ApproveJob(job_id=job))

    def test_a_lead_decides_where_the_rule_says_so_but_not_on_an_own_job(self) -> None:
        world = World()
        add(world, **DEAR, required_approver_level="lead")
        by_rule, by_hand = world.job(by=LEE, estimated_cost=99.0), world.job(by=ANN, requires_approval=True)
        for job, by in ((by_rule, LEE), (by_rule, ANN), (by_hand, LEE), (by_hand, ANN)):
            with pytest.raises(NotAllowed):
                world.change(reviews.approve, ApproveJob(job_id=job, by=by))
            with pytest.raises(NotAllowed):
                world.change(reviews.reject, RejectJob(job_id=job, by=by, reason="no"))
        world.change(reviews.approve, ApproveJob(job_id=by_rule, by=LOU))
        world.change(reviews.reject, RejectJob(job_id=by_hand, reason=" no "))
        assert world.store.jobs[by_hand].error_message == "Rejected: no"
        assert world.store.records["approval"][2]["status"] == "rejected"

    def test_cancelling_a_blocked_job_closes_its_approval(self) -> None:
        world = World()
        job = world.job(requires_approval=True)
        world.cancel(job)
        assert world.store.records["approval"][1]["status"] == "cancelled"
        assert world.yard.book.pending == {}

    def test_no_wait_refuses_what_a_rule_blocks_and_for_approval_asks_instead(self) -> None:
        world = World()
        add(world, **DEAR)
        refused = world.submit(by=ANN, estimated_cost=99.0, no_wait=True)
        assert isinstance(refused, JobRefused) and refused.error == "approval_required"
        asked = world.submit(by=ANN, estimated_cost=99.0, no_wait=True, for_approval=True)
        assert isinstance(asked, JobAccepted) and asked.status == "blocked"
        free = world.submit(by=ANN, no_wait=True, for_approval=True)
        assert isinstance(free, JobAccepted) and free.status == "running", "nothing would refuse it: nobody is asked"


class TestExpiry:
    def tick(self, world: World) -> None:
        world.do(reviews.expire)

    def test_a_blocked_job_fails_when_nobody_decided_in_time(self) -> None:
        world = World(approval_expiry_hours=2.0)
        first = world.job(requires_approval=True)
        world.clock.advance(3600)
        second = world.job(requires_approval=True)
        assert world.yard.timers.next == world.clock.now() + 3600
        world.clock.advance(3599)
        self.tick(world)
        assert world.status(first) == "blocked"
        world.clock.advance(1)
        self.tick(world)
        assert (world.status(first), world.status(second)) == ("failed", "blocked")
        assert (world.store.jobs[first].error_message or "").startswith("Approval expired")
        assert world.store.jobs[first].exit_class == "approval_expired"
        record = world.store.records["approval"][1]
        assert (record["status"], record["decided_by"]) == ("expired", None)
        assert "by 2" in why(world, second).text, "it says until when"
        world.restart()
        assert world.yard.timers.next == world.clock.now() + 3600, "watched again after a restart"

    def test_without_the_limit_it_waits_for_ever_and_a_new_limit_counts_for_those_that_wait(self) -> None:
        world = World()
        job = world.job(requires_approval=True)
        world.clock.advance(400 * 86_400)
        self.tick(world)
        assert world.status(job) == "blocked"
        world.limit(approval_expiry_hours=24)
        self.tick(world)
        assert world.status(job) == "failed"

    def test_many_expire_in_steps(self) -> None:
        world = World(approval_expiry_hours=1.0)
        jobs = [world.job(requires_approval=True) for _ in range(reviews.EXPIRED_AT_ONCE + 1)]
        world.clock.advance(3600)
        self.tick(world)
        assert world.status(jobs[-1]) == "blocked" and world.status(jobs[0]) == "failed"
        assert (world.yard.timers.next or 0) <= world.clock.now(), "the rest follows at once"
        self.tick(world)
        assert world.status(jobs[-1]) == "failed"


COMMANDS = st.sampled_from(
    ["hold", "release", "priority", "process", "restart", "limits", "reject", "submit", "end", "cancel other", "rule"]
)


@settings(max_examples=60)
@given(steps=st.lists(COMMANDS, min_size=1, max_size=25), rule=st.booleans(), gpus=st.integers(0, 2))
def test_a_blocked_job_starts_on_no_path_without_an_approval(steps: list[str], rule: bool, gpus: int) -> None:
    world = World(local_job_max_concurrent=4)
    if rule:
        add(world, **DEAR)
    job = world.job(gpus, by=ANN, estimated_cost=99.0, requires_approval=not rule)
    for step in steps:
        try:
            act(world, job, step)
        except GpuyardError:
            pass
        assert job not in world.started
        assert world.status(job) in ("blocked", "failed", "cancelled")


def act(world: World, job: str, step: str) -> None:
    match step:
        case "hold":
            world.change(change.hold, HoldJob(job_id=job))
        case "release":
            world.change(change.release, ReleaseJob(job_id=job))
        case "priority":
            world.change(change.set_priority, SetPriority(job_id=job, priority=50))
        case "process":
            world.change(change.process, ProcessQueue())
        case "restart":
            world.restart()
        case "limits":
            world.limit(local_job_max_concurrent=8)
        case "reject":
            world.change(reviews.reject, RejectJob(job_id=job, reason="no", by=ANN))
        case "submit":
            world.job(1)
        case "end":
            for running in world.running()[:1]:
                world.end(running)
        case "cancel other":
            for running in world.running()[:1]:
                world.cancel(running)
        case "rule":
            for rule_id in list(world.yard.book.rules):
                world.change(reviews.remove_rule, RemoveRule(rule_id=rule_id))


def test_a_day_that_the_clock_takes_back_is_still_counted() -> None:
    world = World()
    add(world, type="daily_jobs_exceed", threshold=1)
    midnight = world.clock.now() + 86_400 - world.clock.now() % 86_400
    before, after = Now(midnight - 1, 0.0), Now(midnight + 1, 2.0)
    for now in (before, after):
        world.yard.book.note_submit(9, now)
    assert world.yard.book.submitted_today(9, before) == world.yard.book.submitted_today(9, after) == 1
