"""What holds whatever the engine is: another package's provider, the secrets of providers, an outage."""

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
from tests.e2e.conftest import MakeServer
from tests.e2e.server import Server
from tests.support import eventually

pytestmark = pytest.mark.timeout(300)

TOKEN = "r8_ThisMustBeSeenByNobody"

# A whole provider, as another package would bring it: its jobs are done when they are made.
THEIRS = """
import time
from gpuyard.actors.cloud.provider import NotConfigured, Refused
from gpuyard.actors.model.cloud_remote import Capabilities, Health, LogPiece, Remote, RemoteState, RemoteStatus

class Moon:
    capabilities = Capabilities(idempotent=True, listing=True, poll_seconds=0.2, settle_seconds=1.0)

    def __init__(self, settings, data_dir):
        if "crater" not in settings:
            raise NotConfigured("set crater in [providers.moon]")
        self.jobs = {}

    async def upload(self, order, progress):
        return {}

    async def submit(self, order):
        if order.spec.argv[0] == "land":
            raise Refused("there is no air")
        self.jobs[order.token] = time.time()
        return Remote(id=order.token, url="https://moon/" + order.token)

    async def find(self, orders):
        return {order.token: [Remote(id=order.token)] for order in orders if order.token in self.jobs}

    async def sweep(self, owner):
        return []

    async def status(self, remote_ids):
        done = {i: RemoteStatus(state=RemoteState.COMPLETED, exit_code=0, started_at=self.jobs[i], cost_usd=2.5)
                for i in remote_ids if i in self.jobs}
        return {i: done.get(i, RemoteStatus(state=RemoteState.GONE)) for i in remote_ids}

    async def logs(self, remote_id, offset):
        return LogPiece(data=b"one small step\\n"[offset:])

    async def cancel(self, remote_id):
        pass

    async def health(self):
        return Health(detail="full moon")

    async def close(self):
        pass
"""


def test_a_package_that_is_only_installed_brings_its_provider(make_server: MakeServer, tmp_path: Path) -> None:
    package = tmp_path / "site"
    (package / "moon-1.0.dist-info").mkdir(parents=True)
    (package / "moon.py").write_text(THEIRS)
    (package / "moon-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: moon\nVersion: 1.0\n")
    (package / "moon-1.0.dist-info/entry_points.txt").write_text("[gpuyard.providers]\nmoon = moon:Moon\n")
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH", "")]))
    server = make_server(PYTHONPATH=path, GPUYARD_PROVIDERS=json.dumps({"moon": {"crater": "Tycho"}})).start()
    tested = server.post("/api/cloud/providers/moon/test").body
    assert tested["success"] and tested["detail"] == "full moon"
    job = server.wait(server.submit("walk", target="cloud", provider="moon")["job_id"])
    assert (job["status"], job["provider"], job["cost_usd"]) == ("completed", "moon", 2.5), job
    assert "one small step" in server.get(f"/api/jobs/{job['job_id']}/logs").body["logs"]
    refused = server.wait(server.submit("land", target="cloud", provider="moon")["job_id"])
    assert (refused["status"], refused["error_message"]) == ("failed", "there is no air")


@pytest.fixture
def fake() -> FakeReplicate:
    return FakeReplicate(TOKEN)


@pytest.fixture
def server(make_server: MakeServer, fake: FakeReplicate) -> Iterator[Server]:
    served = Served(fake.app)
    settings = {
        "base_url": served.url,
        "model": "test/model",
        "version": VERSIONS["test/model"],
        "poll_seconds": 0.3,
        "settle_seconds": 2,
    }
    environ = {"GPUYARD_PROVIDERS": json.dumps({"replicate": settings}), "REPLICATE_API_TOKEN": TOKEN}
    started = make_server(GPUYARD_LOG_LEVEL="debug", **environ).start()
    started.limits(max_concurrent=20, user_max_concurrent=20)
    yield started
    served.close()


def asked(**given: Any) -> dict[str, Any]:
    return {"target": "cloud", "provider_options": {"input": given}}


def test_a_providers_token_is_seen_nowhere(server: Server, fake: FakeReplicate) -> None:
    said: list[str] = []
    went_well = server.submit("x", **asked(seconds=0.2))["job_id"]
    server.wait(went_well, timeout=60)
    fake.token = "another"
    refused = server.submit("x", **asked(seconds=0.3))["job_id"]

    def why() -> str:
        reasons = server.get(f"/api/queue/position/{refused}").body["reasons"]
        return "".join(reason["text"] for reason in reasons if reason["code"] == "ProviderDown")

    assert "token_file" in eventually(why, timeout=60)
    local = server.wait(
        server.submit("sh", "-c", "env; cat /proc/$PPID/environ | tr '\\0' '\\n'", num_processes=0)["job_id"]
    )
    tested = server.post("/api/cloud/providers/replicate/test")
    assert not tested.body["success"]
    said += [tested.raw.decode(), server.stderr()]
    said += [server.get(f"/api/jobs/{job}/logs").raw.decode() for job in (went_well, refused, local["job_id"])]
    paths = ("cloud/providers", "cloud/cost", "jobs", "queue", "audit", f"jobs/{went_well}", f"jobs/{refused}")
    said += [server.get(f"/api/{path}").raw.decode() for path in paths]
    said += [server.get(path).raw.decode() for path in ("/metrics", "/openapi.json", "/cloud", f"/jobs/{refused}")]
    for words in (["config", "show"], ["doctor"], ["cloud", "providers", "list", "--format", "json"]):
        command = [sys.executable, "-m", "gpuyard", *words]
        environ = {**os.environ, **server.environ, "GPUYARD_SERVER": server.url}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
        said.append(done.stdout + done.stderr)
    said += [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in server.processes()]
    said += [path.read_bytes().decode("latin-1") for path in server.folder.rglob("*") if path.is_file()]
    assert len("".join(said)) > 10_000
    for number, text in enumerate(said):
        assert TOKEN not in text and fake.key not in text, (number, text[:200])


def test_an_outage_of_whatever_length_ends_nothing_and_outlives_the_server(server: Server, fake: FakeReplicate) -> None:
    running = server.submit("x", **asked(seconds=8.0, text="it ran on"))["job_id"]
    server.wait_phase(running, timeout=60)
    fake.script.update(down=True)

    def circuit() -> dict[str, Any]:
        found = server.get("/api/cloud/providers").body["providers"]
        return next(one for one in found if one["name"] == "replicate")

    eventually(lambda: circuit()["circuit"] == "open", timeout=60)
    waiting = server.submit("x", **asked(seconds=0.1, seed=2))["job_id"]
    server.kill()
    server.start()
    assert circuit()["circuit"] == "open" and circuit()["retry_at"] and circuit()["health"] == "down"
    reason = server.get(f"/api/queue/position/{waiting}").body["reasons"][0]
    assert reason["code"] == "ProviderDown" and reason["detail"]["retry_at"] and not reason["never"]
    assert (server.job(running)["status"], server.job(waiting)["status"]) == ("running", "pending")
    fake.script.update(down=False)
    for job_id in (running, waiting):
        job = server.wait(job_id, timeout=120)
        assert job["status"] == "completed" and len([a for a in job["attempts"] if a["started_at"]]) == 1, job
    assert "it ran on" in server.get(f"/api/jobs/{running}/logs").body["logs"]
    assert len(fake.jobs["predictions"]) == 2 and circuit()["circuit"] == "closed"
