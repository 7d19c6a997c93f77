"""A server that other machines can reach: real certificates, real sockets, and nobody comes in without a token."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.certificates import Pair, self_signed
from tests.e2e.conftest import MakeServer
from tests.e2e.network import PASSWORD, opened, with_people
from tests.e2e.server import Server
from tests.support import eventually

pytestmark = pytest.mark.e2e

ME = "/api/users/me"


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return self_signed(tmp_path)


def refused(server: Server, *flags: str, code: int = 78) -> str:
    server.flags += flags
    assert server.launch().wait(60) == code
    assert not (server.data / "server.json").exists()
    return server.stderr()


@contextmanager
def shown(server: Server, trusted: Path | None = None) -> Iterator[ssl.SSLSocket]:
    """A connection whose certificate was checked against `trusted`."""
    context = ssl.create_default_context(cafile=str(trusted or server.cacert))
    plain = socket.create_connection(("127.0.0.1", urlsplit(server.url).port), timeout=20)
    with plain, context.wrap_socket(plain, server_hostname="gpu.lab") as sock:
        yield sock


def test_bare_it_is_not_opened_and_nothing_has_happened(make_server: MakeServer) -> None:
    server = make_server()
    said = refused(server, "--host", "0.0.0.0")
    assert "does not listen on 0.0.0.0" in said and "unencrypted" in said and "no user has a token" in said
    assert "--ssl-cert" in said and "gpuyard users add" in said
    assert not server.data.exists()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that listens on all addresses with TLS."""
    folder = tmp_path_factory.mktemp("network")
    server = Server(folder)
    try:
        yield opened(with_people(server), self_signed(folder))
    finally:
        server.close()


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One behind a proxy, which is the test: it connects from 127.0.0.1, says that it did the TLS, and for whom."""
    server = Server(tmp_path_factory.mktemp("proxied"))
    try:
        with_people(server)
        server.flags += ["--behind-tls-proxy", "--trusted-proxy", "127.0.0.1", "--allowed-host", "gpu.lab"]
        yield server.start()
    finally:
        server.close()


def test_users_whose_tokens_are_all_over_do_not_open_it(make_server: MakeServer, pair: Pair) -> None:
    """As after years of being switched off: the register is there, and nobody could come in."""
    import sqlite3
    from contextlib import closing

    server = with_people(make_server())
    with closing(sqlite3.connect(server.data / "jobs.db")) as database, database:
        database.execute("UPDATE token SET expires_at = '2020-01-01T00:00:00.000Z'")
    said = refused(server, "--host", "0.0.0.0", "--ssl-cert", str(pair.cert), "--ssl-key", str(pair.key))
    assert "no user has a token" in said


def test_the_door_of_a_network_server(network: Server) -> None:
    server = network
    assert server.url.startswith("https://localhost:")
    port = urlsplit(server.url).port
    by_name = {"Host": f"gpu.lab:{port}"}

    me = server.get(ME)
    assert (me.status, me.body["username"], me.body["single_user"]) == (200, "root", False)
    nobody = server.request("GET", ME, None, {"Authorization": ""})
    assert (nobody.status, nobody.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert server.request("GET", ME, None, {"Authorization": "", "X-Forwarded-For": "127.0.0.1"}).status == 401
    assert server.request("GET", ME, None, by_name).status == 200
    assert server.request("GET", "/healthz", None, {"Host": "evil.example"}).status == 421

    assert server.request("GET", "/healthz", None, by_name).headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in server.get("/healthz").headers, "localhost is many servers"

    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with pytest.raises((OSError, http.client.HTTPException)):
        plain.request("GET", "/healthz")
        plain.getresponse()
    plain.close()
    assert "Traceback" not in server.stderr(), "whoever speaks no TLS fills no log"
    with shown(server) as sock:
        assert sock.version() in ("TLSv1.2", "TLSv1.3")


def test_on_loopback_tls_changes_nothing_for_the_owner(make_server: MakeServer, pair: Pair) -> None:
    server = make_server("--ssl-cert", str(pair.cert), "--ssl-key", str(pair.key))
    server.cacert = pair.cert
    me = server.start().get(ME)
    assert server.url.startswith("https://127.0.0.1:")
    assert (me.status, me.body["single_user"]) == (200, True)
    assert server.request("GET", ME, None, {"X-Forwarded-Proto": "https"}).status == 401
    assert server.request("GET", ME, None, {"Host": "gpu.lab"}).status == 401


def test_a_log_in_over_tls_is_bound_to_tls(network: Server) -> None:
    server, nobody = network, {"Authorization": ""}
    origin = {"Origin": server.url, **nobody}
    answer = server.request("POST", "/api/login", {"username": "root", "password": PASSWORD}, origin)
    assert answer.status == 200, answer.body
    cookie = answer.headers["Set-Cookie"]
    name, _, rest = cookie.partition("=")
    assert name == "__Host-gpuyard_session"
    assert {part.strip().lower() for part in rest.split(";")[1:]} >= {"secure", "httponly", "samesite=strict", "path=/"}
    session = rest.partition(";")[0]
    assert server.request("GET", ME, None, {"Cookie": f"{name}={session}", **nobody}).status == 200
    assert server.request("GET", ME, None, {"Cookie": f"gpuyard_session={session}", **nobody}).status == 401
    plain = {"Origin": server.url.replace("https", "http"), **nobody}
    assert server.request("POST", "/api/login", {"username": "root", "password": PASSWORD}, plain).status == 403


def test_events_come_over_tls_as_they_happen(network: Server) -> None:
    server = network
    connection = server.connect()
    connection.request("GET", "/api/events", headers={"Authorization": f"Bearer {server.token}"})
    stream = connection.getresponse()
    assert (stream.status, stream.readline()) == (200, b"retry: 2000\n")
    job_id = server.submit("true", num_processes=0)["job_id"]
    seen = ""
    while "job_ended" not in seen and "completed" not in seen:
        line = stream.readline()
        assert line, f"the stream ended: {seen}"
        seen += line.decode()
    assert job_id in seen
    connection.close()


def test_a_renewed_certificate_is_shown_without_a_restart(make_server: MakeServer, pair: Pair, tmp_path: Path) -> None:
    server = opened(with_people(make_server()), pair)
    kept = server.connect()
    kept.request("GET", "/healthz")
    kept.getresponse().read()
    renewed = self_signed(tmp_path, "renewed")
    with pytest.raises(ssl.SSLCertVerificationError), shown(server, renewed.cert):
        pass
    renewed.key.replace(pair.key)
    renewed.cert.replace(pair.cert)

    def is_shown() -> bool:
        try:
            with shown(server):
                return True
        except ssl.SSLCertVerificationError:
            return False

    eventually(is_shown, timeout=60)
    kept.request("GET", "/healthz")
    assert kept.getresponse().status == 200, "connections of before go on"
    kept.close()
    assert "is in use for new connections" in server.stderr()


def test_the_frontend_comes_back_with_tls_and_without_an_owner(make_server: MakeServer, pair: Pair) -> None:
    server = opened(with_people(make_server()), pair)
    assert server.process is not None
    (frontend,) = [
        child
        for child in psutil.Process(server.process.pid).children()
        if "gpuyard.cli.frontend_process" in child.cmdline()
    ]
    frontend.send_signal(signal.SIGKILL)
    frontend.wait(30)

    def back() -> bool:
        try:
            return server.get(ME).status == 200
        except OSError:
            return False

    eventually(back, timeout=60)
    assert server.request("GET", ME, None, {"Authorization": ""}).status == 401


def test_behind_a_proxy_it_believes_that_one_only(proxied: Server) -> None:
    server = proxied
    told = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "gpu.lab"}
    me = server.request("GET", ME, None, told)
    assert (me.status, me.body["address"]) == (200, "198.51.100.7")
    assert me.headers["Strict-Transport-Security"]
    for path in (ME, "/api/queue"):
        assert server.request("GET", path, None, {"Authorization": ""}).status == 401, "no owner on loopback any more"
    clear = server.request("GET", ME, None, told | {"X-Forwarded-Proto": "http"})
    assert (clear.status, clear.body["code"]) == (403, "tls_needed")
    assert server.request("GET", ME, None, told | {"X-Forwarded-Host": "evil.example"}).status == 421
    login = {"username": "root", "password": PASSWORD}
    answer = server.request("POST", "/api/login", login, {"Authorization": "", "Origin": "https://gpu.lab", **told})
    assert answer.status == 200 and answer.headers["Set-Cookie"].startswith("__Host-")
    entries = server.get("/api/audit").body["entries"]
    logged_in = next(entry for entry in entries if entry["action"] == "logged_in")
    assert logged_in["address"] == "198.51.100.7"


def test_rates_are_those_of_the_sender_not_of_the_proxy(proxied: Server) -> None:
    def guess(address: str) -> int:
        told = {"Authorization": "", "X-Forwarded-For": f"{address}, 127.0.0.1", "X-Forwarded-Proto": "https"}
        return proxied.request("POST", "/api/login", {"username": f"name-{address}", "password": "x" * 12}, told).status

    statuses = [guess("198.51.100.7") for _ in range(14)]
    assert 429 in statuses
    assert guess("198.51.100.8") == 401, "another one behind the same proxy is not held up"


def test_the_command_line_of_another_machine(network: Server, tmp_path: Path) -> None:
    """Log in with the certificate at hand, work, and let the doctor look."""
    token = tmp_path / "root.token"
    token.write_text(network.token)
    token.chmod(0o600)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
    environ |= {"GPUYARD_CONFIG_FILE": "/nonexistent", "XDG_CONFIG_HOME": str(tmp_path / "config")}
    environ |= {"GPUYARD_SERVER": network.url}

    def gpuyard(*words: str, code: int = 0, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "gpuyard", *words],
            capture_output=True,
            text=True,
            env=environ | more,
            timeout=100,
            check=False,
        )
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    assert "--cacert" in gpuyard("login", "--token-file", str(token), code=3)
    believed = str(network.cacert)
    gpuyard("login", "--token-file", str(token), "--cacert", believed)
    assert "root (1)" in gpuyard("whoami", "--cacert", believed)
    assert "hello over TLS" in gpuyard("run", "--gpus", "0", "--", "echo", "hello over TLS", GPUYARD_CACERT=believed)
    assert "speaks TLS" in gpuyard("jobs", "list", code=3, GPUYARD_SERVER=network.url.replace("https", "http"))
    said = gpuyard("doctor", "--data-dir", str(network.data), "--cacert", believed)
    assert "is ready" in said and "reachable from other machines, with TLS" in said
