"""A whole worker beside a whole server: enrolled on the command line, chosen by labels, drained, lost, deleted."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import MakeServer
from tests.e2e.server import Server
from tests.e2e.worker import QUICK, WORKERS, Worker, free_port
from tests.support import eventually

pytestmark = pytest.mark.e2e

A100 = {"gpu_type": "a100-80", "location": "us-1"}


class Fleet:
    """A server with one simulated GPU, where workers may connect, and the workers that a test enrolled."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.workers: list[Worker] = []

    def cli(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
        command = [sys.executable, "-W", "error", "-m", "gpuyard", *words]
        environ |= {"GPUYARD_SERVER": self.server.url}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ, check=False)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def enrol(self, name: str, gpus: str = "2", **labels: str) -> Worker:
        words = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
        made = json.loads(self.cli("workers", "add", name, *words, "--format", "json").stdout)
        self.workers.append(Worker(self.server, self.folder / name, name, made["token"], gpus))
        return self.workers[-1]

    def submit(self, *command: str, **more: Any) -> dict[str, Any]:
        return self.server.submit(*command, **{"target": "worker", **more})

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


@pytest.fixture
def fleet(make_server: MakeServer, tmp_path: Path) -> Iterator[Fleet]:
    bind = ("--zmq-bind", f"127.0.0.1:{free_port()}")
    found = Fleet(make_server(*bind, gpus="1", **QUICK).start(), tmp_path)
    yield found
    found.close()


def test_a_job_goes_to_the_worker_that_its_labels_name_and_is_seen_like_any_other(fleet: Fleet) -> None:
    other = fleet.enrol("other", gpu_type="h100").launch()
    box = fleet.enrol("box", **A100).start()
    other.wait_status("idle")
    labels = {"gpu_type": "a100*", "location": "us-*"}
    words = ("sh", "-c", 'echo "on $CUDA_VISIBLE_DEVICES"; pwd; exec sleep 600')
    answer = fleet.submit(*words, worker_labels=labels, num_processes=2)
    assert (answer["status"], answer["allocated_gpus"]) == ("running", [0, 1])
    assert answer["allocated_worker_id"] == box.view()["id"]
    job = fleet.server.wait_phase(answer["job_id"])
    assert (job["provider"], job["worker_name"], job["job_type"]) == ("worker", "box", "local")
    logs = eventually(lambda: fleet.cli("jobs", "logs", answer["job_id"]).stdout)
    assert logs.startswith("on 0,1\n") and str(box.data) in logs
    held = [line for line in fleet.cli("gpus").stdout.splitlines() if "held" in line]
    assert [line.split()[0] for line in held] == ["box:0", "box:1"]
    assert answer["job_id"] in held[0]
    assert "box:0,1" in fleet.cli("jobs", "list").stdout
    workers = fleet.server.stats()["workers"]
    assert (workers["total_workers"], workers["busy_workers"], workers["running_jobs"]) == (2, 1, 1)
    assert fleet.server.post(f"/api/jobs/{answer['job_id']}/cancel").status == 200
    ended = fleet.server.wait(answer["job_id"])
    assert (ended["status"], ended["exit_class"]) == ("cancelled", "cancelled")
    assert ended["worker_name"] == "box", "it is named in history too"
    box.wait_status("idle")
    folder = box.data / "runs" / str(ended["attempts"][0]["fence"])
    assert folder.is_dir()
    assert fleet.server.request("DELETE", f"/api/jobs/{answer['job_id']}").status == 200
    eventually(lambda: not folder.exists(), timeout=30, message="what it left on the worker stays there")


