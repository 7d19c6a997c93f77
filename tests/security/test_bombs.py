"""Too much, too long, too slow: bounded, answered in the one error form, and nobody else notices."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuyard.api.doorway import Crowd, Doorway
from gpuyard.api.process import bind
from gpuyard.api.protocol import HttpProtocol
from gpuyard.api.settings import Settings
from tests.answering import Cast
from tests.certificates import self_signed
from tests.frontends import Reply, Served, frontend
from tests.support import eventually

KIB, MIB = 1024, 1024 * 1024


def refused(answer: Reply, status: int, code: str) -> None:
    assert (answer.status, answer.json["code"]) == (status, code), answer.body
    assert isinstance(answer.json["detail"], str)
    assert answer.json["request_id"]
    assert answer.headers["content-type"] == "application/json"


def head(served: Served, path: str = "/api/queue/process", *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Host: {served.host}", "Content-Type: application/json", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunks(size: int, piece: bytes = b" " * 64 * KIB) -> Iterator[bytes]:
    """`size` bytes of a chunked body, and then no end."""
    for _ in range(size // len(piece)):
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


# --- heads ------------------------------------------------------------------------------------------------------


def test_too_many_headers(served: Served) -> None:
    refused(
        served.raw(head(served, "/api/queue/process", *[f"X-{n}: y" for n in range(150)])), 431, "headers_too_large"
    )


def test_too_long_headers(served: Served) -> None:
    refused(served.raw(head(served, "/healthz", "X-Long: " + "y" * 40 * KIB)), 431, "headers_too_large")


def test_a_head_without_end(served: Served) -> None:
    answer = served.raw(b"GET /healthz HTTP/1.1\r\nX-Long: ", (b"y" * 64 * KIB for _ in range(100)))
    refused(answer, 431, "headers_too_large")
    assert answer.headers["connection"] == "close"


def test_a_too_long_address(served: Served) -> None:
    refused(served.ask("GET", "/healthz?" + "x" * 9 * KIB), 431, "headers_too_large")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"NONSENSE\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Name: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
def test_what_is_not_http_is_malformed(served: Served, data: bytes) -> None:
    answer = served.raw(data)
    assert answer.status in (400, 501), answer.body
    refused(answer, answer.status, "malformed")


@pytest.mark.parametrize("path", ["/api/jobs/%00", "/api/jobs/a%0Ab", "/api/jobs/%1b%5b2J", "/%7f"])
def test_control_characters_in_an_address(served: Served, path: str) -> None:
    refused(served.ask("GET", path), 400, "malformed")


def test_nul_in_a_query(served: Served) -> None:
    refused(served.ask("GET", "/api/queue?status=%00"), 422, "invalid_input")


def test_smuggling_a_second_request_is_not_possible(served: Served) -> None:
    """A length and chunks at once: one request, and the rest is not taken for another."""
    body = b"0\r\n\r\nPOST /api/queue/process HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = served.raw(head(served, "/healthz", f"Content-Length: {len(body)}", "Transfer-Encoding: chunked") + body)
    refused(answer, 400, "malformed")
    assert answer.headers["connection"] == "close"
    assert served.untouched()


# --- bodies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [256 * KIB + 1, 10**10, 10**17])
def test_a_body_that_says_it_is_too_large(served: Served, length: int) -> None:
    answer = served.raw(head(served, "/api/queue/process", f"Content-Length: {length}"), [b" " * KIB])
    refused(answer, 413, "too_large")


def test_a_body_that_grows_too_large(served: Served) -> None:
    answer = served.raw(head(served, "/api/queue/process", "Transfer-Encoding: chunked"), chunks(64 * MIB))
    refused(answer, 413, "too_large")


def test_a_list_of_submits_may_be_long_but_not_endless(served: Served) -> None:
    piece = b"[" + b" " * (64 * KIB - 1)
    answer = served.raw(head(served, "/api/queue/submit", "Transfer-Encoding: chunked"), chunks(64 * MIB, piece))
    refused(answer, 413, "too_large")
    long = json.dumps([{"command": ["true"], "metadata": {"x": "y" * MIB}}]).encode()
    answer = served.ask("POST", "/api/queue/submit", long, Content_Type="application/json")
    assert answer.status in (200, 422, 500, 503), answer.body
    assert answer.status != 413
    refused(served.ask("POST", "/api/queue/submit", long[1:-1], Content_Type="application/json"), 413, "too_large")


def test_the_client_reads_the_refusal_of_a_body_that_it_has_sent_whole(served: Served) -> None:
    """Closing with unread data would reset the connection before the answer is read."""
    for _ in range(20):
        refused(served.ask("POST", "/api/queue/process", b" " * 600 * KIB), 413, "too_large")


def test_a_refused_sender_that_goes_on_is_cut_off(served: Served) -> None:
    """Whoever is refused for its Host and then sends without end does not hold the connection."""
    data = b"POST /api/queue/process HTTP/1.1\r\nHost: evil.example\r\nTransfer-Encoding: chunked\r\n\r\n"
    began = time.monotonic()
    answer = served.raw(data, chunks(256 * MIB))
    refused(answer, 421, "wrong_host")
    assert answer.headers["connection"] == "close"
    assert time.monotonic() - began < 15


# --- time -------------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(actors: Cast, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server that waits a quarter of a second for heads and bodies."""
    monkeypatch.setattr(HttpProtocol, "head_seconds", 0.25)
    with frontend(actors, Settings(body_timeout=0.25)) as served:
        yield served


