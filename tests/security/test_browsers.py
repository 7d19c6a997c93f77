"""A web page in the user's browser tries to reach the server on loopback."""

from __future__ import annotations

import pytest

from tests.frontends import Served

# Every kind of request that changes something or tells something.
TARGETS = [
    ("POST", "/api/queue/process"),
    ("GET", "/api/queue/concurrency"),
    ("GET", "/api/events"),
    ("GET", "/healthz"),
]

REBOUND = [
    "evil.example",
    "evil.example:8000",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evil.example.",
    "localhost.",
    "sub.localhost",
    "0.0.0.0",
    "127.1",
    "127.0.0.2",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::1].evil.example",
    "evil.example@127.0.0.1",
    "127.0.0.1@evil.example",
    "127.0.0.1,evil.example",
    "127.0.0.1 evil.example",
    "127.0.0.1/evil.example",
    "127.0.0.1:80:80",
    "127.0.0.1:x",
    "127.0.0.1\u00a0",
    "1\u00b227.0.0.1",
    "",
]


@pytest.mark.parametrize("host", REBOUND)
@pytest.mark.parametrize(("method", "path"), TARGETS[:1] + TARGETS[2:3])
def test_dns_rebinding_is_misdirected(served: Served, method: str, path: str, host: str) -> None:
    answer = served.ask(method, path, Host=host)
    assert answer.status == 421, answer.body
    assert answer.json["code"] == "wrong_host"
    assert served.untouched()


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "[::1]", "localhost:1", "[::1]:8000"])
def test_loopback_names_are_ours_whatever_the_port(served: Served, host: str) -> None:
    assert served.ask("GET", "/healthz", Host=host).status == 200


def test_two_hosts_are_one_too_many(served: Served) -> None:
    answer = served.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
    assert answer.status == 400
    assert answer.json["code"] == "malformed"


def test_no_host_is_no_host(served: Served) -> None:
    assert served.raw(b"GET /healthz HTTP/1.0\r\n\r\n").status == 421
    assert served.raw(b"GET /healthz HTTP/1.1\r\n\r\n").status == 400


ORIGINS = [
    "http://evil.example",
    "https://evil.example:8000",
    "null",
    "http://127.0.0.1.evil.example",
    "http://127.0.0.1:1",
    "http://localhost",
    "http://evil.example@127.0.0.1",
    "file://",
    "chrome-extension://abcdef",
    "",
]


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize(("method", "path"), TARGETS)
def test_a_foreign_origin_is_refused(served: Served, method: str, path: str, origin: str) -> None:
    answer = served.ask(method, path, Origin=origin)
    assert answer.status == 403, answer.body
    assert answer.json["code"] == "cross_site"
    assert served.untouched()


def test_our_own_origin_is_welcome(served: Served) -> None:
    for origin in (f"http://{served.host}", f"HTTP://{served.host}"):
        assert served.ask("POST", "/api/queue/process", Origin=origin, Sec_Fetch_Site="same-origin").status == 200


def test_one_foreign_origin_beside_our_own_is_refused(served: Served) -> None:
    head = f"POST /api/queue/process HTTP/1.1\r\nHost: {served.host}\r\nOrigin: http://{served.host}\r\n"
    answer = served.raw(f"{head}Origin: http://evil.example\r\nContent-Length: 0\r\n\r\n".encode())
    assert answer.status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "SAME-ORIGIN", "same-origin, cross-site", "x"])
@pytest.mark.parametrize(("method", "path"), TARGETS)
def test_what_the_browser_calls_foreign_is_refused_without_a_body_too(
    served: Served, method: str, path: str, site: str
) -> None:
    answer = served.ask(method, path, Sec_Fetch_Site=site)
    assert answer.status == 403, answer.body
    assert answer.json["code"] == "cross_site"
    assert served.untouched()


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_what_the_browser_calls_ours_is_welcome(served: Served, site: str) -> None:
    assert served.ask("POST", "/api/queue/process", Sec_Fetch_Site=site).status == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_json_in_disguise_is_refused(served: Served, kind: str) -> None:
    """The three media types that a page may send to anywhere without asking first."""
    answer = served.ask("POST", "/api/queue/process", b'{"command": ["rm"]}', Content_Type=kind)
    assert answer.status == 415
    assert served.untouched()


def test_a_preflight_is_never_answered_with_leave(served: Served) -> None:
    answer = served.ask(
        "OPTIONS", "/api/queue/process", Origin="http://evil.example", Access_Control_Request_Method="POST"
    )
    assert answer.status == 403
    for granted in (answer, served.ask("OPTIONS", "/api/queue/process"), served.ask("GET", "/healthz")):
        assert not [name for name in granted.headers if name.startswith("access-control-")]
