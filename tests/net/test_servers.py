"""The server goes away and comes back, and a folder is copied: runs live on, and a key has one live worker."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.worker import Worker
from tests.net.fleet import LEASE, TIMEOUT, Machine, NetServer
from tests.net.hosts import boottime
from tests.net.scenes import MakeWorker, Scene, Stage, wait_until
from tests.support import eventually


def lives_through_a_restart(scene: Scene) -> None:
    scene.goes_on()


def lives_through_a_short_one(scene: Scene) -> None:
    scene.goes_on()


def lives_beside_its_clone(scene: Scene) -> None:
    scene.goes_on()


def lives_through_a_long_one(scene: Scene) -> None:
    """Its policy is `hold`: it lives without a server for as long as that takes."""
    scene.goes_on()


def outlives_its_lease(scene: Scene) -> None:
    """Nobody can tell the server that it has ended before the server is back; then it is told, and begins anew."""
    scene.began_anew(after=scene.job.runs()[0].end)


@pytest.mark.timeout(TIMEOUT)
def test_a_server_that_is_killed_and_comes_back(server: NetServer, make_worker: MakeWorker, tmp_path: Path) -> None:
    stage = Stage(server, make_worker, tmp_path / "jobs")
    stage.add(lives_through_a_restart, 10 * LEASE)
    stage.add(lives_through_a_long_one, LEASE, partition_policy="hold")
    stage.add(outlives_its_lease, LEASE)
    for scene, _ in stage.scenes:
        scene.job.wait_lives()
    until = stage.scenes[-1][0].job.wait_renewed(stage.scenes[-1][0].box)
    server.kill()
    wait_until(until + LEASE / 2)
    server.start()
    stage.play()


@pytest.mark.timeout(TIMEOUT)
def test_a_server_that_is_quick_to_come_back_costs_nothing(
    server: NetServer, make_worker: MakeWorker, tmp_path: Path
) -> None:
    stage = Stage(server, make_worker, tmp_path / "jobs")
    stage.add(lives_through_a_short_one, 10 * LEASE)
    (scene, _) = stage.scenes[0]
    scene.job.wait_lives()
    server.stop()
    server.start()
    # Every attempt has got a full new lease: it is longer than what was left of the old one.
    until = boottime() + 10 * LEASE
    eventually(lambda: scene.job.lease_until(scene.box) > until - 1.0, 60)
    stage.play()


@pytest.mark.timeout(TIMEOUT)
def test_a_copied_folder_is_refused(server: NetServer, make_worker: MakeWorker, tmp_path: Path) -> None:
    stage = Stage(server, make_worker, tmp_path / "jobs")
    stage.add(lives_beside_its_clone, LEASE)
    (scene, _) = stage.scenes[0]
    scene.job.wait_lives()
    clone = Clone(scene.box, tmp_path / "clone")
    try:
        clone.launch()
        eventually(lambda: "clone" in clone.stderr() or "gives us no work" in clone.stderr(), 30, clone.stderr())
        assert any("clone" in str(line) for line in server.get("/api/audit").body["entries"])
        assert clone.keepers() == []
    finally:
        clone.power_off()
    stage.play()


class Clone(Machine):
    """A machine that was made from another one's disk: the same key, the same journal, another boot."""

    def __init__(self, original: Machine, folder: Path) -> None:
        Worker.__init__(self, original.server, folder, original.name, original.token, original.gpus)
        shutil.copytree(original.data, self.data, ignore=shutil.ignore_patterns("*.sock", "control", "worker.lock"))
        self.environ = original.environ
        self.boots = 1_000
        self.power_on()