def test_a_slow_body(impatient: Served) -> None:
    answer = impatient.raw(head(impatient, "/api/queue/process", "Content-Length: 100") + b"{")
    refused(answer, 408, "request_timeout")
    assert answer.headers["connection"] == "close"
    assert impatient.untouched()


def test_a_slow_head(impatient: Served) -> None:
    answer = impatient.raw(b"GET /healthz HTTP/1.1\r\nHost: loc")
    refused(answer, 408, "request_timeout")


def test_a_connection_that_says_nothing(impatient: Served) -> None:
    refused(impatient.raw(b""), 408, "request_timeout")


def test_a_slow_second_head(impatient: Served) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=20) as sock:
        request = f"GET /healthz HTTP/1.1\r\nHost: {impatient.host}\r\n\r\n".encode()
        sock.sendall(request)
        seen = sock.recv(65536)
        assert seen.startswith(b"HTTP/1.1 200")
        sock.sendall(request[:10])
        rest = b""
        while piece := sock.recv(65536):
            rest += piece
        assert b"HTTP/1.1 408" in rest


def test_a_request_in_time_is_not_cut_off_later(impatient: Served) -> None:
    """The head's timer ends with the head: an event stream lives on."""
    with impatient.stream() as stream:
        stream.frame()
        deadline = time.monotonic() + 0.6
        while time.monotonic() < deadline:
            impatient.publish([], 1)
            assert stream.frame()["event"] == "queue_changed"


def test_slow_senders_hold_up_nobody(served: Served) -> None:
    sockets = [socket.create_connection(("127.0.0.1", served.port), timeout=20) for _ in range(100)]
    try:
        for sock in sockets:
            sock.sendall(head(served, "/api/queue/process", "Content-Length: 100") + b"{")
        for _ in range(20):
            assert served.ask("POST", "/api/queue/process").status == 200
    finally:
        for sock in sockets:
            sock.close()


