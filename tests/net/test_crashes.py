"""Agents, keepers and hosts are frozen, killed and restarted: a run lives on where it can, and no job lives twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.keeper.host import kill
from tests.machine import processes_of
from tests.net.fleet import LEASE, TIMEOUT, NetServer
from tests.net.hosts import boottime
from tests.net.scenes import MakeWorker, Scene, Stage, wait_until
from tests.support import eventually

LONG_LEASE = 10 * LEASE


def agent_frozen_for_long(scene: Scene) -> None:
    """Its keeper ends the run; what the agent still believes when it wakes harms nobody."""
    until = scene.job.wait_renewed(scene.box)
    scene.box.freeze()
    wait_until(until + LEASE)
    scene.box.thaw()
    scene.began_anew(after=until)


def agent_frozen_for_a_moment(scene: Scene) -> None:
    scene.box.freeze()
    wait_until(boottime() + LEASE / 2)
    scene.box.thaw()
    scene.goes_on()


def keeper_frozen_in_silence(scene: Scene) -> None:
    """The agent wakes it, so that it does what it must."""
    (keeper,) = scene.box.keepers()
    scene.box.freeze(keeper)
    until = scene.job.wait_renewed(scene.box)
    scene.box.cable.cut_both()
    wait_until(until + LEASE)
    scene.box.cable.mend()
    scene.began_anew(after=until)


def keeper_frozen(scene: Scene) -> None:
    """While the server is heard, nobody needs it."""
    (keeper,) = scene.box.keepers()
    scene.box.freeze(keeper)
    wait_until(boottime() + 1.5 * LEASE)
    scene.box.thaw(keeper)
    scene.goes_on()


def agent_killed_and_restarted(scene: Scene) -> None:
    """The run is found again by the next one."""
    scene.box.kill()
    wait_until(boottime() + LEASE / 3)
    scene.box.launch()
    scene.goes_on()


def agent_killed_for_long(scene: Scene) -> None:
    until = scene.job.wait_renewed(scene.box)
    scene.box.kill()
    wait_until(until + LEASE)
    scene.box.launch()
    scene.began_anew(after=until)


def keeper_killed_in_silence(scene: Scene) -> None:
    """The agent enforces the lease itself."""
    (keeper,) = scene.box.keepers()
    kill(keeper)
    until = scene.job.wait_renewed(scene.box)
    scene.box.cable.cut_both()
    wait_until(until + LEASE)
    scene.box.cable.mend()
    scene.began_anew(after=until)


def keeper_killed(scene: Scene) -> None:
    """The run goes on without it; how it ended nobody can tell, so it is tried again."""
    (keeper,) = scene.box.keepers()
    kill(keeper)
    wait_until(boottime() + 1.5 * LEASE)
    assert len(scene.job.runs()) == 1
    runs = scene.job.finish()
    first, _second = scene.attempts()
    assert len(runs) == 2 and first["error"] == "keeper killed, exit code unknown"


def everything_frozen(scene: Scene) -> None:
    """As when a laptop sleeps: it wakes long after its job went elsewhere."""
    until = scene.job.wait_renewed(scene.box)
    keepers = scene.box.keepers()
    others = [pid for pid in processes_of(scene.box.data) if pid not in keepers]
    scene.box.freeze(*others, *keepers)
    scene.job.wait_lives(2)
    # Which of them the kernel lets run first is its own affair; the keeper needs no time at all.
    scene.box.thaw(*keepers)
    eventually(lambda: not scene.box.keepers(), 30)
    scene.box.thaw(*others)
    scene.began_anew(after=until)


def host_rebooted(scene: Scene) -> None:
    """Nobody waits for a lease whose host says itself that nothing of it is left."""
    until = scene.job.wait_renewed(scene.box)
    scene.box.power_off()
    scene.box.power_on()
    scene.box.launch()
    scene.job.wait_lives(2)
    assert scene.job.runs()[1].begin < until
    scene.began_anew(after=until - scene.lease, because="the machine was restarted")


@pytest.mark.timeout(TIMEOUT)
def test_agents_and_keepers(server: NetServer, make_worker: MakeWorker, tmp_path: Path) -> None:
    stage = Stage(server, make_worker, tmp_path / "jobs")
    # What begins anew in their course takes as long as the machine likes.
    stage.add(agent_killed_and_restarted, LONG_LEASE)
    stage.add(host_rebooted, LONG_LEASE)
    for play in (
        agent_frozen_for_long,
        agent_frozen_for_a_moment,
        agent_killed_for_long,
        keeper_frozen,
        keeper_frozen_in_silence,
        keeper_killed,
        keeper_killed_in_silence,
        everything_frozen,
    ):
        stage.add(play, LEASE)
    stage.play()
