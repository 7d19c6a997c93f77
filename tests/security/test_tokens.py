"""Tokens that must open nothing: wrong, revoked, expired, of disabled or deleted people, for something else."""

from __future__ import annotations

import http.client
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import psutil
import pytest

from gpuyard.actors.base import Context, start
from gpuyard.actors.model import names
from gpuyard.actors.model.message import Shutdown
from gpuyard.actors.people import People
from tests import leaks
from tests.security.society import Society, society
from tests.support import eventually

ME = "/api/users/me"


@pytest.fixture(scope="module", autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Society]:
    with society(tmp_path_factory.mktemp("society")) as made:
        yield made


@contextmanager
def stream(people: Society, token: str) -> Iterator[http.client.HTTPResponse]:
    """An open event stream, its first line read."""
    connection = http.client.HTTPConnection("127.0.0.1", people.port, timeout=30)
    try:
        connection.request("GET", "/api/events", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.readline().startswith(b"retry:")
        yield answer
    finally:
        connection.close()


def test_all_spellings_of_a_credential(people: Society) -> None:
    token = people.tokens["researcher"]
    for sent, status in (
        ({"Authorization": f"Bearer {token}"}, 200),
        ({"Authorization": f"bearer {token}"}, 200),
        ({"X_API_Key": token}, 200),
        ({"Authorization": token}, 401),
        ({"Authorization": f"Basic {token}"}, 401),
        ({"Authorization": f"Bearer {token} {token}"}, 401),
        ({"Authorization": f"Bearer {token[:-1]}"}, 401),
        ({"Authorization": f"Bearer {token}A"}, 401),
        ({"Authorization": f"Bearer {token.swapcase()}"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Cookie": f"token={token}"}, 401),
        ({"Authorization": "Bearer gy_" + "\xfc" * 43}, 401),
    ):
        answer = people.ask("GET", ME, **sent)
        assert answer.status == status, (list(sent), answer.raw)
        if status == 401:
            assert answer.headers["www-authenticate"] == "Bearer"
            assert token.encode() not in answer.raw
    assert people.ask("GET", f"{ME}?token={token}").status == 401, "never from the address"


def test_a_revoked_token_opens_nothing_and_what_it_had_open_ends(people: Society) -> None:
    admin = people.tokens["admin"]
    made = people.must("POST", "/api/tokens", people.tokens["researcher"], {"name": "gone"})
    with stream(people, made["token"]) as open_one, stream(people, people.tokens["researcher"]) as other:
        people.must("DELETE", f"/api/tokens/{made['id']}", admin)
        assert people.ask("GET", ME, made["token"]).status == 401
        assert open_one.read() == b"\n", "it ends"
        people.must("POST", "/api/queue/process", admin)
        assert any(line.startswith(b"id:") for line in iter(other.readline, b"")), "the other goes on"


def test_again_and_again_a_token_lives_from_one_answer_to_the_other(people: Society) -> None:
    """However the changes fall between the Frontend's questions for news."""
    researcher = people.tokens["researcher"]
    for _ in range(60):
        made = people.must("POST", "/api/tokens", researcher, {})
        assert people.ask("GET", ME, made["token"]).status == 200
        people.must("DELETE", f"/api/tokens/{made['id']}", researcher)
        assert people.ask("GET", ME, made["token"]).status == 401


def test_a_level_change_acts_at_once_also_on_streams(people: Society) -> None:
    admin = people.tokens["admin"]
    user = people.must("POST", "/api/users", admin, {"username": "climber", "level": "lead"})
    place = f"/api/users/{user['id']}"
    with stream(people, user["token"]) as as_lead:
        for level, status in (("researcher", 403), ("admin", 200), ("viewer", 403), ("lead", 200)):
            people.must("PATCH", place, admin, {"level": level})
            assert people.ask("GET", "/api/users", user["token"]).status == status
        assert as_lead.read() == b"\n"
    people.must("PATCH", place, admin, {"disabled": True})
    assert people.ask("GET", ME, user["token"]).status == 401
    people.must("PATCH", place, admin, {"disabled": False})
    assert people.ask("GET", ME, user["token"]).status == 200
    people.must("DELETE", place, admin)
    assert people.ask("GET", ME, user["token"]).status == 401


def test_an_expired_token_opens_nothing_and_its_streams_end(people: Society) -> None:
    ends = time.time() + 1.5
    at = datetime.fromtimestamp(ends, UTC).isoformat()
    made = people.must("POST", "/api/tokens", people.tokens["researcher"], {"expires_at": at})
    with stream(people, made["token"]) as open_one:
        assert open_one.read() == b"\n"
    assert time.time() >= ends
    assert people.ask("GET", ME, made["token"]).status == 401
    shown = people.must("GET", "/api/tokens", people.tokens["researcher"])["tokens"]
    assert {one["id"]: one["live"] for one in shown}[made["id"]] is False


def test_nobody_makes_a_token_for_more_than_they_may(people: Society) -> None:
    researcher, submit = people.tokens["researcher"], people.tokens["researcher", "submit"]
    assert people.ask("POST", "/api/tokens", submit, {"scopes": ["admin"]}).status == 403, "a scope is no ladder"
    for body in ({"user_id": people.people["admin"]}, {"user_id": people.people["other"]}):
        assert people.ask("POST", "/api/tokens", researcher, body).status == 403
    made = people.must("POST", "/api/tokens", researcher, {"scopes": ["read", "submit", "admin"]})
    assert people.ask("GET", "/api/users", made["token"]).status == 403, "scopes give no level"
    for who in ("viewer", "researcher", "lead"):
        for body in ({"level": "admin"}, {"team_id": None}):
            assert people.ask("PATCH", f"/api/users/{people.people[who]}", people.tokens[who], body).status == 403


def test_the_last_way_in_cannot_be_closed(people: Society) -> None:
    admin = people.tokens["admin"]
    own = f"/api/users/{people.people['admin']}"
    for method, path, body in (
        ("PATCH", own, {"level": "lead"}),
        ("PATCH", own, {"disabled": True}),
        ("DELETE", own, None),
    ):
        answer = people.ask(method, path, admin, body)
        assert (answer.status, answer.body["code"]) == (409, "wrong_state"), answer.raw
    assert people.ask("GET", ME).status == 401, "and the owner does not come back"


def test_while_nobody_knows_who_may_come_in_nobody_does(people: Society) -> None:
    directory = people.supervisor.directory
    directory.ref(names.PEOPLE).ask(Shutdown()).result(10)
    directory.drop(names.PEOPLE)
    answer = eventually(
        lambda: found if (found := people.ask("GET", ME, people.tokens["admin"])).status == 503 else None, timeout=30
    )
    assert answer is not None
    assert (answer.body["code"], "retry-after" in answer.headers) == ("unavailable", True)
    assert people.ask("GET", ME).status == 503, "least of all as the owner"
    assert people.ask("GET", "/healthz").status == 200
    start(People, Context(names.PEOPLE, directory=directory))
    eventually(lambda: people.ask("GET", ME, people.tokens["admin"]).status == 200, timeout=30)


def test_ten_thousand_wrong_tokens_get_429_and_cost_no_memory(tmp_path_factory: pytest.TempPathFactory) -> None:
    with society(tmp_path_factory.mktemp("limited"), rate_per_second=1.0, rate_burst=200) as people:
        connection = http.client.HTTPConnection("127.0.0.1", people.port, timeout=30)
        statuses: Counter[int] = Counter()
        sizes = []
        for number in range(10_000):
            if number in (2_000, 9_999):
                sizes.append(psutil.Process().memory_info().rss)
            sent = {"Authorization": f"Bearer gy_{number:043d}"}
            connection.request("GET", ME, headers=sent)
            answer = connection.getresponse()
            statuses[answer.status] += 1
            answer.read()
            if answer.status == 429:
                assert int(answer.headers["Retry-After"]) >= 1
        connection.close()
        assert set(statuses) == {401, 429}
        assert statuses[401] >= 200
        assert statuses[429] >= 5_000, "one a second gets through, however slow this machine is"
        assert sizes[1] - sizes[0] < 8 * 1024 * 1024
        assert people.ask("GET", ME, people.tokens["admin"]).status == 200, "who has a token is not held up by them"
