"""Servers that other machines may reach, as tests start them."""

from __future__ import annotations

from tests.certificates import Pair
from tests.e2e.server import Server

PASSWORD = "correct horse battery staple"


def with_people(server: Server) -> Server:
    """Its first user is made on loopback, as it must be; then it is stopped."""
    made = server.start().post("/api/users", {"username": "root", "level": "admin"})
    assert made.status == 200, made.body
    server.token = made.body["token"]
    assert server.request("PUT", f"/api/users/{made.body['id']}/password", {"password": PASSWORD}).status == 200
    assert server.stop() == 0
    return server


def opened(server: Server, pair: Pair, *flags: str) -> Server:
    """Started again, for others too."""
    server.cacert = pair.cert
    server.flags += ["--host", "0.0.0.0", "--ssl-cert", str(pair.cert), "--ssl-key", str(pair.key), *flags]
    return server.start()
