"""When a silent worker's run is lost, to the second; and when it never is."""

from __future__ import annotations

import pytest

from gpuyard.actors.model.commands import ForgetRun
from gpuyard.actors.model.events import AttemptExited, GpuEmptied
from tests.unit.fleet.stage import Machine, Stage, ended, fence, running


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def machine(stage: Stage) -> Machine:
    """It runs fence 1 with a lease of 100 s."""
    machine = Machine(stage)
    machine.beat()
    stage.want(1)
    machine.reports[fence(1)] = running(1)
    machine.beat()
    return machine


def lost(stage: Stage) -> list[int]:
    return [end.fence for end in stage.said(AttemptExited) if end.exit_class == "lost"]


def test_it_is_lost_after_lease_drift_and_margin_and_not_before(stage: Stage, machine: Machine) -> None:
    stage.pass_by(100 * 1.01 + 30 - 0.01)
    assert lost(stage) == []
    stage.pass_by(0.02)
    assert lost(stage) == [fence(1)]
    assert "w for 131 s" in stage.said(AttemptExited)[0].message


def test_every_heartbeat_renews_it(stage: Stage, machine: Machine) -> None:
    for _ in range(30):
        stage.pass_by(10.0)
        machine.beat()
    stage.pass_by(130.0)
    assert lost(stage) == []


def test_a_restart_of_ours_gives_a_full_new_lease(stage: Stage, machine: Machine) -> None:
    stage.pass_by(120.0)
    stage.restart(complete=False)
    stage.want(1, again=True)
    stage.complete()
    stage.pass_by(130.0)
    assert lost(stage) == []
    stage.pass_by(2.0)
    assert lost(stage) == [fence(1)]


def test_it_is_told_again_until_that_is_durable(stage: Stage, machine: Machine) -> None:
    stage.pass_by(132.0)
    stage.pass_by(10.0)
    assert lost(stage) == [fence(1)]
    stage.forget(1, released=False)
    stage.pass_by(10.0)
    assert lost(stage) == []


def test_a_worker_that_comes_back_is_told_to_stop_it_and_its_gpus_are_released_when_they_are_empty(
    stage: Stage, machine: Machine
) -> None:
    stage.pass_by(132.0)
    stage.forget(1, released=False)
    sync = machine.beat()
    assert sync.want[fence(1)].action == "stop" and sync.ack == ()
    machine.reports[fence(1)] = ended(1, "lost", emptied=False)
    assert machine.beat().ack == () and stage.said(GpuEmptied) == []
    machine.reports[fence(1)] = ended(1, "lost")
    machine.beat()
    assert [(e.fence, e.uuids, e.host) for e in stage.said(GpuEmptied)] == [(fence(1), ("g0",), "w")]
    stage.forget(1)
    assert stage.syncs[0].ack == (fence(1),) and stage.syncs[0].want == {}
    machine.reports.clear()
    assert machine.beat().ack == () and stage.fleet.workers["w"].wants == {}


class TestHold:
    def test_it_is_unreachable_and_never_lost(self, stage: Stage, machine: Machine) -> None:
        stage.want(2, lease=None)
        machine.reports[fence(2)] = running(2)
        machine.beat()
        stage.pass_by(120.0)
        assert stage.fact().unreachable == (fence(1), fence(2))
        stage.pass_by(1e6)
        assert lost(stage) == [fence(1)]
        assert stage.fact().unreachable == (fence(2),)

    def test_a_cancelled_one_ends_when_the_present_life_of_its_host_knows_nothing_of_it(self, stage: Stage) -> None:
        machine = Machine(stage)
        machine.beat()
        stage.want(2, lease=None)
        machine.reboot()
        stage.pass_by(40.0)
        machine.beat()
        stage.pass_by(1e5)
        machine.beat()
        assert lost(stage) == []
        stage.stop(2)
        stage.pass_by(1.0)
        assert lost(stage) == [fence(2)]


class TestDeletion:
    def test_runs_of_a_deleted_worker_wait_out_their_lease_and_free_their_gpus(
        self, stage: Stage, machine: Machine
    ) -> None:
        stage.want(2, lease=None)
        stage.do(lambda now, out: stage.fleet.delete("w", now, out, force=True))
        assert lost(stage) == [fence(2)], "of the policy hold: whoever deletes its worker has decided"
        stage.pass_by(130.0)
        assert fence(1) not in lost(stage)
        stage.pass_by(2.0)
        assert fence(1) in lost(stage)
        stage.do(lambda now, out: stage.fleet.forget_run(ForgetRun(fence=fence(1), host="w"), now, out))
        assert [(e.fence, e.host) for e in stage.said(GpuEmptied)] == [(fence(1), "w")]
        for n in (1, 2):
            stage.forget(n)
        stage.pass_by(1e4)
        assert stage.told == []

    def test_after_a_restart_of_ours_they_wait_anew(self, stage: Stage, machine: Machine) -> None:
        stage.do(lambda now, out: stage.fleet.delete("w", now, out, force=True))
        stage.restart(complete=False)
        stage.want(1, again=True)
        stage.complete()
        stage.pass_by(130.0)
        assert lost(stage) == []
        stage.pass_by(2.0)
        assert lost(stage) == [fence(1)]
