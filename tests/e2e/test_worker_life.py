"""What a worker's runs live through: its own end, new keys, and a server whose database is not the one that it was."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MakeServer
from tests.e2e.server import Server
from tests.e2e.worker import QUICK, WORKERS, Worker, free_port
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

UNTIL_GO = "echo up; while [ ! -e go ]; do sleep 0.05; done; echo done"


class Place:
    """A server where workers may connect, and the workers that a test made there."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.workers: list[Worker] = []

    def enrol(self, name: str) -> Worker:
        answer = self.server.post(WORKERS, {"name": name})
        assert answer.status == 200, answer.body
        self.workers.append(Worker(self.server, self.folder / name, name, answer.body["token"], "2"))
        return self.workers[-1]

    def submit(self, script: str = UNTIL_GO, **more: Any) -> str:
        answer = self.server.submit("/bin/sh", "-c", script, **{"target": "worker", **more})
        job_id: str = answer["job_id"]
        return job_id

    def logs(self, job_id: str) -> str:
        answer = self.server.get(f"/api/jobs/{job_id}/logs")
        assert answer.status == 200, answer.body
        text: str = answer.body["logs"]
        return text


@pytest.fixture
def place(make_server: MakeServer, tmp_path: Path) -> Iterator[Place]:
    bind = ("--zmq-bind", f"127.0.0.1:{free_port()}")
    found = Place(make_server(*bind, gpus="1", **QUICK).start(), tmp_path)
    yield found
    for worker in found.workers:
        worker.close()


def folder_of(worker: Worker, job_id: str) -> Path:
    return worker.data / "jobs" / job_id


def restart(worker: Worker) -> None:
    """Until the server has heard the new one: its view of the old one stands for a while."""
    before = worker.view()["connected_at"]
    worker.start()
    eventually(lambda: worker.view()["connected_at"] != before, 60, worker.stderr())


def lives(worker: Worker, job_id: str) -> None:
    """Its program runs on that worker now."""
    log = worker.data / "runs"
    eventually(lambda: any("up" in path.read_text() for path in log.glob("*/log")), 30, worker.stderr())
    assert not (folder_of(worker, job_id) / "go").exists()


def let_go(worker: Worker, job_id: str) -> None:
    (folder_of(worker, job_id) / "go").touch()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_run_outlives_its_worker(place: Place, how: str) -> None:
    worker = place.enrol("box").start()
    job = place.submit()
    place.server.wait_phase(job)
    assert worker.stop() == 0 if how == "stop" else worker.kill() is None
    assert not worker.server.job(job)["is_terminal"]
    let_go(worker, job)
    worker.start()
    done = place.server.wait(job, timeout=60)
    assert (done["status"], done["attempt"], done["exit_code"]) == ("completed", 1, 0)
    assert place.logs(job) == "up\ndone\n"


def test_a_stopping_worker_gets_no_new_job(place: Place) -> None:
    worker = place.enrol("box").start()
    assert worker.stop() == 0
    answer = place.server.submit("true", target="worker")
    assert answer["status"] == "queued" and answer["reasons"], answer
    assert "stopping; runs go on" in worker.stderr()


def test_a_config_brings_its_files_along(place: Place) -> None:
    worker = place.enrol("box").start()
    configs = place.server.configs / "tiny"
    (configs / "lib").mkdir(parents=True)
    (configs / "config.toml").write_text(
        'command = ["python3", "train.py"]\nfiles = ["train.py", "lib"]\ntarget = "worker"\n'
    )
    (configs / "train.py").write_text("import lib.words; print(lib.words.SAY, open('lib/big').seek(0, 2))\n")
    (configs / "lib" / "__init__.py").touch()
    (configs / "lib" / "words.py").write_text("SAY = 'sent along'\n")
    (configs / "lib" / "big").write_bytes(bytes(1_000_000))
    answer = place.server.post("/api/queue/submit", {"config_name": "tiny"})
    assert answer.body["success"], answer.body
    (configs / "train.py").write_text("print('changed since')\n")
    job = answer.body["job_id"]
    done = place.server.wait(job, timeout=60)
    assert done["status"] == "completed", (done, place.logs(job))
    assert place.logs(job) == "sent along 1000000\n"
    assert (folder_of(worker, job) / "lib" / "words.py").exists()
    here = place.server.post("/api/queue/submit", {"config_name": "tiny", "target": "local"})
    assert place.server.wait(here.body["job_id"])["status"] == "completed"
    assert place.logs(here.body["job_id"]) == "changed since\n", "the same on the server's own GPUs"


def test_a_file_that_is_not_there_refuses_the_job(place: Place) -> None:
    (place.server.configs / "tiny.toml").write_text('command = ["true"]\nfiles = ["gone.py"]\n')
    answer = place.server.post("/api/queue/submit", {"config_name": "tiny"})
    assert (answer.status, answer.body["success"]) == (200, False)
    assert answer.body["reason"] == "config tiny: files: gone.py: no such file or directory"


def test_a_new_token_while_a_job_runs(place: Place) -> None:
    worker = place.enrol("box").start()
    job = place.submit()
    lives(worker, job)
    made = place.server.post(f"{WORKERS}/box/token", {})
    assert made.status == 200, made.body
    old, worker.token = worker.token, made.body["token"]
    # Until the new one is used the old one works.
    assert worker.view()["status"] == "busy"
    worker.stop()
    restart(worker)
    assert worker.view()["current_job_ids"] == [job]
    # Now the old one does not.
    worker.stop()
    worker.token = old
    worker.launch()
    eventually(lambda: "refuses us" in worker.stderr(), 30, worker.stderr())
    assert old not in worker.stderr()
    worker.stop()
    worker.token = made.body["token"]
    worker.start()
    let_go(worker, job)
    done = place.server.wait(job)
    assert (done["status"], done["attempt"]) == ("completed", 1)


