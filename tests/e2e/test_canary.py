"""Tokens, passwords and secrets are canaries: wherever the server writes or says anything, none of them may be found.

A real server and real command lines do everything that touches a secret; then its files, its database, its logs, its
streams, its answers and all command lines of the machine are searched.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import MakeServer
from tests.e2e.server import Answer, Server
from tests.receiver import receiver

pytestmark = pytest.mark.e2e

PASSWORDS = ("the first canary sings", "the second canary sings")
STRAY = "gy_" + "canaryinthecoalmine" * 2
PROVIDERS = {
    "REPLICATE_API_TOKEN": "r8_canary_of_a_provider_0123456789",
    "REPLICATE_WEBHOOK_SECRET": "whsec_Y2FuYXJ5X29mX2FfcHJvdmlkZXI=",
    "RAY_AUTH_TOKEN": "ray_canary_of_a_provider_0123456789",
}
JOB_SECRETS = ("job_canary_in_a_body_0123456789", "job_canary_that_is_typed_0123456789")
SHOWING = ("/api/users", "/api/tokens", "/api/webhooks")  # where a new token or secret is shown, this once


class Listener:
    """Every answer of the server, but those whose very purpose is to show a token."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.heard: list[bytes] = []
        self.secrets: list[str] = [*PASSWORDS, STRAY, *PROVIDERS.values(), *JOB_SECRETS]

    def ask(self, method: str, path: str, token: str = "", body: Any = None, **headers: str) -> Answer:
        sent = {"Authorization": f"Bearer {token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        answer = self.server.request(method, path, body, sent)
        shown = method == "POST" and path in SHOWING and answer.status == 200
        if shown:
            self.secrets.append(answer.body.get("token") or answer.body["secret"])
        else:
            self.heard.append(answer.raw)
            self.heard += [f"{k}: {v}".encode() for k, v in answer.headers.items() if k.lower() != "set-cookie"]
        return answer

    @contextmanager
    def stream(self, token: str) -> Iterator[None]:
        """Listen to all events meanwhile."""
        parts = urlsplit(self.server.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        connection.request("GET", "/api/events", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()

        def listen() -> None:
            while piece := answer.readline():
                self.heard.append(piece)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield
        finally:
            assert self.server.process is not None
            self.server.stop()  # ends the stream
            thread.join(60)
            connection.close()


@contextmanager
def command_lines() -> Iterator[list[bytes]]:
    """Every command line of this machine that is seen meanwhile, but this test's own."""
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit() and int(entry.name) != os.getpid():
                    try:
                        seen.add((entry / "cmdline").read_bytes())
                    except OSError:
                        continue

    found: list[bytes] = []
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join(30)
        found += seen


def gpuyard(server: Server, config: Path, *words: str, typed: str = "", **environ: str) -> bytes:
    """All that the command says."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
    env |= {"GPUYARD_SERVER": server.url, "XDG_CONFIG_HOME": str(config), **environ}
    command = [sys.executable, "-m", "gpuyard", *words]
    done = subprocess.run(command, input=typed.encode(), capture_output=True, env=env, timeout=100, check=False)
    return done.stdout + done.stderr


def holders(server: Server, secret: str) -> set[bytes]:
    """The names of this server's processes that have `secret` in their environment."""
    found = set()
    for pid in server.processes():
        try:
            if secret.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.add(Path(f"/proc/{pid}/comm").read_bytes().strip())
        except OSError:
            continue
    return found


def use_secrets(here: Listener, config: Path, file: Path, token: str) -> list[bytes]:
    """Everything that is done with a job's secrets, well and badly; what the command line said."""
    server, (first, second) = here.server, JOB_SECRETS
    for path, body in (
        ("/api/secrets/hf", {"value": first, "env": "HF_TOKEN"}),
        ("/api/secrets/hf", {"value": first, "env": first + " "}),  # malformed in several ways
        ("/api/secrets/hf", {"valeu": first}),
        ("/api/secrets/hf", {"value": [first]}),
        ("/api/secrets/hf", {"value": first * 600}),
        ("/api/secrets/hf", {"value": first + "\0"}),
        ("/api/secrets/no-name", {"value": first}),
        ("/api/queue/submit", {"command": ["true"], "secrets": {"hf": first}}),
    ):
        here.ask("PUT" if "secrets/" in path else "POST", path, token, body)
    said = [
        gpuyard(server, config, "secrets", "set", "typed", "--token-file", str(file), typed=second + "\n"),
        gpuyard(server, config, "secrets", "set", "no-name", "--token-file", str(file), typed=second + "\n"),
        gpuyard(server, config, "secrets", "list", "--token-file", str(file), "--format", "json"),
    ]
    body = {"command": ["sleep", "600"], "num_processes": 0, "secrets": ["hf", "typed"]}
    job = here.ask("POST", "/api/queue/submit", token, body).body["job_id"]
    server.wait_phase(job)
    assert holders(server, first) == holders(server, second) == {b"sleep"}, "the run alone has them"
    for path in ("/api/secrets", f"/api/jobs/{job}", f"/api/jobs/{job}/events", "/api/queue", f"/api/jobs/{job}/logs"):
        assert here.ask("GET", path, token).status == 200
    here.ask("POST", f"/api/jobs/{job}/cancel", token)
    server.wait(job, "cancelled")
    here.ask("DELETE", "/api/secrets/typed", token)
    return said


def use_webhooks(here: Listener, config: Path, file: Path, token: str) -> list[bytes]:
    """A webhook that is told of an end, and whatever else is asked of it; what the command line said."""
    with receiver() as hook:
        made = here.ask("POST", "/api/webhooks", token, {"url": hook.url}).body
        job = here.ask("POST", "/api/queue/submit", token, {"command": ["true"], "num_processes": 0}).body
        assert hook.wait(1)[0].said["data"]["job_id"] == job["job_id"]
        hook.genuine(made["secret"], time.time())
        assert not [got for got in hook.got if made["secret"].encode() in got.body + repr(got.headers).encode()]
        for method, path in (("GET", ""), ("POST", f"/{made['id']}/test"), ("GET", f"/{made['id']}/deliveries")):
            assert here.ask(method, f"/api/webhooks{path}", token).status == 200
        here.ask("PATCH", f"/api/webhooks/{made['id']}", token, {"enabled": False})
        return [gpuyard(here.server, config, "webhooks", "list", "--token-file", str(file), "--format", "json")]


def test_no_secret_is_found_anywhere(make_server: MakeServer, tmp_path: Path) -> None:
    # Somebody starts the server in a shell that holds a token of theirs: no run may inherit it.
    server = make_server(
        GPUYARD_TOKEN=STRAY, GPUYARD_LOG_LEVEL="debug", GPUYARD_WEBHOOK_NETWORKS="127.0.0.0/8", **PROVIDERS
    ).start()
    here = Listener(server)
    first, second = PASSWORDS
    with command_lines() as lines:
        root = here.ask("POST", "/api/users", "", {"username": "root", "level": "admin"}).body["token"]
        with here.stream(root):
            ann = here.ask("POST", "/api/users", root, {"username": "ann", "level": "researcher"}).body
            made = here.ask("POST", "/api/tokens", ann["token"], {"name": "ci", "scopes": ["read"]}).body
            place = f"/api/users/{ann['id']}/password"
            for token, body in (
                (ann["token"], {"password": first}),
                (root, {"password": second}),
                (ann["token"], {"password": second, "pasword": first}),  # malformed in several ways
                (ann["token"], {"password": [second]}),
                (made["token"], {"password": second}),  # a scope that is not for it
            ):
                here.ask("PUT", place, token, body)
            for username, password in (
                ("ann", second),
                ("ann", first),
                (second, "x"),
                (ann["token"], first),
                ("ann", ""),
            ):
                answer = here.ask("POST", "/api/login", "", {"username": username, "password": password})
                if answer.status == 200:
                    here.secrets.append(answer.headers["Set-Cookie"].partition("=")[2].partition(";")[0])
            for path, query in (
                ("/api/queue", ""),
                ("/api/users/me", f"?token={ann['token']}"),
                (f"/api/jobs/{STRAY}", ""),
            ):
                here.ask("GET", path + query, ann["token"])
                here.ask("GET", path, ann["token"] + "x")
                here.ask("GET", path, X_API_Key=made["token"])
            here.ask("POST", "/api/queue/submit", ann["token"], {"command": ["true"], "env": {"GPUYARD_TOKEN": "x"}})
            job = here.ask("POST", "/api/queue/submit", ann["token"], {"command": ["env"], "num_processes": 0}).body
            server.token = ann["token"]
            server.wait(job["job_id"])
            here.ask("GET", f"/api/jobs/{job['job_id']}/logs", ann["token"])
            config, file = tmp_path / "config", tmp_path / "token"
            file.write_text(ann["token"] + "\n")
            file.chmod(0o600)
            said = [
                gpuyard(server, config, "whoami", GPUYARD_TOKEN=ann["token"]),
                gpuyard(server, config, "jobs", "list", "--token-file", str(file)),
                gpuyard(server, config, "login", typed=ann["token"] + "\n"),
                gpuyard(server, config, "users", "set-password", typed=second + "\n"),
                gpuyard(server, config, "tokens", "create", "x", "--save", str(tmp_path / "saved")),
                gpuyard(server, config, "whoami", GPUYARD_TOKEN="gy_wrong"),
                gpuyard(server, config, "login", typed=f"{STRAY} {STRAY}\n"),
            ]
            here.secrets.append((tmp_path / "saved").read_text().strip())
            said += use_secrets(here, config, file, ann["token"])
            said += use_webhooks(here, config, file, ann["token"])
            for path in ("/api/users", "/api/tokens?all_users=true", "/api/audit?limit=1000", "/api/audit?format=csv"):
                assert here.ask("GET", path, root).status == 200
            for path in ("/metrics", "/openapi.json", "/api/system/status", "/api/users/me"):
                here.ask("GET", path, root)
            here.ask("DELETE", f"/api/tokens/{made['id']}", ann["token"])
    assert len(here.secrets) >= 8 and len(set(here.secrets)) == len(here.secrets)
    kept = {file: file.read_bytes() for file in server.folder.rglob("*") if file.is_file()}
    # Where secrets that must be read again are kept: for this user alone, until they are deleted.
    places = sorted(file for file in kept if file.is_relative_to(server.data / "secrets"))
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in places)
    assert all(folder.stat().st_mode & 0o777 == 0o700 for file in places for folder in (file.parent, file.parents[1]))
    assert [file.parent.name for file in places] == [str(ann["id"]), "webhooks"]
    assert JOB_SECRETS[0].encode() in kept.pop(places[0]) and kept.pop(places[1]).decode() in here.secrets
    assert any(file.name == "jobs.db" for file in kept) and any(file.name == "server.log" for file in kept)
    for secret in map(str.encode, here.secrets):
        assert not [file for file, data in kept.items() if secret in data], secret
        assert not [piece for piece in here.heard if secret in piece], secret
        assert not [line for line in lines if secret in line], secret
        assert not [words for words in said if secret in words], secret
