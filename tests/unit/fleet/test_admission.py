"""One key, one live worker: who is listened to, who waits, who is refused, and what is believed of whom."""

from __future__ import annotations

import itertools

import pytest

from gpuyard.actors.model.errors import InvalidTransition
from gpuyard.actors.model.events import AttemptExited, AttemptStarted
from gpuyard.actors.model.fleet import WorkerState, states
from gpuyard.actors.model.fleet.states import TRANSITIONS, WorkerEvent
from gpuyard.actors.model.wire import PROTOCOL
from tests.unit.fleet.stage import Machine, Stage, ended, fence, running


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def machine(stage: Stage) -> Machine:
    return Machine(stage)


def state(stage: Stage) -> str:
    return str(stage.fleet.workers["w"].state)


class TestStates:
    def test_each_state_has_its_paragraph_and_every_other_step_is_refused(self) -> None:
        assert states.__doc__ is not None
        for known in WorkerState:
            assert f"\n{known} " in states.__doc__
        for pair in itertools.product(WorkerState, WorkerEvent):
            if pair in TRANSITIONS:
                assert states.step(*pair) is TRANSITIONS[pair]
            else:
                with pytest.raises(InvalidTransition):
                    states.step(*pair)

    def test_a_worker_connects_works_falls_silent_and_comes_back(self, stage: Stage, machine: Machine) -> None:
        assert state(stage) == "connecting"
        machine.beat()
        assert state(stage) == "idle"
        stage.want(1)
        assert state(stage) == "busy"
        stage.pass_by(119.0)
        assert state(stage) == "busy"
        stage.pass_by(1.0)
        assert state(stage) == "offline"
        machine.reports[fence(1)] = running(1)
        machine.beat()
        assert state(stage) == "busy"
        machine.reports[fence(1)] = ended(1)
        machine.beat()
        stage.forget(1)
        assert state(stage) == "idle"

    def test_one_that_never_comes_is_offline_in_the_end(self, stage: Stage) -> None:
        stage.pass_by(120.0)
        assert (state(stage), stage.fact().takes_work) == ("offline", True)


class TestSessions:
    def test_an_older_or_repeated_heartbeat_changes_nothing(self, stage: Stage, machine: Machine) -> None:
        stage.want(1)
        first = machine.heartbeat()
        machine.reports[fence(1)] = running(1)
        machine.beat()
        heard_at = stage.fleet.workers["w"].heard_at
        stage.pass_by(5.0)
        assert machine.send(first) == [] and stage.told == []
        assert stage.fleet.workers["w"].heard_at == heard_at
        assert stage.fleet.counters["stale_beat"] == 1

    def test_the_next_life_of_a_process_is_admitted_at_once(self, stage: Stage, machine: Machine) -> None:
        stage.want(1)
        machine.reports[fence(1)] = running(1)
        machine.beat()
        late = machine.heartbeat()
        machine.restart()
        assert machine.beat().refused == ""
        assert machine.send(late) == []
        assert stage.said(AttemptStarted) == []

    def test_the_next_life_is_told_the_whole_order_again(self, stage: Stage, machine: Machine) -> None:
        machine.beat()
        stage.want(1)
        want = stage.syncs[0].want[fence(1)]
        machine.reports[fence(1)] = running(1, spec_hash=want.spec_hash)
        assert machine.beat().want[fence(1)].spec is None
        machine.restart()
        machine.reports.clear()  # its journal was not yet on the disk
        assert machine.beat().want[fence(1)].spec == want.spec

    def test_a_copied_folder_on_the_same_host_is_refused(self, stage: Stage, machine: Machine) -> None:
        machine.beat()
        other = Machine(stage, session="other", journal="other-journal")
        assert other.beat().refused and machine.beat().refused == ""

    def test_what_has_no_key_of_ours_is_counted(self, stage: Stage) -> None:
        assert Machine(stage, user_id="w.9").send(Machine(stage).heartbeat()) == []
        assert stage.fleet.counters["unknown_peer"] == 1

    @pytest.mark.parametrize("away", [-2, 2])
    def test_versions_further_apart_than_one_are_refused(self, stage: Stage, machine: Machine, away: int) -> None:
        sync = machine.beat(protocol=PROTOCOL + away, version="9.9")
        assert "9.9" in sync.refused and sync.want == {}
        assert state(stage) == "connecting"

    def test_an_older_version_keeps_its_runs_and_gets_no_work(self, stage: Stage, machine: Machine) -> None:
        machine.fields["protocol"], machine.fields["version"] = PROTOCOL - 1, "0.9"
        machine.beat()
        assert not stage.fact().takes_work and "0.9" in stage.fact().why
        stage.want(1)
        machine.reports[fence(1)] = running(1)
        assert fence(1) in machine.beat().want
        assert stage.said(AttemptStarted)