def test_too_many_connections(actors: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpProtocol, "max_connections", 3)
    with frontend(actors) as served:
        held = [socket.create_connection(("127.0.0.1", served.port), timeout=20) for _ in range(3)]
        try:
            for sock in held:
                sock.sendall(f"GET /healthz HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode())
                assert sock.recv(65536).startswith(b"HTTP/1.1 200")
            refused(served.raw(b""), 503, "busy")
        finally:
            for sock in held:
                sock.close()


def test_whoever_takes_none_of_its_answers_is_hung_up_on(actors: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpProtocol, "write_seconds", 0.25)
    with frontend(actors) as served, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(20)
        sock.connect(("127.0.0.1", served.port))
        request = f"GET /openapi.json HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode()

        def hung_up() -> bool:
            try:
                sock.sendall(request)
            except ConnectionError:
                return True
            return False

        eventually(hung_up, timeout=60)
        assert served.ask("GET", "/healthz").status == 200


def test_one_address_does_not_take_all_connections(actors: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(trusted=["192.0.2.0/24"])
    assert [crowd.enter("198.51.100.7") for _ in range(3)] == [1, 2, 3]
    assert crowd.enter("198.51.100.8") == 1
    crowd.leave("198.51.100.7")
    assert crowd.enter("198.51.100.7") == 3
    assert {crowd.enter(own) for own in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "192.0.2.9", "nonsense")} == {0}
    for address in ("198.51.100.7", "198.51.100.7", "198.51.100.7", "198.51.100.8", "127.0.0.1"):
        crowd.leave(address)
    assert not crowd._counts
    assert [crowd.enter(f"2001:db8::{number}") for number in (1, 2, 3)] == [1, 2, 3], "one of a /64 has all of it"
    assert crowd.enter("2001:db8:0:1::1") == 1
    monkeypatch.setattr(Crowd, "enter", lambda self, address: HttpProtocol.max_of_address + 1)
    with frontend(actors) as served:
        refused(served.raw(b""), 503, "busy")


@pytest.fixture
def speaking_tls(actors: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server with TLS that waits a quarter of a second for handshakes and heads."""
    monkeypatch.setattr("gpuyard.api.server.HANDSHAKE_SECONDS", 0.25)
    monkeypatch.setattr(HttpProtocol, "head_seconds", 0.25)
    pair = self_signed(tmp_path)
    with frontend(actors, Settings(ssl_cert=str(pair.cert), ssl_key=str(pair.key))) as served:
        yield served


def test_a_handshake_that_never_ends(speaking_tls: Served) -> None:
    """Nor one that never begins, nor what is no TLS at all: each is hung up on, without a byte of an answer."""
    for data in (b"", b"\x16\x03\x01\x02\x00\x01", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\0" * 100):
        with socket.create_connection(("127.0.0.1", speaking_tls.port), timeout=20) as sock:
            sock.sendall(data)
            seen = b""
            try:
                while piece := sock.recv(4096):
                    seen += piece
            except ConnectionResetError:
                pass
            assert b"HTTP" not in seen


def test_unfinished_handshakes_are_bounded_before_they_cost_anything(
    speaking_tls: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the bound are closed without a byte; when those inside are gone the next comes in."""
    monkeypatch.setattr("gpuyard.api.server.HANDSHAKE_SECONDS", 60)
    monkeypatch.setattr(Doorway, "most", 5)
    held = [socket.create_connection(("127.0.0.1", speaking_tls.port), timeout=20) for _ in range(5)]
    try:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", speaking_tls.port), timeout=20) as sock:
                try:
                    assert sock.recv(1) == b""
                except ConnectionResetError:
                    pass
    finally:
        for sock in held:
            sock.close()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def comes_in() -> bool:
        with socket.create_connection(("127.0.0.1", speaking_tls.port), timeout=20) as plain:
            try:
                with context.wrap_socket(plain) as sock:
                    return sock.version() is not None
            except OSError:
                return False

    eventually(comes_in, timeout=60)


def test_one_address_has_a_bound_of_its_own_before_its_handshakes() -> None:
    with bind("127.0.0.1", 0) as listener, Doorway(listener) as door:
        door.settimeout(20)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Crowd, "enter", lambda self, address: Doorway.most_of_address + 1)
            with socket.create_connection(listener.getsockname()) as sock:
                with pytest.raises(ConnectionAbortedError):
                    door.accept()
                assert sock.recv(1) == b""
        with socket.create_connection(listener.getsockname()):
            visitor, _ = door.accept()
            assert door._inside == 1
            visitor.close()
            visitor.close()
            assert door._inside == 0


def test_a_slow_head_over_tls(speaking_tls: Served, tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=str(tmp_path / "server.crt"))
    with (
        socket.create_connection(("127.0.0.1", speaking_tls.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: loc")
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        assert (answer.status, json.loads(answer.read())["code"]) == (408, "request_timeout")


def test_many_clients_at_once_are_all_answered(served: Served) -> None:
    statuses: list[int] = []

    def client() -> None:
        for _ in range(5):
            statuses.append(served.ask("POST", "/api/queue/process").status)

    threads = [threading.Thread(target=client) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert statuses == [200] * 80
