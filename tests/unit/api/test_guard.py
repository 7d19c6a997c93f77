"""The guard: request ids, security headers, media types, bounds. Attacks are in tests/security."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import ProcessQueue
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.api.app import create_app
from gpuyard.api.bodies import check_json
from gpuyard.api.core import LocalCore
from gpuyard.api.errors import Malformed
from gpuyard.api.identity import Caller, Identity
from gpuyard.api.ratelimit import RateLimiter
from gpuyard.api.settings import Settings
from tests.answering import Cast
from tests.unit.api.conftest import PEER, URL, client_of

JSON = {"content-type": "application/json"}


def test_a_sane_request_id_is_taken_and_becomes_the_cause(api: TestClient, actors: Cast) -> None:
    answer = api.post("/api/queue/process", headers={"X-Request-ID": "mine-1.a"})
    assert answer.headers["x-request-id"] == "mine-1.a"
    heard = actors.heard[names.SCHEDULER][-1]
    assert isinstance(heard, ProcessQueue)
    assert heard.cause == "mine-1.a"


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "ü", "a\tb", "<script>"])
def test_any_other_request_id_is_replaced(api: TestClient, sent: str) -> None:
    answer = api.get("/healthz", headers={"X-Request-ID": sent.encode()})
    assert answer.headers["x-request-id"] not in ("", sent)
    assert len(answer.headers["x-request-id"]) == 16


@pytest.mark.parametrize("path", ["/healthz", "/api/nothing", "/openapi.json", "/api/queue/concurrency"])
def test_every_answer_carries_the_security_headers(api: TestClient, path: str) -> None:
    headers = api.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "server" not in headers


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=UTF-8", 200),
        ('application/json; charset="utf-8"', 200),
        ("application/json; charset=utf-16", 415),
        ("text/plain", 415),
        ("text/plain; application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/xml", 415),
        ("", 415),
    ],
)
def test_a_body_must_be_json(api: TestClient, kind: str, status: int) -> None:
    answer = api.post("/api/queue/process", content=b"{}", headers={"content-type": kind})
    assert answer.status_code == status, answer.text


def test_a_compressed_body_is_not_taken(api: TestClient) -> None:
    answer = api.post("/api/queue/process", content=b"{}", headers=JSON | {"content-encoding": "gzip"})
    assert answer.status_code == 415


def test_no_body_needs_no_media_type(api: TestClient) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert api.post("/api/queue/process").status_code == 200
    assert api.post("/api/queue/process", content=b"", headers=form).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"NaN",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\udc00\\ud800"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\xff"}',
        b'{"a": "b\x00c"}',
        b"{'a': 1}",
        b'{"a": 01}',
        b'{"a": 1,}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_not_json_is_malformed(api: TestClient, body: bytes) -> None:
    answer = api.post("/api/queue/process", content=body, headers=JSON)
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "malformed"
    assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"n": 2**63}, "n"),
        ({"n": -(2**63) - 1}, "n"),
        ({"n": 10**20}, "n"),
        ({"n": 10**400}, "n"),
        ({"list": [1, {"deep": 2**64}]}, "list.1.deep"),
        ({"text": "a\0b"}, "text"),
        ({"a\0b": 1}, "body"),
        ({"env": {"K": "\0"}}, "env.K"),
        ([{"n": 10**20}], "body.0.n"),
    ],
)
def test_what_storage_cannot_hold_is_refused_by_its_name(api: TestClient, body: Any, field: str) -> None:
    answer = api.post("/api/queue/process", content=json.dumps(body).encode(), headers=JSON)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"n": 9223372036854775807, "m": -9223372036854775808}',
        b'{"text": "\\ud83d\\ude00 \xc3\xbc \\\\u0000"}',
        b'{"digits": "12345678901234567890123"}',
        b'{"pi": 3.14159265358979323846264338327950288}',
        b'{"a": 1, "a": 2}',
    ],
)
def test_what_is_only_unusual_passes(body: bytes) -> None:
    check_json(body)


def test_the_body_cap_is_256_kib_and_8_mib_for_a_list_of_submits(actors: Cast) -> None:
    with client_of(actors) as api:
        just = b'{"a":"' + b"x" * (256 * 1024 - 8) + b'"}'
        assert len(just) == 256 * 1024
        assert api.post("/api/queue/process", content=just, headers=JSON).status_code == 200
        assert api.post("/api/queue/process", content=just + b" ", headers=JSON).status_code == 413
        assert api.post("/api/queue/process", content=b"[" + just + b"]", headers=JSON).status_code == 413
        assert api.post("/api/queue/submit", content=just + b" ", headers=JSON).status_code == 413
        assert api.post("/api/queue/submit", content=b" [" + just + b"]", headers=JSON).status_code == 422
        many = b"[" + b" " * (8 * 1024 * 1024) + b"]"
        assert api.post("/api/queue/submit", content=many, headers=JSON).status_code == 413


def test_only_so_many_requests_are_served_at_once(actors: Cast) -> None:
    with client_of(actors, Settings(max_requests=0)) as api:
        answer = api.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["code"] == "busy"
    assert answer.headers["retry-after"] == "1"


class Somebody:
    async def identify(self, caller: Caller) -> Identity:
        return Identity(Viewer(user_id=4, username="ann", level=Level.ADMIN), "user 4")


def test_who_asks_too_often_is_told_to_wait_and_others_are_not(actors: Cast) -> None:
    settings = Settings(rate_per_second=0.5, rate_burst=3)
    app = create_app(LocalCore(actors.directory), settings, Somebody())
    with TestClient(app, base_url=URL, client=PEER) as api:
        statuses = [api.post("/api/queue/process").status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        answer = api.post("/api/queue/process")
        assert answer.json()["code"] == "rate_limited"
        assert 1 <= int(answer.headers["retry-after"]) <= 2
        assert api.get("/healthz").status_code == 200


def test_the_owner_on_loopback_is_never_told_to_wait(actors: Cast) -> None:
    with client_of(actors, Settings(rate_per_second=0.1, rate_burst=1)) as api:
        assert {api.post("/api/queue/process").status_code for _ in range(10)} == {200}


def test_a_bucket_fills_again() -> None:
    now = [100.0]
    limiter = RateLimiter(50, 200, clock=lambda: now[0])
    for _ in range(200):
        limiter.take("ann")
    with pytest.raises(Exception, match="50 requests a second") as told:
        limiter.take("ann")
    assert getattr(told.value, "data", {})["retry_after"] == 1
    limiter.take("bob")
    now[0] += 0.125
    for _ in range(6):
        limiter.take("ann")
    with pytest.raises(Exception, match="try again"):
        limiter.take("ann")
    now[0] += 1000
    for _ in range(200):
        limiter.take("ann")


def test_the_buckets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuyard.api.ratelimit.MOST_BUCKETS", 10)
    limiter = RateLimiter(1, 1, clock=lambda: 0.0)
    for number in range(1000):
        limiter.take(str(number))
    assert len(limiter._buckets) == 10


def test_deep_nesting_is_no_crash() -> None:
    with pytest.raises(Malformed, match="nested"):
        check_json(b"[" * 90_000 + b"]" * 90_000)
