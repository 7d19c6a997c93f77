"""What administrators do: enrolment, drain, keys, deletion; and workers that leave by themselves."""

from __future__ import annotations

import pytest

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import AllowKeys
from gpuyard.actors.model.errors import InvalidInput, NotFound, WrongState
from gpuyard.actors.model.events import WorkerFacts
from gpuyard.actors.model.fleet import Worker
from tests.unit.fleet.stage import Machine, Stage, ended, fence, running


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def machine(stage: Stage) -> Machine:
    machine = Machine(stage)
    machine.beat()
    return machine


def state(stage: Stage) -> str:
    return str(stage.fleet.workers["w"].state)


def allowed(stage: Stage) -> dict[str, str] | None:
    """What the gateway was told last."""
    lists = [message.keys for to, message in stage.told if to == names.GATEWAY and isinstance(message, AllowKeys)]
    return lists[-1] if lists else None


class TestEnrolment:
    def test_it_waits_for_the_store_and_lets_the_key_in(self, stage: Stage) -> None:
        stage.enrol("v", labels={"site": "us"}, ephemeral=True)
        assert stage.waited and allowed(stage) == {"key-w": "w.1", "key-v": "v.1"}
        assert stage.rows["v"]["labels"] == {"site": "us"} and stage.rows["v"]["order"] == 2
        assert [fact.state for facts in stage.said(WorkerFacts) for fact in facts.workers] == ["connecting"]

    def test_names_and_keys_are_taken_once(self, stage: Stage) -> None:
        before = dict(stage.rows)
        for worker_id, name, key in (("x", "w", "key-x"), ("x", "x", "key-w")):
            with pytest.raises(InvalidInput):
                stage.do(lambda now, out, i=worker_id, n=name, k=key: stage.fleet.enrol(i, n, k, now, out))
        assert stage.rows == before and set(stage.fleet.workers) == {"w"}

    def test_a_worker_is_found_by_id_by_name_and_by_a_prefix_that_fits_one(self, stage: Stage) -> None:
        for worker_id, name in (("abc1", "red"), ("abd2", "blue")):
            stage.do(lambda now, out, i=worker_id, n=name: stage.fleet.enrol(i, n, f"key-{i}", now, out))
        assert [stage.fleet.find(text).id for text in ("abc1", "red", "abd")] == ["abc1", "abc1", "abd2"]
        for text in ("ab", "nobody", ""):
            with pytest.raises(NotFound):
                stage.fleet.find(text)


class TestDrain:
    def test_it_holds_across_heartbeats_job_ends_and_restarts_until_undrained(
        self, stage: Stage, machine: Machine
    ) -> None:
        stage.want(1)
        machine.reports[fence(1)] = running(1)
        stage.do(lambda now, out: stage.fleet.drain("w", now, out))
        assert stage.waited and state(stage) == "draining"
        machine.beat()
        machine.reports[fence(1)] = ended(1)
        machine.beat()
        stage.forget(1)
        assert state(stage) == "draining"
        stage.restart()
        machine.reports.clear()
        machine.beat()
        assert state(stage) == "draining"
        stage.pass_by(200.0)
        machine.beat()
        assert state(stage) == "draining"
        stage.do(lambda now, out: stage.fleet.undrain("w", now, out))
        assert stage.waited and state(stage) == "idle"

    def test_a_run_that_it_has_lives_on(self, stage: Stage, machine: Machine) -> None:
        stage.want(1)
        stage.do(lambda now, out: stage.fleet.drain("w", now, out))
        assert machine.beat().want[fence(1)].action == "run"
        stage.do(lambda now, out: stage.fleet.undrain("w", now, out))
        assert state(stage) == "busy"

    def test_doing_it_again_writes_nothing(self, stage: Stage, machine: Machine) -> None:
        stage.do(lambda now, out: stage.fleet.undrain("w", now, out))
        assert not stage.waited


