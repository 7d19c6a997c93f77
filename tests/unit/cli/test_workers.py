"""The verbs about workers: what they ask, what they print, and where a token goes."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Gpuyard
from tests.unit.cli.recorder import Answer, Asked, Recorder, job
from tests.unit.cli.test_verbs import STATS, SYSTEM

W = "w-aaaaaaaaaaaa"
PATH = "/api/admin/workers"
SECRET = "gyw1_" + "s" * 60
LINE = f"GPUYARD_WORKER_TOKEN={SECRET} gpuyard worker"
IDLE: dict[str, Any] = {
    "id": W,
    "name": "gpu-box",
    "status": "idle",
    "worker_type": "persistent",
    "gpu_count": 4,
    "gpu_name": "A100",
    "gpu_vram_gb": 80.0,
    "labels": {"gpu_type": "a100", "location": "us-1"},
    "current_job_id": None,
    "current_job_ids": [],
    "last_heartbeat": "2026-11-22T02:05:00.000Z",
    "connected_at": "2026-11-22T02:00:00.000Z",
    "enrolled_at": "2026-11-21T02:00:00.000Z",
    "drained": False,
    "max_jobs": None,
    "cpu_count": 64,
    "version": "0.1.0",
    "address": "10.0.0.7",
    "why": None,
    "unreachable": [],
    "orphans": [],
}
BUSY = IDLE | {"status": "busy", "current_job_id": "jobaaaaaaaaa", "current_job_ids": ["jobaaaaaaaaa"]}
NEW = {"success": True, "worker_id": W, "name": "gpu-box", "token": SECRET, "connection_command": LINE}
NEW |= {"endpoint": "tcp://queue:8100", "worker": IDLE | {"status": "connecting", "gpu_count": None}}


@pytest.fixture(autouse=True)
def _workers(server: Recorder) -> None:
    new = IDLE | {"id": "w-b", "name": "b", "status": "connecting", "gpu_count": None, "last_heartbeat": None}
    server.on("GET", PATH, Answer({"workers": [BUSY, new | {"why": "it has not been heard yet"}]}))
    server.on("POST", PATH, Answer(NEW))
    server.on("GET", f"{PATH}/gpu-box", Answer(IDLE))
    server.on("POST", f"{PATH}/gpu-box/token", Answer(NEW))
    for verb, status in (("drain", "draining"), ("undrain", "idle")):
        server.on("POST", f"{PATH}/gpu-box/{verb}", Answer(IDLE | {"status": status}))
    server.on("DELETE", f"{PATH}/{W}", Answer({"success": True, "worker_id": W, "name": "gpu-box"}))


def only(server: Recorder, method: str, path: str) -> Asked:
    (asked,) = server.of(method, path)
    return asked


def test_list_shows_what_each_does(gpuyard: Gpuyard) -> None:
    lines = gpuyard("workers", "list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "GPUS", "JOBS", "LABELS", "HEARD", "ID", "NOTE"]
    assert "gpu-box" in lines[1] and "busy" in lines[1] and "jobaaaaaaaaa" in lines[1] and W in lines[1]
    assert "gpu_type=a100" in lines[1]
    assert "connecting" in lines[2] and "never" in lines[2] and "it has not been heard yet" in lines[2]


def test_no_worker_is_an_empty_list(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", PATH, Answer({"workers": []}))
    assert gpuyard("workers", "list", "--format", "json").stdout == "[]\n"


def test_get_shows_what_there_is_and_what_lives_there_without_being_wanted(gpuyard: Gpuyard, server: Recorder) -> None:
    orphan = {"fence": 7, "job_id": "old", "pid": 4711}
    server.on("GET", f"{PATH}/gpu-box", Answer(BUSY | {"orphans": [orphan], "unreachable": ["jobaaaaaaaaa"]}))
    text = gpuyard("workers", "get", "gpu-box").stdout
    assert "4 × A100, 80 GB" in text and "10.0.0.7" in text and "run 7 of job old, pid 4711" in text
    assert json.loads(gpuyard("workers", "get", "gpu-box", "--format", "json").stdout)["id"] == W


def test_a_wrong_clock_is_said(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", PATH, Answer({"workers": [IDLE | {"clock_ahead_seconds": -7200.0}]}))
    server.on("GET", f"{PATH}/gpu-box", Answer(IDLE | {"clock_ahead_seconds": 90.0}))
    assert "its clock is 2h00m behind: set it" in gpuyard("workers", "list").stdout
    assert "its clock is 1m30s ahead: set it" in gpuyard("workers", "get", "gpu-box").stdout


def test_an_orphan_is_stopped_by_its_number_and_only_when_that_is_confirmed(gpuyard: Gpuyard, server: Recorder) -> None:
    for run in (7, 8):
        server.on("POST", f"{PATH}/gpu-box/orphans/{run}/stop", Answer({"success": True, "worker_id": W, "fence": run}))
    refused = gpuyard("workers", "stop-orphan", "gpu-box", "7")
    assert refused.exit_code == 2 and "of which this database knows nothing" in refused.stderr
    assert not server.of("POST", f"{PATH}/gpu-box/orphans/7/stop")
    done = gpuyard("workers", "stop-orphan", "gpu-box", "7", "8", "-y")
    assert done.stdout == "run 7 is being stopped\nrun 8 is being stopped\n"


def test_add_prints_the_line_that_starts_it_and_nothing_else_on_stdout(gpuyard: Gpuyard, server: Recorder) -> None:
    result = gpuyard("workers", "add", "gpu-box", "--label", "gpu_type=a100", "--label", "location=us-1")
    assert result.stdout == f"{LINE}\n"
    assert "shown this once" in result.stderr and SECRET not in result.stderr
    body = only(server, "POST", PATH).body
    assert body == {
        "name": "gpu-box",
        "worker_type": "persistent",
        "labels": {"gpu_type": "a100", "location": "us-1"},
    }


def test_add_can_put_the_token_into_a_file_of_its_own(gpuyard: Gpuyard, tmp_path: Path) -> None:
    file = tmp_path / "box.token"
    result = gpuyard("workers", "add", "gpu-box", "--ephemeral", "--save", str(file))
    assert file.read_text().strip() == SECRET and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SECRET not in result.output and f"--worker-token-file {file}" in result.stderr
    again = gpuyard("workers", "add", "gpu-box", "--save", str(file), "--format", "json")
    assert file.read_text().strip() == SECRET, "a file that is there is left alone"
    assert json.loads(again.stdout)["token"] == SECRET


def test_a_label_without_a_value_is_a_usage_error(gpuyard: Gpuyard, server: Recorder) -> None:
    assert gpuyard("workers", "add", "x", "--label", "gpu").exit_code == 2
    assert server.asked == []


def test_drain_and_undrain(gpuyard: Gpuyard) -> None:
    assert gpuyard("workers", "drain", "gpu-box").stdout == "gpu-box draining\n"
    assert gpuyard("workers", "undrain", "gpu-box").stdout == "gpu-box idle\n"


def test_a_new_token(gpuyard: Gpuyard, server: Recorder) -> None:
    assert gpuyard("workers", "rotate-token", "gpu-box", "--now").stdout == f"{LINE}\n"
    assert only(server, "POST", f"{PATH}/gpu-box/token").body == {"now": True}


def test_delete_asks_and_says_what_stands_in_the_way(gpuyard: Gpuyard, server: Recorder) -> None:
    assert gpuyard("workers", "delete", "gpu-box").exit_code == 2, "nobody can be asked"
    assert gpuyard("workers", "delete", "gpu-box", "-y").stdout == "gpu-box deleted\n"
    assert only(server, "DELETE", f"{PATH}/{W}").query == {}
    server.on("GET", f"{PATH}/gpu-box", Answer(BUSY))
    refused = gpuyard("workers", "delete", "gpu-box", "-y")
    assert refused.exit_code == 6
    assert "it has 1 job: jobaaaaaaaaa" in refused.stderr and "gpuyard workers drain gpu-box" in refused.stderr
    assert gpuyard("workers", "delete", "gpu-box", "--force").exit_code == 0
    assert server.of("DELETE", f"{PATH}/{W}")[-1].query == {"force": "true"}


def test_an_unknown_worker_ends_with_5_and_no_zeromq_with_6(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", f"{PATH}/nobody", Answer({"detail": "there is no worker nobody", "code": "not_found"}, 404))
    assert gpuyard("workers", "get", "nobody").exit_code == 5
    server.on("POST", PATH, Answer({"detail": "start the server with --zmq-bind", "code": "wrong_state"}, 409))
    refused = gpuyard("workers", "add", "x")
    assert refused.exit_code == 6 and "--zmq-bind" in refused.stderr


def test_what_a_hostile_worker_says_of_itself_cannot_steer_the_terminal(gpuyard: Gpuyard, server: Recorder) -> None:
    bad = IDLE | {"name": "x\x1b[2J", "labels": {"a": "\x1b]0;t\x07"}, "gpu_name": "\x1b[31m", "version": "\x1b[1m"}
    server.on("GET", PATH, Answer({"workers": [bad]}))
    server.on("GET", f"{PATH}/x", Answer(bad))
    for words in (["list"], ["get", "x"]):
        assert "\x1b" not in gpuyard("workers", *words).stdout


REMOTE = {
    "worker_devices": [
        {"index": 0, "name": "H100", "memory_gb": 80, "allocated": True, "job_id": "jobaaaaaaaaa", "state": "held"}
        | {"memory_used_gb": 70.0, "utilization": 88, "worker_id": W, "worker": "gpu-box", "reason": None}
    ]
}


def test_gpus_shows_those_of_workers_behind_the_servers_own(gpuyard: Gpuyard, server: Recorder) -> None:
    system = SYSTEM | {"gpu_allocation": SYSTEM["gpu_allocation"] | REMOTE}  # type: ignore[operator]
    server.on("GET", "/api/system/status", Answer(system))
    lines = gpuyard("gpus").stdout.splitlines()
    assert len(lines) == 4 and "gpu-box:0" in lines[3] and "88%" in lines[3] and "jobaaaaaaaaa" in lines[3]
    found = json.loads(gpuyard("gpus", "--format", "json", "-o", "worker,index").stdout)
    assert found[2] == {"worker": "gpu-box", "index": 0} and found[0]["worker"] is None


def test_a_job_on_a_worker_is_shown_with_its_workers_name(gpuyard: Gpuyard, server: Recorder) -> None:
    there = job("jobaaaaaaaaa", status="running", phase="unreachable", allocated_gpus=[0, 1])
    there |= {"worker_id": W, "worker_name": "gpu-box"}
    server.on("GET", "/api/jobs", Answer({"jobs": [there], "total": 1}))
    line = gpuyard("jobs", "list").stdout.splitlines()[1]
    assert "gpu-box:0,1" in line and "unreachable" in line


def test_status_counts_workers_and_their_jobs(gpuyard: Gpuyard, server: Recorder) -> None:
    workers = {"total_workers": 3, "idle_workers": 1, "busy_workers": 1, "offline_workers": 1, "draining_workers": 0}
    workers |= {"connecting_workers": 0, "running_jobs": 2, "pending_jobs": 5}
    server.on("GET", "/api/queue/stats", Answer(STATS | {"workers": workers}))
    text = gpuyard("queue", "status").stdout
    assert "3 workers: 1 idle, 1 busy, 1 offline" in text and "2 running, 5 waiting" in text


def test_submit_says_what_a_worker_must_have_and_how_a_silent_one_is_treated(
    gpuyard: Gpuyard, server: Recorder
) -> None:
    server.on("POST", "/api/queue/submit", Answer({"success": True, "job_id": "jobaaaaaaaaa", "status": "queued"}))
    words = ["--target", "worker", "--worker-label", "gpu_type=a100*", "--gpu-memory", "40", "--lease-seconds", "30m"]
    words += ["--partition-policy", "hold", "--checkpoint-signal", "SIGUSR1"]
    assert gpuyard("jobs", "submit", "my-config", *words).exit_code == 0
    body = only(server, "POST", "/api/queue/submit").body
    assert body == {
        "config_name": "my-config",
        "target": "worker",
        "worker_labels": {"gpu_type": "a100*"},
        "gpu_memory_gb": 40.0,
        "lease_seconds": 1800.0,
        "partition_policy": "hold",
        "checkpoint_signal": "SIGUSR1",
    }
