"""The worker's side: what is started, what is stopped, what is renewed, what is said; and what changes nothing."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gpuyard.actors.model import names
from gpuyard.actors.model.agent.journal import Began, Ended, Forgotten, Obeyed, Ordered, StopAsked
from gpuyard.actors.model.attempt import Phase
from gpuyard.actors.model.commands import (
    ForgetRun,
    RenewLeases,
    RunSpec,
    SendHeartbeat,
    WantedComplete,
    WantRun,
    WantStop,
    WatchGpus,
    WatchRelease,
    WatchStart,
)
from gpuyard.actors.model.events import LinkChanged, OrphanSeen
from tests.unit.agent.stage import EPOCH, Stage, fence, stop, want


def _order(n: int) -> RunSpec:
    spec = want(n).spec
    assert spec is not None
    return spec


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.begin()
    return stage


class TestBeginning:
    def test_nothing_is_said_or_started_before_the_keeper_has_looked(self) -> None:
        stage = Stage()
        stage.begin(adopt=False)
        stage.do(stage.agent.link_changed, LinkChanged(up=True))
        stage.pass_by(60.0)
        assert stage.last is None

    def test_then_it_greets_and_watches_its_gpus(self) -> None:
        stage = Stage(version="1.2", cpu_count=8, max_jobs=2)
        stage.begin(adopt=False)
        assert stage.journal == [Began("journal1", 1)]
        stage.begin()
        assert stage.said(WantedComplete, names.KEEPER) == [WantedComplete(fences=())]
        said = stage.last
        assert said is not None and (said.n, said.life, said.journal, said.incarnation) == (1, 2, "journal1", "boot1")
        assert (said.version, said.cpu_count, said.max_jobs, said.db_id) == ("1.2", 8, 2, "")
        assert [gpu.uuid for gpu in said.gpus] == ["g0", "g1", "g2"]

    def test_facts_are_asked_for_at_once(self) -> None:
        stage = Stage()
        stage.begin(adopt=False)
        assert stage.first == [(names.GPUS, WatchGpus())]


class TestStarting:
    def test_an_unknown_wanted_run_is_written_down_and_started(self, stage: Stage) -> None:
        stage.sync({fence(1): want(1)})
        assert [type(entry) for entry in stage.written] == [Obeyed, Ordered]
        (order,) = stage.said(WantRun, names.KEEPER)
        assert (order.run.job_id, order.started, order.lease_seconds) == ("job1", False, 100.0)
        assert order.lease_until == stage.boottime + 100.0
        assert stage.said(WatchStart, names.GPUS) == [WatchStart(fence=fence(1), uuids=("g0",))]
        stage.sync({fence(1): want(1)})
        assert stage.written == [] and stage.said(WantRun) == []

    def test_only_a_complete_set_with_the_order_in_it_starts_something(self, stage: Stage) -> None:
        stage.sync({fence(1): want(1)}, complete=False)
        assert stage.said(WantRun) == []
        stage.sync({fence(1): want(1, spec=None)})
        assert stage.said(WantRun) == []
        stage.sync({fence(1): want(1)})
        assert stage.said(WantRun)

    def test_a_sync_that_is_older_than_the_lease_starts_nothing(self, stage: Stage) -> None:
        stage.sync({fence(1): want(1)}, late=100.0)
        assert stage.said(WantRun) == [] and stage.said(RenewLeases) == []
        stage.sync({fence(1): want(1)}, late=99.0)
        assert stage.said(WantRun)[0].lease_until == stage.boottime + 1.0

    def test_nor_one_of_the_policy_hold_that_is_very_old(self, stage: Stage) -> None:
        stage.sync({fence(1): want(1, lease=None)}, late=1_800.0)
        assert stage.said(WantRun) == []
        stage.sync({fence(1): want(1, lease=None)}, late=1_799.0)
        assert stage.said(WantRun)[0].lease_until is None

    def test_a_run_that_the_server_knows_to_have_lived_is_not_begun_again(self, stage: Stage) -> None:
        stage.sync({fence(1): want(1, started=True)})
        assert stage.said(WantRun)[0].started

    def test_a_fence_below_one_that_was_here_is_not_begun_whatever_an_older_state_wants(self, stage: Stage) -> None:
        stage.runs(2)
        stage.ends(2)
        stage.empties(2)
        stage.sync(ack=(fence(2),))
        assert stage.written == [Forgotten(fence(2))]
        for n in (1, 2):
            stage.sync({fence(n): want(n)}, db_epoch=EPOCH + 1)
            assert [order.started for order in stage.said(WantRun)] == [True], "the keeper says how it ended, or lost"

    def test_a_gpu_that_another_run_has_is_not_shared(self, stage: Stage) -> None:
        stage.runs(1)
        other = want(2, spec=replace(_order(1), fence=fence(2)))
        stage.sync({fence(1): want(1, spec=None, spec_hash="hash1"), fence(2): other})
        assert stage.said(WantRun) == []
        assert [(e.fence, e.exit_class) for e in stage.written if isinstance(e, Ended)] == [(fence(2), "lost")]
        assert "run" in stage.agent._book.orders[fence(2)].end.message  # type: ignore[union-attr]

    def test_one_whose_gpu_is_not_yet_empty_waits_and_those_after_it_too(self, stage: Stage) -> None:
        stage.runs(1)
        stage.ends(1)
        waiting = {fence(2): want(2, spec=replace(_order(1), fence=fence(2))), fence(3): want(3)}
        stage.sync(waiting)
        assert stage.said(WantRun) == [] and stage.written == []
        stage.empties(1)
        stage.sync(waiting)
        assert [order.run.fence for order in stage.said(WantRun)] == [fence(2), fence(3)]


class TestStopping:
    def test_only_an_explicit_stop_stops_and_it_is_never_taken_back(self, stage: Stage) -> None:
        stage.runs(1)
        stage.sync({})
        assert stage.told == [] and stage.written == []
        stage.sync({fence(1): stop()})
        assert stage.written == [StopAsked(fence(1), "cancelled by ann")]
        assert stage.said(WantStop) == [WantStop(fence=fence(1), reason="cancelled by ann")]
        stage.sync({fence(1): want(1)})
        assert stage.said(WantRun) == [] and stage.written == []
        stage.begin(live=(fence(1),))
        assert stage.said(WantStop), "after a restart too"
        assert stage.last is not None and stage.last.attempts[fence(1)].phase == Phase.STOPPING

    def test_a_run_that_was_never_here_is_stopped_before_it_starts(self, stage: Stage) -> None:
        stage.sync({fence(1): stop()})
        assert stage.said(WantStop)
        stage.ends(1, "cancelled")
        assert stage.last is not None and stage.last.attempts[fence(1)].emptied, "it never had a GPU"

    def test_what_has_ended_is_not_stopped(self, stage: Stage) -> None:
        stage.runs(1)
        stage.ends(1)
        stage.sync({fence(1): stop()})
        assert stage.told == [] and stage.written == []


class TestEnds:
    def test_an_end_is_said_until_it_is_acknowledged(self, stage: Stage) -> None:
        stage.runs(1)
        stage.ends(1)
        assert stage.said(WatchRelease, names.GPUS) == [WatchRelease(fence=fence(1), uuids=("g0",))]
        stage.empties(1)
        for _ in range(3):
            assert stage.last is not None
            report = stage.last.attempts[fence(1)]
            assert (report.phase, report.exit_class, report.exit_code, report.emptied) == (
                "exited", "completed", 0, True,
            )  # fmt: skip
            stage.pass_by(10.0)
        stage.sync(ack=(fence(1),))
        assert stage.written == [Forgotten(fence(1))] and stage.said(ForgetRun) == [ForgetRun(fence=fence(1))]
        stage.pass_by(10.0)
        assert stage.last is not None and stage.last.attempts == {}

    def test_neither_a_live_run_nor_one_with_full_gpus_is_forgotten(self, stage: Stage) -> None:
        stage.runs(1)
        stage.sync(ack=(fence(1), fence(9)))
        stage.ends(1)
        stage.sync(ack=(fence(1),))
        assert Forgotten(fence(1)) not in stage.journal

    def test_one_that_nobody_here_knows_is_forgotten_when_the_server_says_that_it_is_over(self, stage: Stage) -> None:
        """An earlier life of the process told the end and went down; its keeper had forgotten the run already."""
        stage.sync({fence(1): want(1, started=True)})
        stage.begin()
        assert stage.last is not None and stage.last.attempts[fence(1)].phase == Phase.ASSIGNED
        stage.sync(ack=(fence(1),))
        assert stage.written == [Forgotten(fence(1))]

    def test_what_it_heard_twice_is_one_end(self, stage: Stage) -> None:
        stage.runs(1)
        stage.ends(1)
        stage.ends(1, "exit:1")
        assert stage.told == []
        assert stage.last is not None and stage.last.attempts[fence(1)].exit_class == "completed"


class TestLeases:
    def test_they_count_from_when_the_heartbeat_was_sent_and_only_grow(self, stage: Stage) -> None:
        stage.runs(1)
        stage.pass_by(50.0)
        stage.sync({fence(1): want(1)}, late=30.0)
        assert stage.said(RenewLeases) == [RenewLeases(until={fence(1): stage.boottime + 70.0})]
        stage.sync({fence(1): want(1)}, late=40.0)
        assert stage.said(RenewLeases) == []

    def test_hold_has_none(self, stage: Stage) -> None:
        stage.runs(1, lease=None)
        stage.pass_by(10.0)
        stage.sync({fence(1): want(1, lease=None)})
        assert stage.said(RenewLeases) == []

    def test_an_older_sync_changes_nothing(self, stage: Stage) -> None:
        stage.runs(1)
        stage.pass_by(10.0)
        stage.sync({fence(1): want(1)}, n=2, seq=9)
        for n, seq in ((1, 99), (2, 8), (2, 9), (99, 100)):
            stage.sync({fence(1): stop(), fence(2): want(2)}, n=n, seq=seq, ack=(fence(1),))
            assert stage.told == [] and stage.written == []

    def test_nor_one_for_another_session(self, stage: Stage) -> None:
        stage.sync({fence(1): want(1)}, session="session9")
        assert stage.told == []

    def test_a_refusal_renews_nothing(self, stage: Stage) -> None:
        stage.runs(1)
        stage.pass_by(10.0)
        stage.sync({fence(1): stop()}, refused="a clone")
        assert stage.told == [] and stage.agent.refused == "a clone"
        stage.sync({fence(1): want(1)})
        assert stage.agent.refused == "" and stage.said(RenewLeases)

    def test_the_server_asks_for_another_beat(self, stage: Stage) -> None:
        stage.sync(heartbeat_seconds=2.0)
        stage.pass_by(10.0)
        assert stage.said(SendHeartbeat) and stage.agent.next_tick(stage.now()) == 2.0


class TestObedience:
    def test_another_database_changes_nothing_while_a_run_lives_and_keeps_it_alive(self, stage: Stage) -> None:
        stage.runs(1)
        stage.pass_by(10.0)
        stage.sync({fence(1): stop(), fence(2): want(2)}, db_id="another", ack=(fence(1),))
        assert stage.written == [] and "another database" in stage.agent.refused
        assert [type(message) for message in stage.to_the_keeper()] == [RenewLeases]
        assert stage.last is not None and (stage.last.db_id, stage.last.db_epoch) == ("db", EPOCH)

    def test_but_an_administrator_of_it_may_have_a_run_ended(self, stage: Stage) -> None:
        stage.runs(1)
        stage.sync(db_id="another", end={fence(1): "stopped by ann", fence(9): "never here"})
        assert stage.written == [StopAsked(fence(1), "stopped by ann")]
        assert stage.said(WantStop, names.KEEPER) == [WantStop(fence=fence(1), reason="stopped by ann")]
        stage.ends(1)
        stage.empties(1)
        stage.sync({fence(2): want(2)}, db_id="another")
        assert stage.agent.refused == "" and Ordered in map(type, stage.written)

    def test_an_older_state_of_its_own_may_not(self, stage: Stage) -> None:
        stage.runs(1)
        stage.sync(db_epoch=EPOCH - 1, end={fence(1): "stopped by ann"})
        assert stage.written == [] and stage.agent.refused

    def test_it_is_followed_once_nothing_runs_any_more(self, stage: Stage) -> None:
        stage.runs(9)
        stage.ends(9)
        stage.sync(db_id="another", db_epoch=1)
        assert stage.written == [], "its GPU is not yet empty"
        stage.empties(9)
        theirs = want(1, spec=replace(_order(1), fence=fence(1, 1)))
        stage.sync({fence(1, 1): theirs}, db_id="another", db_epoch=1)
        assert [type(entry) for entry in stage.written] == [Forgotten, Obeyed, Ordered]
        assert [order.started for order in stage.said(WantRun)] == [False], "its fences are numbers of their own"

    def test_then_nothing_of_the_first_is_said_any_more(self, stage: Stage) -> None:
        stage.runs(9)
        stage.ends(9)
        stage.empties(9)
        stage.ends(8)  # of a run without an order: its number may be given out by the other database too
        stage.sync(db_id="another", db_epoch=1)
        stage.pass_by(10.0)
        assert stage.last is not None and (stage.last.db_id, stage.last.attempts) == ("another", {})

    def test_an_older_state_changes_nothing_a_later_one_is_followed(self, stage: Stage) -> None:
        stage.runs(1)
        stage.pass_by(10.0)
        stage.sync({fence(1): stop()}, db_epoch=EPOCH - 1)
        assert stage.written == [] and "older state" in stage.agent.refused
        assert [type(message) for message in stage.to_the_keeper()] == [RenewLeases]
        stage.sync({}, db_epoch=EPOCH + 1)
        assert stage.written == [Obeyed("db", EPOCH + 1)] and stage.agent.refused == ""
        assert stage.last is not None and fence(1) in stage.last.attempts, "it lives on"


class TestRestarts:
    def test_runs_are_adopted_and_wanted_of_the_keeper_again(self, stage: Stage) -> None:
        stage.runs(1)
        stage.runs(2)
        stage.begin(live=(fence(1),), ended=(fence(2),))
        assert [order.run.fence for order in stage.said(WantRun)] == [fence(1), fence(2)]
        assert stage.said(WantedComplete) == [WantedComplete(fences=(fence(1), fence(2)))]
        stage.ends(2)
        assert stage.last is not None
        assert {f: r.phase for f, r in stage.last.attempts.items()} == {fence(1): "starting", fence(2): "exited"}
        assert stage.last.attempts[fence(1)].spec_hash == "hash1"

    def test_one_that_the_keeper_never_heard_of_is_started_when_it_is_still_wanted(self, stage: Stage) -> None:
        stage.sync({fence(1): want(1)})
        stage.begin()
        assert stage.said(WantRun) == []
        assert stage.last is not None and stage.last.attempts[fence(1)].phase == "assigned"
        stage.sync({fence(1): want(1, spec=None)}, late=100.0)
        assert stage.said(WantRun) == []
        stage.pass_by(1.0)
        stage.sync({fence(1): want(1, spec=None)})
        assert [(o.started, o.lease_until) for o in stage.said(WantRun)] == [(False, stage.boottime + 100.0)]

    def test_after_a_reboot_what_lived_is_lost(self, stage: Stage) -> None:
        stage.runs(1)
        stage.incarnation = "boot2"
        stage.begin()
        assert stage.last is not None
        report = stage.last.attempts[fence(1)]
        assert (report.phase, report.exit_class, report.ordered, report.emptied) == ("lost", "lost", True, False)
        assert stage.said(WatchRelease)
        stage.begin()
        assert stage.last.attempts[fence(1)].phase == "lost"

    def test_a_run_without_an_order_is_an_orphan_until_it_is_wanted(self, stage: Stage) -> None:
        stage.runs(1)
        stage.journal.clear()
        stage.begin(live=(fence(1),))
        stage.do(stage.agent.orphan_seen, OrphanSeen(fence=fence(1), job_id="job1", pid=41, uuids=("g0",)))
        stage.lives_on(1)
        assert stage.last is not None
        report = stage.last.attempts[fence(1)]
        assert (report.ordered, report.job_id, report.uuids, report.spec_hash) == (False, "job1", ("g0",), "")
        stage.sync({})
        assert [type(message) for message in stage.to_the_keeper()] == [RenewLeases]
        stage.sync({fence(1): want(1)})
        assert [type(entry) for entry in stage.written] == [Ordered] and stage.said(WantRun) == []
        stage.pass_by(10.0)
        assert stage.last.attempts[fence(1)].ordered

    def test_a_shortened_journal_says_the_same(self, stage: Stage) -> None:
        stage.runs(1)
        stage.runs(2)
        stage.ends(1)
        stage.empties(1)
        stage.sync({fence(2): stop()}, ack=(fence(1),))
        short = stage.agent.shortened()
        assert len(short) < len(stage.journal)
        beats = []
        for journal in (stage.journal, short):
            stage.journal = list(journal)
            stage.begin(live=(fence(2),))
            assert stage.last is not None
            beats.append((stage.last.attempts, stage.last.db_id, stage.last.db_epoch, stage.last.life))
            stage.sync({fence(1): want(1)})
            assert [order.started for order in stage.said(WantRun)] == [True]
        assert beats[0] == beats[1]


class TestHeartbeats:
    def test_it_beats_in_time_and_at_once_when_something_changed(self, stage: Stage) -> None:
        assert stage.last is not None
        first = stage.last.n
        stage.pass_by(9.0)
        assert stage.last.n == first
        stage.pass_by(1.0)
        assert stage.last.n == first + 1 and stage.last.sent_at == stage.boottime
        stage.sync({fence(1): want(1)})
        stage.lives_on(1)
        assert stage.last.n == first + 2
        stage.do(stage.agent.link_changed, LinkChanged(up=True))
        assert stage.last.n == first + 3
        stage.do(stage.agent.link_changed, LinkChanged(up=False))
        assert stage.last.n == first + 3

    def test_gpus_that_can_or_cannot_be_handed_out_are_said_at_once(self, stage: Stage) -> None:
        stage.facts(2)
        assert stage.told == []
        stage.facts(3, 0, 1)
        assert stage.last is not None and [gpu.usable for gpu in stage.last.gpus] == [True, True, False]
        stage.facts(2)
        assert stage.told == [], "older facts"

    def test_an_ephemeral_one_goes_when_all_is_acknowledged(self, stage: Stage) -> None:
        stage.runs(1)
        stage.ends(1)
        stage.empties(1)
        stage.sync(leave=True)
        assert not stage.agent.may_end
        stage.sync(ack=(fence(1),), leave=True)
        assert stage.agent.may_end
        stage.pass_by(10.0)
        assert stage.last is not None and stage.last.leaving

    def test_one_that_is_asked_to_end_says_so_and_its_runs_live_on(self, stage: Stage) -> None:
        stage.runs(1)
        stage.do(lambda _, now, out: stage.agent.leave(now, out), None)
        assert stage.last is not None and stage.last.leaving and stage.to_the_keeper() == []