class TestKeys:
    def rotate(self, stage: Stage, key: str, *, revoke: bool = False) -> Worker:
        worker: Worker = stage.do(lambda now, out: stage.fleet.rotate("w", key, now, out, revoke=revoke))
        return worker

    def test_the_old_key_works_until_the_new_one_connects(self, stage: Stage, machine: Machine) -> None:
        stage.want(1)
        self.rotate(stage, "new")
        assert allowed(stage) == {"key-w": "w.1", "new": "w.2"}
        assert machine.beat().refused == ""
        machine.restart()
        machine.user_id = "w.2"
        assert fence(1) in machine.beat().want, "its jobs belong to the worker, not to the key"
        assert allowed(stage) == {"new": "w.2"}
        machine.user_id = "w.1"
        assert machine.send(machine.heartbeat()) == [] and stage.fleet.counters["unknown_peer"] == 1

    def test_it_ends_after_a_day(self, stage: Stage, machine: Machine) -> None:
        self.rotate(stage, "new")
        stage.pass_by(86_399.0)
        assert stage.fleet.keys().keys == {"key-w": "w.1", "new": "w.2"}
        stage.restart()
        stage.pass_by(2.0)
        assert allowed(stage) == {"new": "w.2"} == stage.fleet.keys().keys

    def test_it_can_be_revoked_at_once(self, stage: Stage, machine: Machine) -> None:
        self.rotate(stage, "new", revoke=True)
        assert allowed(stage) == {"new": "w.2"}
        assert machine.send(machine.heartbeat()) == []

    def test_a_second_rotation_leaves_two_keys_at_most(self, stage: Stage, machine: Machine) -> None:
        self.rotate(stage, "new")
        self.rotate(stage, "newer")
        assert stage.fleet.keys().keys == {"new": "w.2", "newer": "w.3"}
        with pytest.raises(InvalidInput):
            self.rotate(stage, "newer")

    def test_a_clone_with_the_new_key_does_not_end_the_old_one(self, stage: Stage, machine: Machine) -> None:
        self.rotate(stage, "new")
        clone = machine.copy()
        clone.user_id = "w.2"
        assert clone.beat().refused
        assert machine.beat().refused == ""


class TestDeletion:
    def test_a_worker_with_a_job_stays_without_force(self, stage: Stage, machine: Machine) -> None:
        stage.want(1)
        with pytest.raises(WrongState, match="job1"):
            stage.do(lambda now, out: stage.fleet.delete("w", now, out))
        assert "w" in stage.fleet.workers
        stage.do(lambda now, out: stage.fleet.delete("w", now, out, force=True))
        assert stage.rows == {} and allowed(stage) == {}
        assert machine.send(machine.heartbeat()) == []

    def test_an_idle_one_goes(self, stage: Stage, machine: Machine) -> None:
        stage.do(lambda now, out: stage.fleet.delete("w", now, out))
        assert stage.waited and stage.said(WorkerFacts)[0].gone == ("w",)


class TestEphemeral:
    @pytest.fixture
    def stage(self) -> Stage:
        stage = Stage()
        stage.enrol("e", ephemeral=True)
        return stage

    @pytest.fixture
    def machine(self, stage: Stage) -> Machine:
        machine = Machine(stage, "e")
        machine.beat()
        return machine

    def test_it_takes_one_job_and_is_sent_home(self, stage: Stage, machine: Machine) -> None:
        assert stage.fact("e").max_jobs == 1 and stage.fact("e").takes_work
        stage.want(1, worker="e")
        assert not stage.fact("e").takes_work and not machine.beat().leave
        machine.reports[fence(1)] = ended(1)
        assert not machine.beat().leave
        stage.forget(1, worker="e")
        (sync,) = stage.syncs
        assert sync.leave and sync.ack == (fence(1),)

    def test_it_takes_no_second_one_after_our_restart(self, stage: Stage, machine: Machine) -> None:
        stage.want(1, worker="e")
        stage.restart()
        assert machine.beat().leave and not stage.fact("e").takes_work

    def test_it_is_removed_an_hour_after_it_went_offline(self, stage: Stage, machine: Machine) -> None:
        machine.beat(leaving=True)
        assert stage.fleet.workers["e"].state == "offline"
        stage.pass_by(3_000.0)
        stage.restart()
        stage.pass_by(599.0)
        assert "e" in stage.fleet.workers
        stage.pass_by(2.0)
        assert set(stage.fleet.workers) == {"w"} == set(stage.rows)
        assert allowed(stage) == {"key-w": "w.1"}

    def test_one_with_a_run_is_not(self, stage: Stage, machine: Machine) -> None:
        stage.want(1, worker="e", lease=None)
        stage.pass_by(120.0)
        stage.pass_by(4_000.0)
        assert "e" in stage.fleet.workers

    def test_the_command_line_may_make_it_stay(self, stage: Stage, machine: Machine) -> None:
        machine.fields["persistent"] = True
        machine.restart()
        machine.beat()
        stage.want(1, worker="e")
        assert stage.fact("e").takes_work and not stage.fact("e").ephemeral