def test_a_job_there_is_followed_as_one_here(fleet: Fleet) -> None:
    """Its log as it grows, its progress, its GPU's load, and its end: each from the machine where it runs."""
    box = fleet.enrol("box", gpus="1").start()
    script = 'for n in 1 2 3; do echo "step $n/4 loss 0.$n"; while [ ! -e go$n ]; do sleep 0.05; done; done; exit 3'
    job = fleet.submit("sh", "-c", script)["job_id"]
    fleet.server.wait_phase(job)
    environ = {**os.environ, "GPUYARD_SERVER": fleet.server.url}
    command = [sys.executable, "-m", "gpuyard", "jobs", "logs", "-f", job]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as follower:
        assert follower.stdout is not None
        for n in (1, 2, 3):
            assert follower.stdout.readline() == f"step {n}/4 loss 0.{n}\n"
            said = eventually(lambda n=n: _progress(fleet, job, n / 4), 30)
            assert said["text"] == f"step {n}/4 loss 0.{n}"
            if n == 2:
                picture = fleet.cli("top", "--once").stdout
                assert job in picture and "step 2/4" in picture and "box:0" in picture, picture
                gpu = eventually(lambda: found if (found := _gpu(fleet, "box:0"))["utilization"] else {}, 30)
                assert (gpu["job_id"], gpu["state"]) == (job, "held")
            (box.data / "jobs" / job / f"go{n}").touch()
        assert follower.stdout.read() == ""
        assert follower.wait(30) in (0, 100)
    assert fleet.server.wait(job)["exit_code"] == 3


def _progress(fleet: Fleet, job: str, share: float) -> dict[str, Any]:
    """What the server reads of it in its log, once it is so far."""
    answer = fleet.server.get(f"/api/jobs/{job}/progress")
    found: dict[str, Any] = answer.body if answer.status == 200 and answer.body.get("share") == share else {}
    return found


def test_a_drained_worker_keeps_its_job_and_gets_no_other_until_it_is_undrained(fleet: Fleet) -> None:
    box = fleet.enrol("box", gpus="2").start()
    running = fleet.submit("sleep", "600")["job_id"]
    fleet.server.wait_phase(running)
    ending = fleet.submit("sleep", "3")["job_id"]
    assert fleet.cli("workers", "drain", "box").stdout == "box draining\n"
    waiting = fleet.submit("true")
    assert fleet.server.wait(ending)["status"] == "completed", "its GPU is free now"
    assert waiting["status"] == "queued"
    assert waiting["reasons"][0]["unblock"] == f"gpuyard workers undrain {box.view()['id']}"
    fleet.server.stop()
    fleet.server.start()
    box.wait_status("draining")
    before = box.view()["connected_at"]
    box.stop()
    box.launch()
    eventually(lambda: box.view()["connected_at"] != before, 60, box.stderr())
    assert box.view()["status"] == "draining" and box.view()["drained"], "whichever side began anew"
    assert fleet.server.job(running)["phase"] in ("running", "unreachable", "assigned")
    assert fleet.server.job(waiting["job_id"])["status"] == "pending"
    fleet.cli("workers", "undrain", "box")
    assert fleet.server.wait(waiting["job_id"])["status"] == "completed"
    assert fleet.server.wait_phase(running)["attempt"] == 1, "it lived through the restart"


def test_auto_takes_a_worker_first_then_the_servers_own_gpu_then_waits_and_hears_of_both(fleet: Fleet) -> None:
    fleet.enrol("box", gpus="1").start()
    first, second, third = (fleet.server.submit("sleep", "600") for _ in range(3))
    assert first["allocated_worker_id"] and second["allocated_worker_id"] is None
    assert (second["status"], third["status"]) == ("running", "queued")
    codes = {reason["code"] for reason in third["reasons"]}
    assert {"WorkersBusy", "LocalJobLimit"} <= codes
    refused = fleet.server.post("/api/queue/submit", {"command": ["true"], "num_processes": 2}).body
    assert (refused["success"], refused["error"]) == (False, "too_big")


def test_a_worker_that_falls_silent_loses_its_job_only_when_the_lease_has_been_waited_out(fleet: Fleet) -> None:
    box = fleet.enrol("box").start()
    job = fleet.submit("sleep", "600", lease_seconds=8, max_attempts=1)["job_id"]
    kept = fleet.submit("sleep", "600", partition_policy="hold")["job_id"]
    for one in (job, kept):
        fleet.server.wait_phase(one)
    box.kill()
    box.wait_status("offline")
    assert fleet.server.wait_phase(job, "unreachable")["status"] == "running"
    lost = fleet.server.wait(job)
    assert lost["status"] == "failed" and lost["error_message"].startswith("worker went offline")
    assert fleet.server.wait_phase(kept, "unreachable")["status"] == "running", "policy hold: an admin decides"
    refused = fleet.cli("workers", "delete", "box", "-y", code=6)
    assert kept in refused.stderr
    assert fleet.cli("workers", "delete", "box", "--force").stdout == "box deleted\n"
    assert fleet.server.wait(kept, "pending", "failed")["exit_class"] in (None, "lost")
    assert fleet.server.get(WORKERS).body == {"workers": []}
    story = _worker_story(fleet)
    assert story[0] == ("worker_added", "connecting")
    # On a slow machine it counts as offline before it comes.
    assert story[-3:] == [("worker_changed", "online"), ("worker_changed", "offline"), ("worker_removed", None)]