class TestReboots:
    def test_a_rebooted_host_waits_until_the_old_session_was_silent_for_three_beats(
        self, stage: Stage, machine: Machine
    ) -> None:
        machine.beat()
        machine.reboot()
        stage.pass_by(29.0)
        assert machine.beat().refused
        stage.pass_by(1.0)
        assert machine.beat().refused == ""

    def test_it_ends_at_once_what_its_journal_lists_and_the_rest_waits_out_its_lease(
        self, stage: Stage, machine: Machine
    ) -> None:
        stage.want(1)
        stage.want(2)
        machine.reports = {fence(1): running(1), fence(2): running(2)}
        machine.beat()
        del machine.reports[fence(2)]  # not yet on its disk when the power went
        machine.reboot()
        stage.pass_by(40.0)
        sync = machine.beat()
        assert [(e.fence, e.exit_class) for e in stage.said(AttemptExited)] == [(fence(1), "lost")]
        assert fence(2) not in sync.want, "an earlier life may still have it"
        stage.pass_by(100 * 1.01 + 30 - 40 - 1)
        assert [e.fence for e in stage.said(AttemptExited)] in ([], [fence(1)])
        stage.pass_by(1.1)
        assert fence(2) in [e.fence for e in stage.said(AttemptExited)]
        stage.forget(2, released=False)
        assert machine.beat().want[fence(2)].action == "stop", "so that it says when its GPU is empty"

    def test_a_reboot_during_our_own_restart_is_noticed(self, stage: Stage, machine: Machine) -> None:
        machine.beat()
        stage.want(1)
        stage.restart(complete=False)
        stage.want(1, again=True)
        stage.complete()
        machine.reboot()
        assert machine.beat().refused
        stage.pass_by(30.0)
        assert fence(1) not in machine.beat().want

    def test_what_an_earlier_life_has_stays_its_own_across_our_restart(self, stage: Stage, machine: Machine) -> None:
        machine.beat()
        stage.want(1)
        machine.reboot()
        stage.pass_by(30.0)
        machine.beat()
        stage.restart(complete=False)
        stage.want(1, again=True)
        stage.complete()
        assert fence(1) not in machine.beat().want

    def test_nobody_new_is_admitted_before_all_runs_are_known(self, stage: Stage, machine: Machine) -> None:
        machine.beat()
        stage.restart(complete=False)
        machine.reboot()
        stage.pass_by(40.0)
        assert machine.beat().refused
        stage.complete()
        assert machine.beat().refused == ""


class TestClones:
    def test_a_clone_is_refused_and_audited_once(self, stage: Stage, machine: Machine) -> None:
        machine.beat()
        clone = machine.copy()
        for _ in range(4):
            stage.pass_by(5.0)
            assert clone.beat().refused
            stage.pass_by(5.0)
            assert machine.beat().refused == ""
        assert [(line.action, line.subject) for line in stage.audit] == [("worker_clone_refused", "w")]
        assert stage.fleet.counters["clone"] == 3

    def test_what_it_says_of_the_others_runs_is_not_believed_even_when_it_is_admitted(
        self, stage: Stage, machine: Machine
    ) -> None:
        stage.want(1)
        machine.reports[fence(1)] = running(1)
        machine.beat()
        clone = machine.copy()
        assert clone.reports[fence(1)].exit_class == "lost"
        for _ in range(2):
            stage.pass_by(5.0)
            clone.beat()
            stage.pass_by(5.0)
            machine.beat()
        stage.pass_by(31.0)
        assert clone.beat().refused == ""
        assert stage.said(AttemptExited) == [] and stage.fleet.counters["another_life"] == 1
        stage.restart(complete=False)
        stage.want(1, again=True)
        stage.complete()
        clone.restart()
        clone.beat()
        assert stage.said(AttemptExited) == [], "nor after a restart of ours"

    def test_frames_of_a_life_before_a_reboot_make_no_clone_of_the_new_one(
        self, stage: Stage, machine: Machine
    ) -> None:
        machine.beat()
        late = [machine.heartbeat() for _ in range(3)]
        machine.reboot()
        stage.pass_by(30.0)
        machine.beat()
        for frame in late:
            stage.pass_by(5.0)
            machine.send(frame)
            stage.pass_by(5.0)
            assert machine.beat().refused == ""
        assert machine.fields["incarnation"] not in stage.fleet.workers["w"].record.clones
