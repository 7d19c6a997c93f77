"""Webhooks of a whole server: added on the command line, taken by a real receiver, over refusals and a kill -9."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MakeServer
from tests.e2e.server import Server
from tests.receiver import Receiver, answers, receiver
from tests.support import eventually

pytestmark = pytest.mark.e2e

HERE = {"GPUYARD_WEBHOOK_NETWORKS": "127.0.0.0/8"}


def cli(server: Server, *words: str, code: int = 0) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
    environ |= {"GPUYARD_SERVER": server.url, **({"GPUYARD_TOKEN": server.token} if server.token else {})}
    command = [sys.executable, "-W", "error", "-m", "gpuyard", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ, check=False)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout


def add(server: Server, hook: Receiver, **more: Any) -> dict[str, Any]:
    answer = server.post("/api/webhooks", {"url": hook.url, **more})
    assert answer.status == 200, answer.body
    made: dict[str, Any] = answer.body
    return made


def job(server: Server, *command: str, **more: Any) -> str:
    job_id = str(server.submit(*command, num_processes=0, **more)["job_id"])
    server.wait(job_id)
    return job_id


def deliveries(server: Server, webhook_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.get(f"/api/webhooks/{webhook_id}/deliveries").body["deliveries"]
    return found


def test_what_happens_is_told_signed_and_tried_again(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(**HERE).start()
    job(server)  # before anybody listened
    with receiver() as hook:
        saved = tmp_path / "secret"
        made = json.loads(cli(server, "webhooks", "add", hook.url, "--save", str(saved), "--format", "json"))
        secret, webhook = saved.read_text().strip(), made["id"]
        assert secret.startswith("whsec_") and "secret" not in made and saved.stat().st_mode & 0o777 == 0o600
        assert "taken: it answered 204" in cli(server, "webhooks", "test", webhook)
        hook.behave = answers(500, 204)
        hook.got.clear()
        failed = job(server, "sh", "-c", "exit 3")
        first, again = hook.wait(2)
        assert first.headers["webhook-id"] == again.headers["webhook-id"] and first.body == again.body
        hook.genuine(secret, time.time())
        said = again.said
        assert (said["type"], said["data"]["job_id"]) == ("job.failed", failed)
        assert (said["data"]["exit_code"], said["data"]["status"], said["data"]["user"]) == (3, "failed", "owner")
        [message] = eventually(lambda: [one for one in deliveries(server, webhook) if one["state"] == "delivered"])
        assert (message["attempts"], message["status"], message["job_id"]) == (2, 204, failed)
        assert failed in cli(server, "webhooks", "deliveries", webhook)
        for path in server.data.rglob("*"):
            holds = path.is_file() and secret.encode() in path.read_bytes()
            assert holds == (path == server.data / "secrets/webhooks" / webhook), path
        assert (server.data / "secrets/webhooks" / webhook).stat().st_mode & 0o777 == 0o600
        cli(server, "webhooks", "disable", webhook)
        job(server)
        cli(server, "webhooks", "enable", webhook)
        last = job(server)
        assert hook.wait(3)[2].said["data"]["job_id"] == last, "what happened meanwhile is not told"
        cli(server, "webhooks", "delete", webhook)
        assert not (server.data / "secrets/webhooks" / webhook).exists()
        assert json.loads(cli(server, "webhooks", "list", "--format", "json")) == []
        told = {line["action"] for line in server.get("/api/audit?limit=100").body["entries"]}
        assert told >= {"webhook_removed", "webhook_enabled", "webhook_disabled", "webhook_added"}


def test_an_end_is_told_although_the_server_was_killed_before_it_could(make_server: MakeServer) -> None:
    server = make_server(**HERE).start()
    with receiver() as hook:
        port = hook.port
        made = add(server, hook)
    ended = [job(server), job(server, "sh", "-c", "exit 1")]  # nobody listens there now
    server.kill()
    with receiver(port=port) as hook:
        server.start()
        got = hook.wait(2, timeout=60)
        hook.genuine(made["secret"], time.time())
        assert {one.said["data"]["job_id"] for one in got} == set(ended)
        eventually(lambda: [one["state"] for one in deliveries(server, made["id"])] == ["delivered"] * 2)
        server.kill()
        server.start()
        third = job(server)
        hook.wait(len(hook.got) + 1)
        assert hook.got[-1].said["data"]["job_id"] == third
        ids = [one.headers["webhook-id"] for one in hook.got]
        assert len(set(ids)) == 3, "the same message has the same id at each attempt"


def test_what_was_not_written_yet_is_read_again_after_a_kill(make_server: MakeServer) -> None:
    """The end is durable and the server dies before it looked: the cursor in the database stands before it."""
    server = make_server(**HERE).start()
    with receiver() as hook:
        made = add(server, hook)
        running = str(server.submit("sleep", "600", num_processes=0)["job_id"])
        server.wait_phase(running)
        server.post(f"/api/jobs/{running}/cancel")
        server.wait(running, "cancelled")
        server.kill()
        with closing(sqlite3.connect(server.data / "jobs.db")) as connection:
            [(cursor,)] = connection.execute("SELECT cursor FROM webhook").fetchall()
            [(newest,)] = connection.execute("SELECT max(id) FROM event").fetchall()
            # As if it had died before it looked, whatever the machine's speed.
            connection.execute("DELETE FROM webhook_delivery")
            connection.execute("UPDATE webhook SET cursor = ?", (newest - 1,))
            connection.commit()
            assert cursor <= newest
        hook.got.clear()
        server.start()
        said = hook.wait(1, timeout=60)[0].said
        assert (said["type"], said["data"]["job_id"]) == ("job.cancelled", running)
        hook.genuine(made["secret"], time.time())


def test_one_that_answers_410_is_disabled_and_the_reason_is_shown(make_server: MakeServer) -> None:
    server = make_server(**HERE).start()
    with receiver() as gone, receiver() as good:
        gone.behave = answers(410)
        dead, alive = add(server, gone), add(server, good, events=["completed"])
        ended = job(server)
        assert good.wait(1)[0].said["data"]["job_id"] == ended
        view = eventually(
            lambda: {one["id"]: one for one in server.get("/api/webhooks").body["webhooks"]}[dead["id"]]["why"]
        )
        assert "410" in view and "410" in cli(server, "webhooks", "list")
        job(server, "false")
        job(server)
        good.wait(2)
        assert len(gone.got) == 1 and deliveries(server, alive["id"])[0]["state"] == "delivered"
        told = server.get("/api/audit?limit=100").body["entries"]
        assert any(line["action"] == "webhook_disabled" and line["subject"] == dead["id"] for line in told)


def test_without_the_setting_nothing_inside_is_reached_and_levels_act(make_server: MakeServer) -> None:
    server = make_server().start()
    server.token = server.post("/api/users", {"username": "root", "level": "admin"}).body["token"]
    ann = server.post("/api/users", {"username": "ann", "level": "researcher"}).body["token"]
    with receiver() as trap:
        refused = server.post("/api/webhooks", {"url": trap.url})
        assert (refused.status, "must begin with https://" in refused.body["detail"]) == (422, True)
        for url in ("https://169.254.169.254/latest", "https://[::1]/", "https://u:p@example.com/"):
            assert server.post("/api/webhooks", {"url": url}).status == 422
        made = server.post("/api/webhooks", {"url": f"https://localhost:{trap.port}/hook", "scope": "all"}).body
        assert "loopback" in cli(server, "webhooks", "test", made["id"], code=1)
        assert trap.got == []
    server.token = ann
    for scope in ("team", "all"):
        assert server.post("/api/webhooks", {"url": "https://example.com/", "scope": scope}).status == 403
    assert server.get("/api/webhooks").body == {"webhooks": []}
    assert server.get("/api/webhooks?all_users=true").status == 403
    for method, path in (("DELETE", ""), ("POST", "/test"), ("GET", "/deliveries")):
        assert server.request(method, f"/api/webhooks/{made['id']}{path}").status == 404
