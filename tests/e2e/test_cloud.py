"""Jobs through each engine behind the queue: a real server, the command line, the real thing at the other end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clusters.asgi import Served
from tests.clusters.fake_replicate import VERSIONS, FakeReplicate
from tests.clusters.slurm import SlurmCluster, missing
from tests.e2e.conftest import MakeServer
from tests.e2e.server import Server
from tests.machine import free_port
from tests.support import eventually

pytestmark = pytest.mark.timeout(300)


def with_providers(make_server: MakeServer, providers: dict[str, Any], **environ: str) -> Server:
    server = make_server(GPUYARD_PROVIDERS=json.dumps(providers), **environ).start()
    server.limits(max_concurrent=20, user_max_concurrent=20)
    return server


def gpuyard(server: Server, *words: str, code: int = 0) -> str:
    """The command line, as a person types it; what it printed on stdout."""
    environ = {**os.environ, "GPUYARD_SERVER": server.url, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "gpuyard", *words]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout


def submitted(server: Server, *words: str) -> str:
    answer: dict[str, Any] = json.loads(gpuyard(server, "jobs", "submit", "--format", "json", *words))
    return str(answer["job_id"])


class TestSlurm:
    @pytest.fixture
    def server(self, make_server: MakeServer, slurm_cluster: SlurmCluster) -> Server:
        slurm = {
            "conf": str(slurm_cluster.conf),
            "hardware": "a100",
            "prices": {"a100": 3600.0},
            "poll_seconds": 0.5,
            "settle_seconds": 5,
        }
        return with_providers(make_server, {"slurm": slurm})

    def test_a_job_gets_its_gpus_its_log_its_cost_and_its_exit_code(self, server: Server) -> None:
        said = gpuyard(server, "cloud", "providers", "test", "slurm")
        assert " UP" in said.upper()
        predicted = gpuyard(
            server, "jobs", "submit", "--provider", "slurm", "--gpus", "2", "--time-limit", "1m", "-n", "--", "true"
        )
        assert "would be running" in predicted and "120.00 USD" in predicted
        words = ("--provider", "slurm", "--gpus", "2", "--env", "WORD=a b")
        job_id = submitted(server, *words, "--", "sh", "-c", 'echo "GPUs $CUDA_VISIBLE_DEVICES, $WORD"; exit 3')
        job = server.wait(job_id, timeout=60)
        assert (job["status"], job["exit_code"], job["exit_class"]) == ("failed", 3, "exit:3")
        assert "GPUs 0,1, a b" in gpuyard(server, "jobs", "logs", job_id)
        assert job["cost_usd"] is not None and job["provider"] == "slurm"
        assert "slurm" in gpuyard(server, "cloud", "cost")

    def test_it_outlives_the_restart_of_slurmctld_and_the_death_of_the_server(
        self, server: Server, slurm_cluster: SlurmCluster, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        wait = f'echo begun; while [ ! -e "{gate}" ]; do sleep 0.1; done; echo done'
        job_id = submitted(server, "--provider", "slurm", "--", "sh", "-c", wait)
        server.wait_phase(job_id, timeout=60)
        slurm_cluster.stop_controller()
        try:
            server.kill()
            server.start()
            seen = eventually(lambda: server.get("/api/cloud/providers").body["providers"][1]["why"], timeout=90)
            assert "slurm controller" in seen
            assert server.job(job_id)["status"] == "running", "silence is no end"
        finally:
            slurm_cluster.start_controller()
        gate.touch()
        job = server.wait(job_id, timeout=120)
        assert job["status"] == "completed" and len(job["attempts"]) == 1
        log = gpuyard(server, "jobs", "logs", job_id)
        assert log.count("begun") == 1 and log.count("done") == 1

    def test_a_cancel_ends_the_remote_job(self, server: Server, slurm_cluster: SlurmCluster) -> None:
        job_id = submitted(server, "--provider", "slurm", "--", "sleep", "600")
        server.wait_phase(job_id, timeout=60)
        gpuyard(server, "jobs", "cancel", job_id, "--yes")
        assert server.wait(job_id, timeout=60)["status"] == "cancelled"
        states = slurm_cluster.run("squeue", "--me", "--states=all", "--noheader", "--format=%T").stdout.split()
        assert "RUNNING" not in states and "CANCELLED" in states
        assert server.stats()["processing_held"] is False

    def test_a_configs_files_reach_the_node(self, server: Server) -> None:
        (server.configs / "train.toml").write_text(
            'command = ["sh", "run.sh"]\nfiles = ["run.sh", "data.csv"]\ntarget = "cloud"\nprovider = "slurm"\n'
        )
        (server.configs / "run.sh").write_text("wc -c < data.csv\n")
        (server.configs / "data.csv").write_text("x" * 4321)
        job = server.wait(submitted(server, "train"), timeout=60)
        assert job["status"] == "completed", job
        assert "4321" in gpuyard(server, "jobs", "logs", job["job_id"])


@pytest.mark.parametrize("engine", ["replicate", "slurm"])
def test_one_job_through_an_engine_can_be_shown(engine: str) -> None:
    if engine == "slurm" and missing():
        pytest.skip(f"no Slurm here ({', '.join(missing())}): apt-get install slurm-wlm munge")
    tool = Path(__file__).resolve().parents[2] / "tools/transcripts.py"
    done = subprocess.run([sys.executable, tool, engine], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"$ gpuyard cloud providers test {engine}" in done.stdout and "(train) completed after" in done.stdout


class TestReplicate:
    @pytest.fixture
    def fake(self) -> FakeReplicate:
        return FakeReplicate()

    @pytest.fixture
    def server(self, make_server: MakeServer, fake: FakeReplicate) -> Iterator[Server]:
        served = Served(fake.app)
        settings = {
            "base_url": served.url,
            "model": "test/trainer",
            "version": VERSIONS["test/trainer"],
            "destination": "test/result",
            "poll_seconds": 0.5,
            "settle_seconds": 3,
        }
        yield with_providers(make_server, {"replicate": settings}, REPLICATE_API_TOKEN="r8_test")
        served.close()

    def test_a_training_goes_well_at_a_provider_that_throttles_and_loses_answers(
        self, server: Server, fake: FakeReplicate
    ) -> None:
        fake.script.update(busy=0.2, half=0.5, latency=(0.0, 0.3))
        given = json.dumps({"text": "loss 0.1", "seconds": 0.5, "seed": 1})
        job_id = submitted(server, "--target", "cloud", "--provider-option", f"input={given}", "--", "train")
        job = server.wait(job_id, timeout=90)
        assert job["status"] == "completed", job
        assert "loss 0.1" in gpuyard(server, "jobs", "logs", job_id)
        assert len(fake.jobs["trainings"]) == 1
        accepted = next(event for event in job["events"] if event["kind"] == "job_accepted")
        assert accepted["data"]["url"].startswith("https://replicate.com/p/")
        assert "r8_test" not in server.stderr()

    def test_files_are_brought_on_after_a_kill_in_the_middle_and_one_sees_how_far_they_are(
        self, server: Server, fake: FakeReplicate
    ) -> None:
        names = ("a.csv", "b.csv", "c.csv")
        given = ", ".join(f'{name[0]} = "file:{name}"' for name in names)
        (server.configs / "train.toml").write_text(
            f'command = ["x"]\nfiles = {list(names)}\ntarget = "cloud"\n[provider_options.input]\n'
            + given.replace(", ", "\n")
        )
        for name in names:
            (server.configs / name).write_text(f"{name}\n" * 1000)
        fake.script.update(most_files=1)
        job_id = submitted(server, "train")
        words = "uploading b.csv, 5.9 KiB (2 of 3)"

        def told() -> bool:
            found = server.job(job_id)["progress"]
            assert found == words
            return True

        eventually(told, timeout=60)
        assert words in gpuyard(server, "jobs", "get", job_id) and words in gpuyard(server, "jobs", "list")
        server.kill()
        assert len(fake.files) == 1
        server.start()
        fake.script.update(most_files=100)
        job = server.wait(job_id, timeout=90)
        assert job["status"] == "completed" and job["progress"] is None and len(job["attempts"]) == 1, job
        sent = [file["name"] for file in fake.files.values()]
        assert set(sent) == set(names) and sent.count("a.csv") == 1, "what was there was not sent again"
        [training] = fake.jobs["trainings"].values()
        assert {training["input"][name[0]] for name in names} <= {file["urls"]["get"] for file in fake.files.values()}

    @pytest.fixture
    def called_back(self, make_server: MakeServer, fake: FakeReplicate) -> Iterator[Server]:
        """A server that looks by itself once in two minutes only: whatever is quicker came by a webhook."""
        served = Served(fake.app)
        server = make_server()
        server.flags = ["--port", str(free_port()), *server.flags]
        settings = {
            "base_url": served.url,
            "model": "test/model",
            "version": VERSIONS["test/model"],
            "poll_seconds": 120,
            "settle_seconds": 1000,
        }
        server.environ |= {
            "GPUYARD_PROVIDERS": json.dumps({"replicate": settings}),
            "REPLICATE_API_TOKEN": "r8_test",
            "GPUYARD_PUBLIC_URL": f"http://127.0.0.1:{server.flags[1]}",
        }
        yield server.start()
        served.close()

    def test_a_signed_webhook_ends_the_wait_and_a_forged_one_does_nothing(self, called_back: Server) -> None:
        given = json.dumps({"seconds": 0.5})
        job_id = submitted(called_back, "--target", "cloud", "--provider-option", f"input={given}", "--", "x")
        assert called_back.wait(job_id, timeout=60)["status"] == "completed", "long before the next look"
        forged = called_back.post("/api/cloud/webhooks?provider=replicate&token=gy-x-1", {"id": "x"})
        assert forged.status == 403

    def test_a_webhook_says_which_job_it_is_when_the_answer_was_lost(
        self, called_back: Server, fake: FakeReplicate
    ) -> None:
        fake.script.update(half=1.0)
        given = json.dumps({"seconds": 1.0, "text": "the first line"})
        job_id = submitted(called_back, "--target", "cloud", "--provider-option", f"input={given}", "--", "x")
        assert called_back.wait(job_id, timeout=60)["status"] == "completed"
        assert len(fake.jobs["predictions"]) == 1
        log = gpuyard(called_back, "jobs", "logs", job_id)
        assert "the first line\n" in log and "100%" in log


class TestRay:
    def test_ray_gets_a_queue_with_priorities(self, make_server: MakeServer, ray_address: str, tmp_path: Path) -> None:
        ray = {"address": ray_address, "jobs_dir": str(tmp_path / "jobs"), "poll_seconds": 0.5}
        server = with_providers(make_server, {"ray": ray})
        server.limits(max_concurrent=1)
        assert "Ray 2" in gpuyard(server, "cloud", "providers", "test", "ray")
        first = submitted(
            server, "--provider", "ray", "--gpus", "1", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES; sleep 2"
        )
        low = submitted(server, "--provider", "ray", "--priority", "low", "--", "echo", "low")
        high = submitted(server, "--provider", "ray", "--priority", "urgent", "--", "echo", "high")
        jobs = [server.wait(job_id, timeout=120) for job_id in (first, low, high)]
        assert {job["status"] for job in jobs} == {"completed"}
        assert jobs[2]["started_at"] < jobs[1]["started_at"], "the urgent one went first"
        assert gpuyard(server, "jobs", "logs", first).splitlines()[-1] in list("01234567")
        running = submitted(server, "--provider", "ray", "--", "sleep", "600")
        server.wait_phase(running, timeout=60)
        gpuyard(server, "jobs", "cancel", running, "--yes")
        assert server.wait(running, timeout=60)["status"] == "cancelled"
