"""A server that is opened to others, asked by another host: over a cable, from an address that is not its own."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.certificates import self_signed
from tests.e2e.network import opened, with_people
from tests.e2e.server import Server
from tests.net.hosts import Cable, Host, host, network_or_skip

ME = "/api/users/me"
NOBODY = {"Authorization": ""}


class Reached(Server):
    """A server on a host of its own, asked from its `asker`."""

    def __init__(self, folder: Path, home: Host) -> None:
        super().__init__(folder)
        self.home = self.asker = home
        self.prefix = home.enter()

    def connect(self) -> http.client.HTTPConnection:
        connection = super().connect()
        with self.asker.inside():
            connection.connect()
        return connection

    def ask_from(self, asker: Host, address: str) -> None:
        """From now on `asker` asks, at this address of the server's host."""
        parts = urlsplit(self.url)
        self.asker, self.url = asker, f"{parts.scheme}://{address}:{parts.port}"


class Lab:
    """The server's host, a laptop, and the cable between them."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.home, self.laptop = stack.enter_context(host()), stack.enter_context(host())
        self.address, self.laptops = Cable(self.home, self.laptop).addresses
        self.folder = folder
        self.server = Reached(folder, self.home)
        stack.callback(self.server.close)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    network_or_skip()
    with ExitStack() as stack:
        yield Lab(stack, tmp_path)


def test_from_another_host_nobody_comes_in_without_a_token(lab: Lab) -> None:
    pair = self_signed(lab.folder, names=f"IP:{lab.address},DNS:localhost")
    server = opened(with_people(lab.server), pair)
    assert server.request("GET", ME, None, NOBODY).status == 401, "nor on the server's own host"
    server.ask_from(lab.laptop, lab.address)
    for spoofed in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"Host": "localhost"}, {"Host": "127.0.0.1"}):
        assert server.request("GET", ME, None, NOBODY | spoofed).status == 401, spoofed
    me = server.get(ME)
    assert (me.status, me.body["address"]) == (200, lab.laptops)

    token = lab.folder / "root.token"
    token.write_text(server.token)
    token.chmod(0o600)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
    environ |= {"GPUYARD_SERVER": server.url, "GPUYARD_CACERT": str(pair.cert)}
    words = ["run", "--gpus", "0", "--token-file", str(token), "--", "echo", "from the laptop"]
    done = subprocess.run(
        [*lab.laptop.enter(), sys.executable, "-m", "gpuyard", *words],
        capture_output=True,
        text=True,
        env=environ,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "from the laptop\n"), done.stderr
    said = [entry["address"] for entry in server.get("/api/audit?action=job_submitted").body["entries"]]
    assert said == [lab.laptops]


def test_past_the_proxy_nobody_comes_in_and_the_proxy_is_believed(lab: Lab) -> None:
    server = with_people(lab.server)
    plain = list(server.flags)
    told = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https", "Host": "gpu.lab"}
    for trusted, believed in (("10.254.254.254", False), (lab.laptops, True)):
        server.flags = [*plain, "--host", "0.0.0.0", "--behind-tls-proxy", "--trusted-proxy", trusted]
        server.flags += ["--allowed-host", "gpu.lab"]
        server.asker = lab.home
        server.start()
        server.ask_from(lab.laptop, lab.address)
        answer = server.request("GET", ME, None, told)
        if believed:
            assert (answer.status, answer.body["address"]) == (200, "198.51.100.7")
            assert server.request("GET", ME, None, told | NOBODY).status == 401
        else:
            assert (answer.status, answer.body["code"]) == (403, "tls_needed"), "its token came in the clear"
        assert server.stop() == 0
