"""The command line against a real server, as a person would use it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import Server
from tests.support import eventually

pytestmark = pytest.mark.e2e

SLEEP = ("sleep", "600")
EXAMPLES = Path(__file__).parents[2] / "tools" / "examples"


class Cli:
    """`gpuyard …` in a folder of its own, against one server."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
        environ |= {"GPUYARD_SERVER": self.server.url, "SECRET_OF_THE_SHELL": "x"}
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "gpuyard", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=environ,
        )
        self._started.append(process)
        return process

    def __call__(self, *words: str, code: int = 0) -> str:
        """What it prints; it must end with `code`."""
        out, told = self.start(*words).communicate(timeout=100)
        assert self._started[-1].returncode == code, (words, out, told)
        self.told = told
        return out

    def submit(self, *words: str) -> str:
        return self("jobs", "submit", "-o", "job_id", *words).strip()

    def close(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()


@pytest.fixture
def cli(server: Server, tmp_path: Path) -> Iterator[Cli]:
    folder = tmp_path / "here"
    folder.mkdir()
    cli = Cli(server, folder)
    yield cli
    cli.close()


def test_run_is_the_command_but_through_the_queue(cli: Cli) -> None:
    (cli.folder / "train.py").write_text(
        "import os, sys\n"
        "print(os.getcwd(), os.environ['CUDA_VISIBLE_DEVICES'], os.environ.get('GIVEN'), sys.argv[1:])\n"
        "print('SECRET_OF_THE_SHELL' in os.environ)\n"
        "sys.exit(7)\n"
    )
    words = ("run", "--gpus", "2", "--env", "GIVEN=this", "--", sys.executable, "train.py", "--lr", "1e-4", "$HOME; ls")
    out = cli(*words, code=7)
    assert out == f"{cli.folder} 0,1 this ['--lr', '1e-4', '$HOME; ls']\nFalse\n"


def test_ctrl_c_of_run_cancels_the_job_and_nothing_of_it_is_left(cli: Cli, server: Server) -> None:
    process = cli.start("run", "--", sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    (job_id,) = [entry["job_id"] for entry in server.get("/api/queue").body["entries"]]
    pid = server.job(job_id)["attempts"][0]["pid"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert server.job(job_id)["status"] == "cancelled"
    assert not Path(f"/proc/{pid}").exists()


def test_a_config_by_name_with_the_example_training(cli: Cli, server: Server) -> None:
    shutil.copytree(EXAMPLES / "configs", server.configs, dirs_exist_ok=True)
    shutil.copy(EXAMPLES / "train_tiny.py", server.configs.parent / "train_tiny.py")
    out = cli("jobs", "submit", "tiny", "--follow")
    assert re.search(r"^done: loss \S+ -> \S+ in 400 steps$", out, re.MULTILINE)
    (job,) = json.loads(cli("jobs", "list", "--format", "json", "-o", "job_id,status,metadata.run_name"))
    assert (job["status"], job["metadata.run_name"]) == ("completed", "sonnets-tiny")
    assert cli("jobs", "logs", job["job_id"], "--tail", "1").startswith("done: loss")
    cli("jobs", "submit", "tiny-2gpu", "--dry-run")
    assert "GPUs 0,1" in cli("jobs", "submit", "tiny-2gpu", "--dry-run")


def test_a_waiting_job_says_why_and_following_its_advice_starts_it(cli: Cli, server: Server) -> None:
    server.limits(local_job_max_concurrent=1)
    first = cli.submit("--", *SLEEP)
    second = cli.submit("--", "true")
    why = cli("jobs", "why", second[:6])
    advice = re.search(r"to start it: gpuyard (.*)$", why, re.MULTILINE)
    assert advice, why
    assert "LocalJobLimit" in why
    cli(*advice[1].split())
    assert server.wait(second)["status"] == "completed"
    assert cli("jobs", "cancel", first) == f"{first} is being stopped\n"


def test_no_wait_and_dry_run(cli: Cli, server: Server) -> None:
    server.limits(local_job_max_concurrent=1)
    cli.submit("--", *SLEEP)
    cli("jobs", "submit", "--no-wait", "--", "true", code=7)
    assert cli("jobs", "submit", "-n", "--no-wait", "--", "true").startswith("would be refused")
    assert cli("jobs", "submit", "-n", "--", "true").startswith("would be queued, number 1")
    assert cli("jobs", "submit", "--gpus", "5", "-n", "--", "true").startswith("would be refused")
    cli("jobs", "submit", "--gpus", "5", "--", "true", code=1)
    cli("jobs", "submit", "no-such-config", code=1)
    cli("jobs", "submit", "../../etc/passwd", code=2)
    assert len(server.get("/api/jobs").body["jobs"]) == 1


def test_cancel_in_all_its_forms(cli: Cli, server: Server) -> None:
    ids = [cli.submit("--", *SLEEP) for _ in range(5)]
    cli("jobs", "cancel", "--all", code=2)
    assert cli("jobs", "cancel", "--status", "pending", "-n") == f"{ids[4]}\n"
    assert cli("jobs", "cancel", "--status", "queued", "-y") == f"{ids[4]}\n"
    assert sorted(cli("jobs", "cancel", *ids[:2]).split()) == sorted(ids[:2])
    assert "gpuyard queue process" in cli.told
    cli("jobs", "cancel", "--all", "--all-users", "-y")
    for job_id in ids:
        assert server.wait(job_id)["status"] == "cancelled"
    cli("jobs", "cancel", ids[0], code=6)
    cli("jobs", "cancel", "zzzzzzzzzzzz", code=5)
    retried = cli("jobs", "retry", ids[0], "-o", "job_id").splitlines()[-1]
    assert server.job(retried)["retry_of"] == ids[0]


def test_following_a_log_goes_on_across_a_server_restart(cli: Cli, server: Server) -> None:
    script = (
        "import pathlib, sys, time\n"
        "for n in range(3):\n"
        "    print('line', n, flush=True)\n"
        "    while not pathlib.Path(f'go-{n}').exists(): time.sleep(0.01)\n"
    )
    job_id = cli.submit("--", sys.executable, "-c", script)
    follower = cli.start("jobs", "logs", "-f", job_id)
    assert follower.stdout is not None
    assert follower.stdout.readline() == "line 0\n"
    port = server.url.rpartition(":")[2]
    server.kill()
    (cli.folder / "go-0").touch()
    server.flags += ["--port", port]
    server.start()
    assert follower.stdout.readline() == "line 1\n"
    (cli.folder / "go-1").touch()
    assert follower.stdout.readline() == "line 2\n"
    (cli.folder / "go-2").touch()
    out, told = follower.communicate(timeout=60)
    assert (out, follower.returncode) == ("", 0)
    assert "connection lost" in told and "completed" in told


def test_wait_knows_how_each_ended(cli: Cli) -> None:
    good, bad = cli.submit("--", "true"), cli.submit("--", "false")
    cli("jobs", "wait", good)
    cli("jobs", "wait", good, bad, code=100)
    late = cli.submit("--time-limit", "0.2s", "--", *SLEEP)
    cli("jobs", "wait", late, code=101)
    slow = cli.submit("--", *SLEEP)
    cli("jobs", "wait", slow, "--timeout", "0.1", code=101)


def test_hold_release_priority_and_approval(cli: Cli, server: Server) -> None:
    server.limits(local_job_max_concurrent=1)
    cli.submit("--", *SLEEP)
    first, second = cli.submit("--", *SLEEP), cli.submit("--", *SLEEP)
    assert cli("jobs", "priority", second, "critical") == f"{second} priority 30 → 40\n"
    assert server.job(second)["position"] == 1
    cli("jobs", "hold", first)
    assert "Held" in cli("jobs", "why", first)
    cli("jobs", "release", first)
    assert "Held" not in cli("jobs", "why", first)
    blocked = cli.submit("--requires-approval", "--", "true")
    assert server.job(blocked)["status"] == "blocked"
    cli("jobs", "approval", blocked, "reject", "--reason", "too big")
    assert server.job(blocked)["error_message"] == "Rejected: too big"
    cli("jobs", "approval", blocked, "approve", code=6)


def test_version_names_the_servers_too(cli: Cli) -> None:
    found = json.loads(cli("version", "--format", "json"))
    assert found["server"] == found["gpuyard"]


def test_status_json_is_the_stats_object(cli: Cli, server: Server) -> None:
    found = json.loads(cli("jobs", "status", "--format", "json"))
    stats = server.stats()
    assert found.keys() == stats.keys()
    assert found["local"] == stats["local"]


def test_what_only_looks_works_on_a_fresh_server(cli: Cli) -> None:
    for words in ("status", "top", "gpus", "gpus list --format csv", "queue status", "queue me", "queue limits"):
        cli(*words.split())
    for words in ("queue process", "queue cleanup -y", "jobs list", "jobs list --format csv", "jobs status"):
        cli(*words.split())


def test_delete_and_purge(cli: Cli, server: Server) -> None:
    done = cli.submit("--", "true")
    server.wait(done)
    failed = cli.submit("--", "false")
    server.wait(failed)
    running = cli.submit("--", *SLEEP)
    cli("jobs", "delete", running, code=6)
    cli("jobs", "purge", "--older-than", "1d", "-y")
    assert len(json.loads(cli("jobs", "list", "--format", "json"))) == 3
    assert cli("jobs", "purge", "--status", "failed", "-y") == f"{failed}\n"
    assert cli("jobs", "delete", done) == f"{done} deleted\n"
    assert [job["job_id"] for job in json.loads(cli("jobs", "list", "--format", "json"))] == [running]


def test_any_unique_prefix_is_an_id(cli: Cli, server: Server) -> None:
    job_id = cli.submit("--", "true")
    server.wait(job_id)
    for size in (1, 4, 8, 12):
        assert cli("jobs", "get", job_id[:size], "-o", "job_id") == f"{job_id}\n"
    assert "job_completed" in cli("jobs", "events", job_id[:5])


def test_the_server_is_looked_after_by_doctor_and_db(cli: Cli, server: Server, tmp_path: Path) -> None:
    data = ["--data-dir", str(server.data)]
    server.wait(cli.submit("--", "true"))
    assert "is ready" in cli("doctor", *data)
    cli("db", "check", *data)
    copy = tmp_path / "copy.db"
    cli("db", "backup", str(copy), *data)
    cli("db", "restore", str(copy), "-y", *data, code=1)
    assert server.stop() == 0
    cli("db", "restore", str(copy), "-y", *data)
    cli("db", "check", *data)
    server.start()
    assert len(json.loads(cli("jobs", "list", "--format", "json"))) == 1


def test_gpus_are_set_aside_and_taken_back_by_hand(cli: Cli) -> None:
    assert cli("gpus", "exclude", "3", "2") == "GPU 3 excluded\nGPU 2 excluded\n"
    rows = cli("gpus", "--format", "csv", "-o", "index,state").splitlines()
    assert rows == ["index,state", "0,free", "1,free", "2,excluded", "3,excluded"]
    assert cli("gpus", "list", "--format", "csv", "-o", "index,state").splitlines() == rows
    uuid = cli("gpus", "--format", "csv", "-o", "uuid").splitlines()[3]
    assert cli("gpus", "include", uuid, "3") == "GPU 2 free\nGPU 3 free\n"
    cli("gpus", "exclude", "9", code=5)
    assert "there is no such GPU here" in cli.told
    (cli.server.data / "gpu_faults.json").write_text(json.dumps({"0": {"xid": 79}}))
    eventually(lambda: "quarantined" in cli("gpus", "--format", "csv", "-o", "state"), timeout=30)
    job_id = cli.submit("--gpus", "4", "--", *SLEEP)
    why = cli("jobs", "why", job_id)
    assert "Xid 79" in why and "gpuyard gpus clear 0" in why
    # A simulated Xid is reported once, as by a driver; clearing it starts the job.
    cli("gpus", "clear", "0")
    cli.server.wait_phase(job_id)