def test_gpus_of_a_worker_are_set_aside_from_the_server_and_stay_so(fleet: Fleet) -> None:
    box = fleet.enrol("box", gpus="2").start()
    assert fleet.cli("gpus", "exclude", "box:1").stdout == "GPU box:1 excluded\n"
    assert fleet.submit("sleep", "600")["allocated_gpus"] == [0]
    waiting = fleet.submit("true")
    assert waiting["reasons"][0]["code"] == "WorkersBusy", waiting
    before = box.view()["connected_at"]
    box.stop()
    box.launch()
    eventually(lambda: box.view()["connected_at"] != before, 60, box.stderr())
    (row,) = (line for line in fleet.cli("gpus").stdout.splitlines() if line.startswith("box:1"))
    assert "excluded" in row and "gpuyard gpus include box:1" in row, "the worker has kept it"
    included = fleet.cli("gpus", "include", "box:1").stdout
    assert included in ("GPU box:1 free\n", "GPU box:1 held\n"), "the job that waits may have it already"
    assert fleet.server.wait(waiting["job_id"])["allocated_gpus"] == [1]
    (box.data / "gpu_faults.json").write_text(json.dumps({"1": {"xid": 79}}))
    eventually(lambda: _gpu(fleet, "box:1")["state"] == "quarantined", 30)
    (box.data / "gpu_faults.json").unlink()
    assert "gpuyard gpus clear box:1" in _gpu(fleet, "box:1")["reason"]
    assert fleet.cli("gpus", "clear", "box:1").stdout == "GPU box:1 free\n"
    told = [(line["action"], line["subject"]) for line in fleet.server.get("/api/audit").body["entries"]]
    uuid = _gpu(fleet, "box:1")["uuid"]
    assert ("gpu_clear", f"GPU {uuid} of box") in told, told
    box.stop()
    refused = fleet.cli("gpus", "exclude", "box:1", code=3)
    assert "not connected" in refused.stderr


def _gpu(fleet: Fleet, place: str) -> dict[str, Any]:
    """A worker's GPU as the server shows it: `box:0`."""
    status = fleet.server.get("/api/system/status?include_allocation=true").body
    devices = status["gpu_allocation"]["worker_devices"]
    found: dict[str, Any] = next(gpu for gpu in devices if f"{gpu['worker']}:{gpu['index']}" == place)
    return found


def test_an_ephemeral_worker_does_one_job_and_leaves(fleet: Fleet) -> None:
    made = fleet.server.post(WORKERS, {"name": "once", "worker_type": "ephemeral"}).body
    once = Worker(fleet.server, fleet.folder / "once", "once", made["token"])
    fleet.workers.append(once)
    once.start()
    first, second = fleet.submit("true"), fleet.submit("true")
    assert fleet.server.wait(first["job_id"])["status"] == "completed"
    assert once.process is not None and once.process.wait(30) == 0
    once.wait_status("offline")
    assert fleet.server.job(second["job_id"])["status"] == "pending"


def _worker_story(fleet: Fleet) -> list[tuple[str, Any]]:
    """The stored events of workers up to the first removal, as the stream replays them: (kind, state)."""
    parts = urlsplit(fleet.server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    found: list[tuple[str, Any]] = []
    try:
        connection.request("GET", "/api/events", headers={"Last-Event-ID": "0"})
        stream = connection.getresponse()
        while not found or found[-1][0] != "worker_removed":
            line = stream.readline().decode()
            assert line, f"the stream ended: {found}"
            if line.startswith("data:") and '"worker_' in line:
                event = json.loads(line.removeprefix("data:"))
                found.append((event["kind"], event["data"].get("state")))
    finally:
        connection.close()
    return found
