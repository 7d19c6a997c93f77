"""The network goes silent: what was shorter than a lease costs nothing; after a longer silence no job lives twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.net.fleet import LEASE, MARGIN, TIMEOUT, NetServer
from tests.net.hosts import boottime
from tests.net.scenes import MakeWorker, Scene, Stage, wait_until

# A twentieth of it is time enough to find each other again.
LONG_LEASE = 4 * LEASE


def silence(scene: Scene, share: float) -> float:
    """No word gets through for so many leases, counted from the last one that did; when the lease ended."""
    until = scene.job.wait_renewed(scene.box)
    scene.box.cable.cut_both()
    wait_until(until + (share - 1.0) * scene.lease)
    scene.box.cable.mend()
    return until


def half_a_lease(scene: Scene) -> None:
    silence(scene, 0.5)
    scene.goes_on()


def nearly_a_lease(scene: Scene) -> None:
    silence(scene, 0.95)
    scene.goes_on()


def just_over_a_lease(scene: Scene) -> None:
    until = silence(scene, 1.1)
    scene.began_anew(after=until)


def three_leases(scene: Scene) -> None:
    until = silence(scene, 3.0)
    scene.began_anew(after=until + MARGIN)


def deaf_server(scene: Scene) -> None:
    """What the worker says is lost; what the server says is not."""
    until = scene.job.wait_renewed(scene.box)
    scene.box.cable.cut(1)
    wait_until(until + scene.lease / 2)
    scene.box.cable.mend()
    scene.began_anew(after=until)


def deaf_worker(scene: Scene) -> None:
    """The other way round: the server may hear that it lives, but it has no word of the server."""
    until = scene.job.wait_renewed(scene.box)
    scene.box.cable.cut(0)
    wait_until(until + scene.lease / 2)
    scene.box.cable.mend()
    scene.began_anew(after=until - scene.lease / 2)


def unreachable_is_shown(scene: Scene) -> None:
    """While nobody can tell, that is what everybody sees; then it goes on."""
    until = scene.job.wait_renewed(scene.box)
    scene.box.cable.cut_both()
    scene.server.wait_phase(scene.job.id, "unreachable", timeout=until - boottime())
    assert scene.server.workers()[scene.box.name]["status"] == "offline"
    scene.box.cable.mend()
    scene.goes_on()


def held_for_ever(scene: Scene) -> None:
    """With the policy `hold` no silence ends a run."""
    until = boottime() + 2 * LEASE
    scene.box.cable.cut_both()
    wait_until(until)
    scene.box.cable.mend()
    scene.goes_on()


@pytest.mark.timeout(TIMEOUT)
def test_silence(server: NetServer, make_worker: MakeWorker, tmp_path: Path) -> None:
    stage = Stage(server, make_worker, tmp_path / "jobs")
    for play in (half_a_lease, just_over_a_lease, three_leases, deaf_server, deaf_worker):
        stage.add(play, LEASE)
    stage.add(nearly_a_lease, LONG_LEASE)
    stage.add(unreachable_is_shown, LONG_LEASE)
    stage.add(held_for_ever, LEASE, partition_policy="hold")
    stage.play()
