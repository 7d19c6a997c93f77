"""Passwords open the page and nothing else: slowly, seldom, and without telling what was wrong."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest

from gpuyard.api.identity import csrf_of
from gpuyard.cli.data_folder import DATABASE
from tests import leaks
from tests.security.society import Answer, Society, society

PASSWORD = "correct horse battery staple"
ME = "/api/users/me"


@pytest.fixture(scope="module", autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


@pytest.fixture
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Society]:
    """Fresh for each test: how often one may guess is what is tested."""
    with society(tmp_path_factory.mktemp("society")) as made:
        for who in ("admin", "researcher"):
            place = f"/api/users/{made.people[who]}/password"
            made.must("PUT", place, made.tokens[who], {"password": PASSWORD})
        yield made


def log_in(people: Society, username: str, password: str, **headers: str) -> Answer:
    return people.ask("POST", "/api/login", None, {"username": username, "password": password}, **headers)


def cookie(answer: Answer) -> str:
    assert answer.status == 200, answer.raw
    return answer.headers["set-cookie"].partition(";")[0]


def by_page(session: str) -> dict[str, str]:
    """What a page sends with a change: its cookie, and the token that only its own pages know."""
    return {"Cookie": session, "X_CSRF_Token": csrf_of(session.partition("=")[2])}


def test_a_log_in_gives_a_cookie_that_only_the_browser_knows(people: Society) -> None:
    answer = log_in(people, "Researcher", PASSWORD)
    parts = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert parts == {"httponly", "samesite=strict", "path=/", "max-age=43200"}
    assert b"gy_" not in answer.raw
    sent = {"Cookie": f"theme=dark; {cookie(answer)}"}
    me = people.ask("GET", ME, **sent)
    assert (me.status, me.body["username"], me.body["scopes"]) == (200, "researcher", ["read", "submit", "admin"])
    for header in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        refused = people.ask("POST", "/api/jobs/cancel", None, {"all": True}, **sent, **header)
        assert (refused.status, refused.body["code"]) == (403, "cross_site"), "no other page can use it"
    unproved = people.ask("POST", "/api/logout", **sent)
    assert (unproved.status, unproved.body["code"]) == (403, "cross_site"), "a change needs the page's own token too"
    wrong = people.ask("POST", "/api/logout", **sent, X_CSRF_Token=csrf_of("another"))
    assert wrong.status == 403
    gone = people.ask("POST", "/api/logout", **sent, X_CSRF_Token=csrf_of(cookie(answer).partition("=")[2]))
    assert (gone.status, "max-age=0" in gone.headers["set-cookie"].lower()) == (200, True)
    assert people.ask("GET", ME, **sent).status == 401


def test_what_was_wrong_is_not_told(people: Society) -> None:
    people.must("PATCH", f"/api/users/{people.people['admin']}", people.tokens["admin"], {"username": "root"})
    told = set()
    for username, password in (
        ("researcher", PASSWORD + "!"),
        ("nobody", PASSWORD),
        ("viewer", PASSWORD),
        ("admin", PASSWORD),
        ("root (deleted, 1)", PASSWORD),
    ):
        answer = log_in(people, username, password)
        assert answer.status == 401
        told.add((answer.body["detail"], answer.headers["www-authenticate"], "set-cookie" in answer.headers))
    assert told == {("username and password do not belong together", "Bearer", False)}


def test_guessing_is_slow_for_an_address_and_for_a_name(people: Society) -> None:
    statuses = Counter(log_in(people, f"name{number}", "x" * 12).status for number in range(14))
    assert statuses[429] >= 2 and statuses[401] >= 10
    refused = next(answer for _ in range(14) if (answer := log_in(people, "researcher", PASSWORD)).status == 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 12


def test_many_at_once_wait_for_one_thread_and_the_rest_is_served_meanwhile(people: Society) -> None:
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(log_in(people, "researcher", "wrong password").status))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    assert people.ask("GET", ME, people.tokens["viewer"]).status == 200
    for thread in threads:
        thread.join(60)
    assert set(answers) == {401}


def test_a_new_password_ends_the_log_ins_of_before_and_no_token(people: Society) -> None:
    place = f"/api/users/{people.people['researcher']}/password"
    first, second = cookie(log_in(people, "researcher", PASSWORD)), cookie(log_in(people, "researcher", PASSWORD))
    changed = people.ask("PUT", place, None, {"password": "another long password"}, **by_page(second))
    assert changed.status == 200
    assert people.ask("GET", ME, Cookie=first).status == 401
    assert people.ask("GET", ME, Cookie=second).status == 200
    assert people.ask("GET", ME, people.tokens["researcher"]).status == 200
    assert log_in(people, "researcher", PASSWORD).status == 401
    people.must("PUT", place, people.tokens["admin"], {"password": None})
    assert people.ask("GET", ME, Cookie=second).status == 401
    assert log_in(people, "researcher", "another long password").status == 401


def test_disabled_people_do_not_log_in(people: Society) -> None:
    session = cookie(log_in(people, "researcher", PASSWORD))
    place = f"/api/users/{people.people['researcher']}"
    people.must("PATCH", place, people.tokens["admin"], {"disabled": True})
    assert people.ask("GET", ME, Cookie=session).status == 401
    assert log_in(people, "researcher", PASSWORD).status == 401


@pytest.mark.parametrize(
    "password", ["short", "x" * 11, "x" * 257, "has researcher inside", "nul\0" * 4, 7, "", "\ud800" * 12]
)
def test_passwords_that_are_not_taken(people: Society, password: object) -> None:
    place = f"/api/users/{people.people['researcher']}/password"
    answer = people.ask("PUT", place, people.tokens["researcher"], {"password": password})
    assert answer.status in (400, 422), answer.raw
    assert log_in(people, "researcher", PASSWORD).status == 200


def test_only_a_slow_hash_is_stored(people: Society) -> None:
    with closing(sqlite3.connect(people.folder / "data" / DATABASE)) as connection:
        found = connection.execute("SELECT password_hash FROM user WHERE password_hash IS NOT NULL").fetchall()
    assert len(found) == 2
    assert all(text.startswith("$argon2id$v=19$m=65536,t=3,p=4$") for (text,) in found)
    assert len({text for (text,) in found}) == 2, "each has its salt"


def test_the_owner_alone_needs_no_log_in(tmp_path_factory: pytest.TempPathFactory) -> None:
    with society(tmp_path_factory.mktemp("alone"), settled=False) as alone:
        answer = log_in(alone, "owner", PASSWORD)
        assert (answer.status, answer.body["code"]) == (409, "wrong_state")
        assert alone.ask("POST", "/api/logout").status == 409


def test_a_token_becomes_a_log_in_of_its_own(people: Society) -> None:
    """With its scopes and no more; logging out ends the log-in and leaves the token."""
    token = people.tokens["researcher"]
    answer = people.ask("POST", "/api/login/token", token)
    session = cookie(answer).partition("=")[2]
    assert session != token
    sent = {"Cookie": cookie(answer), "X_CSRF_Token": csrf_of(session)}
    assert people.ask("GET", ME, **sent).body["username"] == "researcher"
    assert people.ask("POST", "/api/logout", **sent).status == 200
    assert people.ask("GET", ME, **sent).status == 401
    assert people.ask("GET", ME, token).status == 200
    assert people.ask("POST", "/api/login/token", "gy_nonsense").status == 401


def test_whoever_opens_a_page_is_led_to_the_log_in_and_programs_are_not(people: Society) -> None:
    opened = people.ask("GET", "/jobs?status=running", Accept="text/html,application/xhtml+xml")
    assert (opened.status, opened.headers["location"]) == (303, "/login?next=%2Fjobs%3Fstatus%3Drunning")
    for path in ("/api/queue", "/jobs"):
        assert people.ask("GET", path, Accept="*/*").status == 401
    page = people.ask("GET", "/login?next=//evil.example/x", Accept="text/html")
    assert page.status == 200 and b"evil.example" not in page.raw
    from_a_wiki = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert people.ask("GET", "/login", **from_a_wiki).status == 200
    assert people.ask("GET", "/login", **(from_a_wiki | {"Sec_Fetch_Dest": "iframe"})).status == 403
    assert people.ask("GET", "/api/queue", people.tokens["admin"], **from_a_wiki).status == 403
