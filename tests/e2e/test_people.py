"""From the owner alone to a team: real servers, real tokens, real command lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.server import Answer, Server
from tests.support import eventually

pytestmark = pytest.mark.e2e


def by(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def add(server: Server, username: str, level: str, token: str = "", **more: Any) -> dict[str, Any]:
    """A new user with its first token."""
    answer = server.request("POST", "/api/users", {"username": username, "level": level, **more}, by(token))
    assert answer.status == 200, answer.body
    body: dict[str, Any] = answer.body
    return body


def ask(server: Server, method: str, path: str, token: str, body: Any = None) -> Answer:
    return server.request(method, path, body, by(token))


def frontend_pid(server: Server) -> int:
    """The Frontend's process, a child of the supervisor."""
    assert server.process is not None
    children = psutil.Process(server.process.pid).children()
    return next(child.pid for child in children if "gpuyard.cli.frontend_process" in child.cmdline())


def test_from_the_owner_alone_to_a_team(server: Server) -> None:
    old = server.submit("sleep", "600", not_before="2100-01-01T00:00:00Z")["job_id"]
    assert server.get("/api/users/me").body["single_user"] is True
    refused = server.post("/api/users", {"username": "ann", "level": "researcher"})
    assert (refused.status, refused.body["errors"][0]["field"]) == (422, "level")
    root = add(server, "root", "admin")
    assert (root["id"], root["first"]) == (1, True)

    nobody = server.get("/api/queue")
    assert (nobody.status, nobody.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert server.get("/readyz").status == 200
    assert server.request("GET", "/api/queue", None, {"X-API-Key": root["token"]}).status == 200
    assert ask(server, "GET", f"/api/jobs/{old}", root["token"]).body["job"]["user_id"] == 1, "taken over"

    ann = add(server, "ann", "researcher", root["token"])
    assert ask(server, "GET", f"/api/jobs/{old}", ann["token"]).status == 404
    assert ask(server, "POST", "/api/queue/process", ann["token"]).status == 403
    mine = ask(server, "POST", "/api/queue/submit", ann["token"], {"command": ["true"], "num_processes": 0})
    assert mine.body["success"], mine.body
    assert ask(server, "GET", "/api/jobs", ann["token"]).body["total"] == 1

    ask(server, "PATCH", f"/api/users/{ann['id']}", root["token"], {"level": "lead"})
    assert ask(server, "GET", f"/api/jobs/{old}", ann["token"]).status == 200, "at once"
    assert ask(server, "GET", "/api/users/me", ann["token"]).body["level"] == "lead"


def test_a_revoked_token_is_dead_at_once_and_stays_dead(server: Server) -> None:
    root = add(server, "root", "admin")["token"]
    ann = add(server, "ann", "researcher", root)
    for _ in range(5):
        made = ask(server, "POST", "/api/tokens", ann["token"], {"name": "ci"}).body
        assert ask(server, "GET", "/api/users/me", made["token"]).status == 200
        assert ask(server, "DELETE", f"/api/tokens/{made['id']}", root).status == 200
        assert ask(server, "GET", "/api/users/me", made["token"]).status == 401
    first = frontend_pid(server)
    psutil.Process(first).kill()
    eventually(lambda: frontend_pid(server) != first if server.get("/readyz").status == 200 else False, timeout=60)
    assert ask(server, "GET", "/api/users/me", made["token"]).status == 401
    assert ask(server, "GET", "/api/users/me", ann["token"]).status == 200
    server.kill()
    server.start()
    assert ask(server, "GET", "/api/users/me", made["token"]).status == 401
    assert ask(server, "GET", "/api/users/me", ann["token"]).status == 200
    assert server.get("/api/users/me").status == 401, "the owner alone never comes back"


def gpuyard(server: Server, config: Path, *words: str, typed: str = "", code: int = 0) -> str:
    """What the command prints; it must end with `code`."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
    environ |= {"GPUYARD_SERVER": server.url, "XDG_CONFIG_HOME": str(config)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "gpuyard", *words],
        input=typed,
        capture_output=True,
        text=True,
        env=environ,
        timeout=100,
        check=False,
    )
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout


def test_the_command_line_of_an_administrator(server: Server, tmp_path: Path) -> None:
    mine, anns = tmp_path / "mine", tmp_path / "anns"
    gpuyard(server, mine, "users", "add", "root", "--level", "admin", "--save", str(tmp_path / "token"))
    gpuyard(server, mine, "queue", "me", code=4)
    gpuyard(server, mine, "login", "--token-file", str(tmp_path / "token"))
    assert "root (1)" in gpuyard(server, mine, "whoami")
    gpuyard(server, mine, "teams", "add", "Vision")
    token = gpuyard(server, mine, "users", "add", "ann", "--team", "vision").strip()
    gpuyard(server, anns, "login", typed=token + "\n")
    assert json.loads(gpuyard(server, anns, "whoami", "--format", "json"))["team_id"] == "vision"
    gpuyard(server, anns, "users", "list", code=4)
    gpuyard(server, mine, "users", "set-level", "ann", "lead")
    assert "root" in gpuyard(server, anns, "users", "list")
    ci = gpuyard(server, anns, "tokens", "create", "ci", "--scope", "read").strip()
    assert ask(server, "GET", "/api/queue", ci).status == 200
    refused = ask(server, "POST", "/api/queue/submit", ci, {"command": ["true"]})
    assert (refused.status, "scope submit" in refused.body["detail"]) == (403, True)
    number = gpuyard(server, anns, "tokens", "list", "-o", "id", "--format", "csv").split()[1]
    gpuyard(server, anns, "tokens", "revoke", number)
    assert ask(server, "GET", "/api/queue", ci).status == 401
    gpuyard(server, mine, "users", "disable", "ann")
    gpuyard(server, anns, "whoami", code=4)
    gpuyard(server, mine, "users", "enable", "ann")
    gpuyard(server, anns, "whoami")
    gpuyard(server, mine, "users", "remove", "ann", "-y")
    gpuyard(server, anns, "whoami", code=4)