def test_a_revoked_token_silences_the_worker_but_ends_no_run(place: Place) -> None:
    worker = place.enrol("box").start()
    job = place.submit()
    lives(worker, job)
    made = place.server.post(f"{WORKERS}/box/token", {"now": True})
    eventually(lambda: "refuses us" in worker.stderr(), 60, worker.stderr())
    assert worker.process is not None and worker.process.poll() is None, "it keeps trying"
    worker.wait_status("offline")
    assert place.server.job(job)["phase"] == "unreachable"
    worker.stop()
    worker.token = made.body["token"]
    worker.start()
    let_go(worker, job)
    done = place.server.wait(job)
    assert (done["status"], done["attempt"]) == ("completed", 1)


def orphans(worker: Worker) -> list[Any]:
    found: list[Any] = worker.view()["orphans"]
    return found


def test_an_older_database_shows_the_run_as_an_orphan_and_lets_it_live(place: Place) -> None:
    worker = place.enrol("box").start()
    backup = place.folder / "backup.db"
    cli(place, "db", "backup", str(backup))
    job = place.submit()
    lives(worker, job)
    place.server.stop()
    cli(place, "db", "restore", str(backup), "--yes")
    place.server.start()
    worker.wait_status("idle", "busy")
    (orphan,) = eventually(lambda: orphans(worker), 30)
    assert orphan["job_id"] == job
    assert place.server.get(f"/api/jobs/{job}").status == 404
    # It keeps its GPU: another job gets the other one.
    others = [place.submit("sleep 60", num_processes=2), place.submit("echo $CUDA_VISIBLE_DEVICES")]
    assert place.server.wait(others[1])["status"] == "completed"
    assert place.logs(others[1]) == "1\n"
    assert place.server.job(others[0])["status"] == "pending"
    let_go(worker, job)
    eventually(lambda: not orphans(worker), 30)
    place.server.wait_phase(others[0])
    assert "completed" in worker.stderr()


def test_no_job_starts_beside_its_run_that_an_older_database_forgot(place: Place) -> None:
    """It waits there, and says for what; an administrator ends the run, and the job begins anew."""
    worker = place.enrol("box").start()
    drain(place, "drain")
    job = place.submit()
    backup = place.folder / "backup.db"
    cli(place, "db", "backup", str(backup))
    drain(place, "undrain")
    place.server.wait_phase(job)
    lives(worker, job)
    first = place.server.job(job)["attempts"][-1]["fence"]
    place.server.stop()
    cli(place, "db", "restore", str(backup), "--yes")
    place.server.start()
    eventually(lambda: orphans(worker), 60)
    drain(place, "undrain")
    assert place.server.job(job)["status"] == "pending"
    (reason, *_) = place.server.get(f"/api/queue/position/{job}").body["reasons"]
    assert (reason["code"], reason["detail"]["fence"]) == ("Orphan", first), reason
    assert reason["unblock"] == f"gpuyard workers stop-orphan {worker.view()['id']} {first}"
    asked = cli(place, "workers", "stop-orphan", "box", str(first), "--yes", server=True)
    assert asked == f"run {first} is being stopped\n"
    place.server.wait_phase(job)
    assert not [orphan for orphan in orphans(worker) if orphan["fence"] == first]
    (attempt,) = place.server.job(job)["attempts"]
    assert attempt["fence"] > first
    told = [line["action"] for line in place.server.get("/api/audit").body["entries"]]
    assert "orphan_stopped" in told


def drain(place: Place, verb: str) -> None:
    assert place.server.post(f"{WORKERS}/box/{verb}").status == 200


def test_an_administrator_of_another_database_ends_what_the_first_one_left(place: Place) -> None:
    worker = place.enrol("box").start()
    job = place.submit()
    lives(worker, job)
    change_database(place, worker)
    (orphan,) = eventually(lambda: orphans(worker), 60)
    assert orphan["job_id"] == job
    cli(place, "workers", "stop-orphan", "box", str(orphan["fence"]), "--yes", server=True)
    mine = place.submit("echo mine")
    assert place.server.wait(mine, timeout=60)["status"] == "completed"
    assert not folder_of(worker, job).joinpath("go").exists(), "it did not end by itself"


def change_database(place: Place, worker: Worker) -> None:
    """The data folder is emptied of its database; the worker is enrolled anew there."""
    place.server.stop()
    for path in place.server.data.glob("jobs.db*"):
        shutil.move(path, place.folder / path.name)
    place.server.start()
    # Nobody knows its key there: it is refused, and its run lives on.
    eventually(lambda: "refuses us" in worker.stderr(), 60, worker.stderr())
    worker.stop()
    worker.token = place.server.post(WORKERS, {"name": "box"}).body["token"]
    worker.launch()
    eventually(lambda: "another database" in worker.stderr(), 60, worker.stderr())


def test_another_database_is_obeyed_once_nothing_of_the_first_one_lives(place: Place) -> None:
    worker = place.enrol("box").start()
    job = place.submit()
    lives(worker, job)
    change_database(place, worker)
    mine = place.submit("echo mine")
    assert place.server.job(mine)["status"] == "pending"
    let_go(worker, job)
    assert place.server.wait(mine, timeout=60)["status"] == "completed"
    assert place.logs(mine) == "mine\n"
    assert "gives us work again" in worker.stderr()


def cli(place: Place, *words: str, server: bool = False) -> str:
    """What it printed; `server`: it asks the server, rather than look at its data."""
    command = [sys.executable, "-m", "gpuyard", *words]
    command += ["--server", place.server.url] if server else ["--data-dir", str(place.server.data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
