"""The wanted set, what reports mean, and when a worker may forget."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gpuyard.actors.model.attempt import Phase
from gpuyard.actors.model.commands import WantStop
from gpuyard.actors.model.events import AttemptExited, AttemptStarted, GpuEmptied, OrphanSeen, WorkerFacts
from gpuyard.actors.model.wire import STOP, Report, Want
from gpuyard.actors.model.worker_views import view_of
from tests.unit.fleet.stage import EPOCH, Machine, Stage, ended, fence, running


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def machine(stage: Stage) -> Machine:
    machine = Machine(stage)
    machine.beat()
    return machine


class TestWanted:
    def test_our_side_speaks_at_once_when_it_changes(self, stage: Stage, machine: Machine) -> None:
        stage.want(1)
        (sync,) = stage.syncs
        assert (sync.session, sync.n, sync.sent_at) == ("w-session", 1, 71.0)
        want = sync.want[fence(1)]
        assert want.spec is not None and want.spec.job_id == "job1" and not want.started
        assert (want.action, want.lease_seconds) == ("run", 100.0)
        stage.stop(1)
        (later,) = stage.syncs
        assert later.seq > sync.seq and later.want[fence(1)].action == "stop"
        assert later.want[fence(1)].reason == "cancelled by ann"

    def test_orders_in_one_frame_are_bounded_and_follow_one_another(self) -> None:
        stage = Stage(specs_per_sync=150)
        machine = Machine(stage)
        machine.beat()
        for n in (1, 2, 3):
            stage.want(n)
        (sync,) = stage.syncs
        assert [want.spec is not None for want in sync.want.values()] == [True, False, False]
        for n in (1, 2):
            machine.reports[fence(n)] = running(n, spec_hash=machine_hash(stage, n))
        assert [want.spec is not None for want in machine.beat().want.values()] == [False, False, True]

    def test_before_all_runs_are_known_the_set_says_that_it_may_lack_some(self, stage: Stage) -> None:
        stage.restart(complete=False)
        machine = Machine(stage)
        machine.reports[fence(1)] = running(1)
        assert not machine.beat().complete
        assert stage.said(OrphanSeen) == []
        stage.want(1, again=True)
        assert stage.syncs == [] and stage.said(AttemptStarted), "heard before it was wanted"
        stage.complete()
        assert stage.syncs[0].complete and fence(1) in stage.syncs[0].want

    def test_a_run_that_is_known_to_have_lived_is_wanted_so(self, stage: Stage, machine: Machine) -> None:
        stage.want(1, started=True)
        assert stage.syncs[0].want[fence(1)].started


def machine_hash(stage: Stage, n: int) -> str:
    return stage.fleet.workers["w"].wants[fence(n)].spec_hash


class TestReports:
    def test_a_start_is_told_once_and_an_end_until_it_is_durable(self, stage: Stage, machine: Machine) -> None:
        stage.want(1)
        machine.reports[fence(1)] = running(1)
        machine.beat()
        assert [(e.fence, e.pid, e.at) for e in stage.said(AttemptStarted)] == [(fence(1), 41, 5.0)]
        machine.beat()
        assert stage.said(AttemptStarted) == []
        machine.reports[fence(1)] = ended(1, emptied=False)
        for _ in range(2):
            assert machine.beat().ack == ()
            assert [(e.fence, e.exit_class, e.host) for e in stage.said(AttemptExited)] == [
                (fence(1), "completed", "w")
            ]
        stage.forget(1, released=False)
        machine.beat()
        assert stage.said(AttemptExited) == []

    @pytest.mark.parametrize("ahead", [7_200.0, -86_400.0])
    def test_times_of_a_wrong_clock_are_put_right_and_the_clock_is_shown(self, stage: Stage, ahead: float) -> None:
        machine = Machine(stage)
        for late in (40.0, 0.2, 40.0):
            machine.beat(wall=stage.wall + ahead - late)
        assert view_of(stage.fleet.find("w")).clock_ahead_seconds == pytest.approx(ahead, abs=1.0)
        stage.want(1)
        machine.reports[fence(1)] = replace(running(1), started_at=stage.wall + ahead)
        machine.beat(wall=stage.wall + ahead)
        (started,) = stage.said(AttemptStarted)
        assert started.at == pytest.approx(stage.wall, abs=1.0)
        machine.reports[fence(1)] = replace(ended(1), started_at=stage.wall + ahead, ended_at=stage.wall + ahead + 5)
        machine.beat(wall=stage.wall + ahead)
        (exited,) = stage.said(AttemptExited)
        assert (exited.started_at, exited.ended_at) == pytest.approx((stage.wall, stage.wall + 5), abs=1.0)

    def test_a_right_clock_over_a_slow_network_is_right(self, stage: Stage) -> None:
        machine = Machine(stage)
        for late in (30.0, 1.5, 90.0):
            machine.beat(wall=stage.wall - late)
        assert view_of(stage.fleet.find("w")).clock_ahead_seconds is None

    def test_it_is_acknowledged_only_when_its_end_and_its_release_are_durable(
        self, stage: Stage, machine: Machine
    ) -> None:
        stage.want(1)
        machine.reports[fence(1)] = ended(1, emptied=False)
        machine.beat()
        stage.forget(1, released=False)
        assert stage.syncs[0].ack == ()
        machine.reports[fence(1)] = ended(1)
        assert machine.beat().ack == () and stage.said(GpuEmptied)
        stage.forget(1)
        assert stage.syncs[0].ack == (fence(1),)
        assert machine.beat().ack == (fence(1),), "until it is no longer reported"
        machine.reports.clear()
        assert machine.beat().ack == ()

    def test_an_end_is_never_taken_back(self, stage: Stage, machine: Machine) -> None:
        stage.want(1)
        machine.reports[fence(1)] = ended(1)
        machine.beat()
        machine.reports[fence(1)] = running(1)
        machine.beat()
        assert stage.fleet.workers["w"].wants[fence(1)].ended
        assert stage.fleet.counters["older_report"] == 1

    def test_anothers_fence_is_none_of_its_business(self, stage: Stage, machine: Machine) -> None:
        stage.enrol("v")
        other = Machine(stage, "v")
        other.beat()
        stage.want(1, worker="v")
        machine.reports[fence(1)] = ended(1)
        assert machine.beat().ack == ()
        assert stage.said(AttemptExited) == [] and stage.fleet.counters["anothers_fence"] == 1
        assert stage.fleet.workers["v"].wants[fence(1)].report is None

    def test_a_future_fence_is_counted_and_ignored(self, stage: Stage, machine: Machine) -> None:
        machine.reports[fence(1, EPOCH + 1)] = ended(1)
        machine.beat()
        assert stage.said(AttemptExited) == [] and stage.fleet.counters["future_fence"] == 1

    def test_what_was_said_of_a_fence_before_it_was_given_out_does_not_count(
        self, stage: Stage, machine: Machine
    ) -> None:
        machine.reports[fence(1)] = ended(1)
        machine.beat()
        stage.want(1)
        assert not stage.fleet.workers["w"].wants[fence(1)].ended
        assert stage.syncs[0].ack == ()

    def test_an_end_of_before_our_restart_is_confirmed_by_the_scheduler(self, stage: Stage) -> None:
        stage.restart()
        machine = Machine(stage)
        machine.reports[fence(1)] = ended(1)
        machine.beat()
        assert [(e.fence, e.host) for e in stage.said(AttemptExited)] == [(fence(1), "w")]
        stage.forget(1, released=False)
        assert stage.syncs[0].ack == ()
        stage.forget(1)
        assert stage.syncs[0].ack == (fence(1),)

    def test_gpus_of_an_ended_run_that_the_store_still_holds_are_asked_for(
        self, stage: Stage, machine: Machine
    ) -> None:
        """The Scheduler says stop for each ended attempt with a hold after a rebuild."""
        stage.stop(1)
        assert stage.syncs[0].want[fence(1)].action == "stop"
        machine.reports[fence(1)] = Report(phase=Phase.EXITED, exit_class="cancelled", emptied=True)
        machine.beat()
        assert [(e.fence, e.uuids) for e in stage.said(GpuEmptied)] == [(fence(1), ())]
        stage.forget(1)
        assert stage.syncs[0].ack == (fence(1),)


class TestOrphans:
    def test_it_is_told_once_lives_on_and_its_gpu_is_not_handed_out(self, stage: Stage, machine: Machine) -> None:
        machine.reports[fence(7, 2)] = running(1)
        sync = machine.beat()
        assert sync.want == {} and sync.ack == () and sync.complete
        assert [(o.fence, o.job_id, o.uuids, o.host) for o in stage.said(OrphanSeen)] == [
            (fence(7, 2), "job1", ("g0",), "w")
        ]
        machine.beat()
        assert stage.said(OrphanSeen) == []
        assert [gpu.usable for gpu in stage.fact().facts] == [False, True]
        machine.reports.clear()
        machine.beat()
        assert [gpu.usable for gpu in stage.fact().facts] == [True, True]

    def test_a_worker_of_another_database_gets_no_work_and_its_runs_are_orphans(
        self, stage: Stage, machine: Machine
    ) -> None:
        stage.want(1)
        machine.fields["db_id"] = "another"
        machine.reports[fence(1)] = ended(1)
        machine.reports[fence(9, 8)] = running(2)
        machine.beat()
        assert stage.said(AttemptExited) == [], "the same number of another database"
        assert [o.fence for o in stage.said(OrphanSeen)] == [fence(9, 8)]
        assert not stage.fact().takes_work and "another database" in stage.fact().why

    def test_one_of_another_database_is_ended_by_a_word_of_its_own(self, stage: Stage, machine: Machine) -> None:
        machine.fields["db_id"] = "another"
        machine.reports[fence(1)] = running(1)
        assert machine.beat().end == {}
        stage.stop(1)
        assert machine.beat().end == {fence(1): "cancelled by ann"} and machine.beat().want == {}
        machine.reports[fence(1)] = ended(1)
        machine.beat()
        machine.reports.clear()
        assert machine.beat().end == {}

    def test_one_of_an_earlier_state_of_ours_is_told_to_stop_and_is_an_orphan_until_it_has(
        self, stage: Stage, machine: Machine
    ) -> None:
        machine.reports[fence(7, 2)] = running(1)
        machine.beat()
        assert stage.fact().orphans == {fence(7, 2): "job1"}
        order = WantStop(fence=fence(7, 2), reason="stopped by ann", host="w")
        stage.do(lambda now, out: stage.fleet.want_stop(order, now, out))
        assert machine.beat().want == {fence(7, 2): Want(action=STOP, reason="stopped by ann")}
        assert stage.fact().orphans == {fence(7, 2): "job1"}, "it lives still"
        machine.reports[fence(7, 2)] = ended(1)
        machine.beat()
        assert stage.fact().orphans == {}

    def test_the_scheduler_is_told_of_orphans_only_by_who_can_be_heard_and_of_who_has_settled(
        self, stage: Stage, machine: Machine
    ) -> None:
        stage.restart()
        assert (stage.fact().orphans, stage.fact().settled) == (None, False)
        machine.fields["db_epoch"] = EPOCH - 1
        machine.beat()
        assert (stage.fact().orphans, stage.fact().settled) == ({}, False), "an older order may still reach it"
        machine.fields["db_epoch"] = EPOCH
        machine.beat()
        assert (stage.fact().orphans, stage.fact().settled) == ({}, True)
        stage.want(1)
        machine.reports[fence(1)] = running(1)
        machine.beat()
        assert stage.fact().orphans == {}, "a wanted run is none"
        stage.pass_by(200.0)
        assert (stage.fact().orphans, stage.fact().settled) == (None, False)

    def test_one_that_obeys_a_later_state_of_our_database_gets_no_work(self, stage: Stage, machine: Machine) -> None:
        machine.fields["db_epoch"] = EPOCH + 1
        machine.beat()
        assert not stage.fact().takes_work and "later state" in stage.fact().why


class TestFacts:
    def test_only_who_changed_is_told_and_who_has_gone_is_named(self, stage: Stage, machine: Machine) -> None:
        stage.enrol("v")
        machine.beat()
        (facts,) = stage.said(WorkerFacts)
        assert facts.partial and [fact.worker_id for fact in facts.workers] == ["w"]
        stage.do(lambda now, out: stage.fleet.delete("v", now, out))
        (later,) = stage.said(WorkerFacts)
        assert later.gone == ("v",) and later.revision > facts.revision

    def test_a_fleet_made_anew_tells_newer_ones(self, stage: Stage, machine: Machine) -> None:
        for _ in range(50):
            machine.beat()
        (before,) = stage.said(WorkerFacts)
        stage.pass_by(0.001)
        stage.restart()
        Machine(stage).beat()
        (after,) = stage.said(WorkerFacts)
        assert after.revision > before.revision

    def test_they_are_as_old_as_they_were_when_they_were_sent(self, stage: Stage, machine: Machine) -> None:
        machine.beat(facts_age=4.0, max_jobs=3, labels={"gpu": "h100"})
        fact = stage.fact()
        assert fact.observed_at == stage.monotonic - 4.0 and fact.heard_at == stage.wall
        assert (fact.max_jobs, fact.cpu_count, fact.gpus, fact.fresh_seconds) == (3, 8, 2, 30.0)
        assert fact.labels == {"gpu": "h100"}
