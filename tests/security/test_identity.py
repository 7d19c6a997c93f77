"""Who may be the owner without a password: this machine's own user, directly, and nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuyard.api.identity import OwnerOnLoopback
from gpuyard.api.peer import Address, uid_of
from gpuyard.api.settings import Settings
from tests.answering import Cast
from tests.frontends import Served, frontend
from tests.security.society import society
from tests.support import eventually

NOBODY = 65534
ROOT = os.geteuid() == 0

# Another user's curl: sends the request of argv and prints the status.
STRANGER = """
import encodings.idna, http.client, os, sys
port, uid = int(sys.argv[1]), int(sys.argv[2])
os.setgroups([]); os.setgid(uid); os.setuid(uid)
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
for path in ("/api/queue/process", "/api/queue/process", "/healthz"):
    connection.request("GET" if path == "/healthz" else "POST", path)
    answer = connection.getresponse()
    print(answer.status, answer.read().decode())
"""


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via", "X-Forwarded",
     "CF-Connecting-IP", "True-Client-IP"],
)  # fmt: skip
def test_behind_a_proxy_a_token_is_needed(served: Served, header: str) -> None:
    answer = served.ask("POST", "/api/queue/process", **{header: "127.0.0.1"})
    assert answer.status == 401
    assert answer.json["code"] == "unauthenticated"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert served.untouched()


def test_by_another_name_a_token_is_needed(actors: Cast) -> None:
    with frontend(actors, Settings(allowed_hosts=("gpu.lab.example",))) as served:
        assert served.ask("POST", "/api/queue/process", Host="gpu.lab.example:8000").status == 401
        assert served.ask("GET", "/healthz", Host="gpu.lab.example:8000").status == 200
        assert served.ask("POST", "/api/queue/process").status == 200


def test_the_owner_needs_no_credential_and_a_sent_one_is_ignored(served: Served) -> None:
    assert served.ask("POST", "/api/queue/process").status == 200
    assert served.ask("POST", "/api/queue/process", Authorization="Bearer nonsense").status == 200
    assert served.ask("POST", "/api/queue/process", X_API_Key="nonsense").status == 200


@pytest.mark.parametrize("uid", [None, NOBODY])
def test_a_peer_of_another_uid_is_not_the_owner(actors: Cast, uid: int | None) -> None:
    with frontend(actors, authenticator=OwnerOnLoopback(uid=1000, uid_of=lambda client, server: uid)) as served:
        assert served.ask("POST", "/api/queue/process").status == 401
        assert served.ask("GET", "/api/events").status == 401
        assert served.ask("GET", "/api/nothing").status == 401
        assert served.ask("GET", "/healthz").status == 200
        assert served.untouched()


def test_the_tables_of_the_kernel_decide(actors: Cast, tmp_path: Path) -> None:
    """The real rows, with the uids rewritten: nobody is the owner any more."""

    def rewritten(client: Address, server: Address) -> int | None:
        for name in ("tcp", "tcp6"):
            head, *rows = Path(f"/proc/net/{name}").read_text().splitlines()
            columns = [row.split() for row in rows]
            for row in columns:
                row[7] = str(NOBODY)
            (tmp_path / name).write_text("\n".join([head, *("   " + " ".join(row) for row in columns)]) + "\n")
        return uid_of(client, server, tmp_path)

    with frontend(actors, authenticator=OwnerOnLoopback(uid_of=rewritten)) as served:
        assert served.ask("POST", "/api/queue/process").status == 401
    with frontend(actors, authenticator=OwnerOnLoopback(uid=NOBODY, uid_of=rewritten)) as served:
        assert served.ask("POST", "/api/queue/process").status == 200


@pytest.mark.skipif(not ROOT, reason="only root can be somebody else")
def test_a_real_process_of_another_user_is_not_the_owner(served: Served) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", STRANGER, str(served.port), str(NOBODY)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    first, second, health = done.stdout.splitlines()
    assert first.startswith("401 ")
    assert second.startswith("401 ")
    assert health.startswith("200 ")
    assert served.untouched()
    assert served.ask("POST", "/api/queue/process").status == 200


@pytest.fixture
def looked_up(actors: Cast) -> Iterator[tuple[Served, list[Address]]]:
    """A server, and the connections whose user it looked up."""
    seen: list[Address] = []

    def look(client: Address, server: Address) -> int | None:
        seen.append(client)
        return uid_of(client, server)

    with frontend(actors, authenticator=OwnerOnLoopback(uid_of=look)) as served:
        yield served, seen


def test_a_connection_is_looked_up_once_and_the_next_one_again(looked_up: tuple[Served, list[Address]]) -> None:
    import http.client

    served, seen = looked_up
    for expected in (1, 2):
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
        for _ in range(3):
            connection.request("POST", "/api/queue/process")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
        connection.close()
        assert len(seen) == expected


def test_a_server_that_others_reach_has_no_owner_without_a_token(tmp_path: Path) -> None:
    """Even when its register of users is empty: removing the last one must open no door."""
    with society(tmp_path, settled=False, network=True) as empty:
        for method, path in (("GET", "/api/users/me"), ("POST", "/api/users"), ("POST", "/api/queue/process")):
            for token in (None, "gy_nonsense"):
                answer = empty.ask(method, path, token, {} if method == "POST" else None)
                assert (answer.status, answer.body["code"]) == (401, "unauthenticated"), path
        assert empty.ask("GET", "/healthz").status == 200


def test_guessing_tokens_is_slowed_down(actors: Cast) -> None:
    settings = Settings(rate_per_second=0.01, rate_burst=5)
    with frontend(actors, settings, OwnerOnLoopback(uid_of=lambda client, server: None)) as served:
        statuses = [served.ask("POST", "/api/queue/process", X_API_Key=str(n)).status for n in range(8)]
    assert statuses == [401] * 5 + [429] * 3


def test_no_answer_tells_where_the_server_lives(served: Served) -> None:
    for path in ("/api/nothing", "/api/configs/..%2f..%2fetc%2fpasswd", "/%2e%2e/etc/passwd"):
        answer = served.ask("GET", path)
        assert 400 <= answer.status < 500, path
        assert b"/" not in answer.body.replace(b"application/json", b"")


def test_the_port_answers_only_while_it_is_served(actors: Cast) -> None:
    with frontend(actors) as served:
        assert served.ask("GET", "/healthz").status == 200

    def refused() -> bool:
        try:
            served.ask("GET", "/healthz")
        except ConnectionRefusedError:
            return True
        return False

    eventually(refused)
