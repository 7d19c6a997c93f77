"""A server and a worker of neighbouring versions work together; further apart they say so, and runs live on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuyard.actors.model.wire import PROTOCOL
from tests.e2e.conftest import MakeServer
from tests.e2e.test_worker_life import Place, let_go, lives, restart
from tests.e2e.worker import QUICK, Worker, free_port
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def speaking(version: int) -> list[str]:
    """What to put before a command line, so that it speaks this version."""
    return [sys.executable, "-W", "error", "-m", "tests.e2e.of_version", str(version)]


def change(worker: Worker, version: int) -> None:
    """Another version of the program is started in its place; its runs go on."""
    worker.stop()
    plain = worker.words[worker.words.index("gpuyard") - 4 :]
    worker.words = [*speaking(version), *plain]


@pytest.fixture
def places(make_server: MakeServer, tmp_path: Path) -> Iterator[list[Place]]:
    made = [Place(make_server("--zmq-bind", f"127.0.0.1:{free_port()}", gpus="1", **QUICK), tmp_path)]
    yield made
    for worker in made[0].workers:
        worker.close()


@pytest.fixture
def place(places: list[Place]) -> Place:
    places[0].server.start()
    return places[0]


def test_an_older_worker_keeps_its_runs_and_gets_no_new_one_until_it_is_updated(place: Place) -> None:
    worker = place.enrol("box").start()
    job = place.submit()
    lives(worker, job)
    change(worker, PROTOCOL - 1)
    restart(worker)
    assert "older than the server's: update it" in worker.view()["why"]
    assert worker.view()["current_job_ids"] == [job]
    waiting = place.submit("true")
    (reason, *_) = place.server.job(waiting)["reasons"]
    assert "older than the server's: update it" in reason["text"]
    let_go(worker, job)
    done = place.server.wait(job)
    assert (done["status"], done["attempt"]) == ("completed", 1)
    assert place.server.job(waiting)["status"] == "pending"
    change(worker, PROTOCOL)
    restart(worker)
    assert place.server.wait(waiting)["status"] == "completed"


def test_a_worker_is_served_by_an_older_server(places: list[Place]) -> None:
    place = places[0]
    place.server.prefix = speaking(PROTOCOL - 1)
    place.server.start()
    worker = place.enrol("box").start()
    assert worker.view()["why"] is None
    job = place.submit("echo hello")
    assert place.server.wait(job)["status"] == "completed"
    assert place.logs(job) == "hello\n"


def test_versions_further_apart_refuse_each_other_in_words_and_the_run_lives_on(place: Place) -> None:
    worker = place.enrol("box").start()
    job = place.submit()
    lives(worker, job)
    change(worker, PROTOCOL + 2)
    worker.launch()
    eventually(lambda: "bring the older one up to date" in worker.stderr(), 60, worker.stderr())
    assert f"the worker {PROTOCOL + 1} to {PROTOCOL + 2}" in worker.stderr()
    worker.wait_status("offline")
    assert place.server.job(job)["phase"] == "unreachable"
    change(worker, PROTOCOL)
    worker.start()
    let_go(worker, job)
    done = place.server.wait(job)
    assert (done["status"], done["attempt"]) == ("completed", 1)
