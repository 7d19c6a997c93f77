"""What people did stands in the audit: who, with which token, from where; for good, and harmless to open."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from gpuyard.cli.data_folder import DATABASE
from tests import leaks
from tests.security.society import Society, society
from tests.support import eventually


@pytest.fixture(scope="module", autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Society]:
    with society(tmp_path_factory.mktemp("society")) as made:
        yield made


def lines(people: Society, query: str = "") -> list[dict[str, Any]]:
    body = people.must("GET", f"/api/audit?limit=1000&{query}", people.tokens["admin"])
    entries: list[dict[str, Any]] = body["entries"]
    return entries


def last(people: Society, query: str = "") -> dict[str, Any]:
    return lines(people, query)[0]


def test_everything_that_an_administrator_does_leaves_a_line(people: Society) -> None:
    admin = people.tokens["admin"]
    done = people.must

    def told(action: str, *request: Any, subject: str = "", **detail: Any) -> Any:
        body = done(request[0], request[1], admin, request[2] if len(request) > 2 else None)
        # A GPU's line is written beside the answer, every other before it.
        entry = eventually(lambda: found if (found := last(people))["action"] == action else {}, timeout=30)
        assert (entry["username"], entry["user_id"], entry["address"]) == ("admin", 1, "127.0.0.1"), entry
        assert entry["token_id"] == 1 and entry["cause"], entry
        assert entry["subject"].startswith(subject), entry
        assert detail.items() <= entry["detail"].items(), entry
        return body

    user = told(
        "user_added", "POST", "/api/users", {"username": "new", "level": "viewer"}, subject="user", level="viewer"
    )
    place = f"/api/users/{user['id']}"
    told("user_changed", "PATCH", place, {"level": "lead"}, subject=f"user {user['id']} new", level="lead")
    told("user_changed", "PATCH", place, {"disabled": True}, disabled=True)
    told("password_set", "PUT", f"{place}/password", {"password": "a long enough one"})
    told("team_added", "POST", "/api/teams", {"name": "Red"}, subject="team red")
    told("team_changed", "PATCH", "/api/teams/red", {"name": "Crimson"}, name="Crimson")
    told("team_removed", "DELETE", "/api/teams/red")
    made = told("token_made", "POST", "/api/tokens", {"scopes": ["read"]}, scopes=["read"])
    told("token_revoked", "DELETE", f"/api/tokens/{made['id']}", subject=f"token {made['id']} of user 1 admin")
    told("user_removed", "DELETE", place)
    told("limits_changed", "POST", "/api/queue/concurrency", {"max_concurrent": 7}, changes={"max_concurrent": 7})
    told("queue_processed", "POST", "/api/queue/process")
    told("gpu_exclude", "POST", "/api/gpus/0/exclude", subject="GPU")
    told("gpu_include", "POST", "/api/gpus/0/include", subject="GPU")
    job_id = people.ended_job("researcher")
    told("job_deleted", "DELETE", f"/api/jobs/{job_id}")
    assert last(people)["job_id"] == job_id


def test_what_people_do_to_jobs_is_told_with_their_token(people: Society) -> None:
    job_id = people.waiting_job("researcher")
    submit = people.tokens["researcher", "submit"]
    people.must("POST", f"/api/queue/{job_id}/hold", submit)
    people.must("POST", f"/api/queue/{job_id}/priority", people.tokens["lead"], {"priority": 25})
    people.must("POST", f"/api/jobs/{job_id}/cancel", people.tokens["admin"])
    story = lines(people, f"job_id={job_id}")
    assert [(entry["action"], entry["username"]) for entry in story] == [
        ("job_cancelled", "admin"),
        ("priority_changed", "lead"),
        ("job_held", "researcher"),
        ("job_submitted", "researcher"),
    ]
    first, held = story[-1]["token_id"], story[-2]["token_id"]
    assert first != held and None not in (first, held), "the token of each"
    assert story[1]["detail"] == {"before": 10, "after": 25}
    mine = lines(people, "username=researcher&action=job_held,job_submitted")
    assert {entry["action"] for entry in mine} == {"job_held", "job_submitted"}
    assert {entry["user_id"] for entry in mine} == {people.people["researcher"]}
    assert not any("address" in event or "token_id" in event for event in events(people, job_id)), "not for everybody"


def events(people: Society, job_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = people.must("GET", f"/api/jobs/{job_id}/events", people.tokens["lead"])["events"]
    return found


def test_pages_lead_from_one_to_the_next(people: Society) -> None:
    whole = [entry["id"] for entry in lines(people)]
    found: list[str] = []
    before: str | None = ""
    while before is not None:
        page = people.must("GET", f"/api/audit?limit=7&before={before}", people.tokens["admin"])
        found += [entry["id"] for entry in page["entries"]]
        before = page["before"]
    assert found == whole and len(whole) > 14
    for query, field in (
        ("before=x", "before"),
        ("since=noon", "since"),
        ("limit=0", "limit"),
        ("format=xml", "format"),
    ):
        answer = people.ask("GET", f"/api/audit?{query}", people.tokens["admin"])
        assert (answer.status, answer.body["errors"][0]["field"]) == (422, field)


def test_as_a_table_it_runs_nothing(people: Society) -> None:
    admin = people.tokens["admin"]
    people.must("POST", "/api/teams", admin, {"name": "=cmd|' /C calc'!A0", "team_id": "evil"})
    people.must("POST", "/api/tokens", admin, {"name": "@SUM(1,1)"})
    people.must("POST", "/api/queue/submit", admin, {"command": ["true"], "name": "+1", "not_before": "2100-01-01"})
    answer = people.ask("GET", "/api/audit?format=csv&limit=1000", admin)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    head, *rows = list(csv.reader(io.StringIO(answer.raw.decode(), newline="")))
    assert head[:7] == ["at", "user_id", "username", "token_id", "address", "action", "job_id"]
    assert len(rows) == len(lines(people))
    assert not [cell for row in rows for cell in row if cell.lstrip()[:1] in ("=", "+", "-", "@")]
    short = people.ask("GET", "/api/audit?format=csv&limit=1", admin)
    assert short.headers["x-next-before"]


def test_nothing_is_ever_removed(people: Society) -> None:
    before = {entry["id"] for entry in lines(people)}
    people.must("POST", "/api/queue/cleanup?days=1", people.tokens["admin"])
    assert before <= {entry["id"] for entry in lines(people)}
    with closing(sqlite3.connect(people.folder / "data" / DATABASE)) as connection:
        for table in ("audit", "event"):
            for sql in (f"DELETE FROM {table}", f"UPDATE {table} SET at = ''"):
                with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                    connection.execute(sql)


def test_a_viewer_runs_no_command_not_even_again(people: Society) -> None:
    admin, who = people.tokens["admin"], "other"
    body = {"command": ["true"], "not_before": "2100-01-01T00:00:00Z"}
    job_id = people.must("POST", "/api/queue/submit", people.tokens[who], body)["job_id"]
    people.must("POST", f"/api/jobs/{job_id}/cancel", people.tokens[who])
    place = f"/api/users/{people.people[who]}"
    people.must("PATCH", place, admin, {"level": "viewer"})
    try:
        for method, path, sent in (
            ("POST", f"/api/jobs/{job_id}/retry", None),
            ("POST", "/api/queue/submit", body),
            ("POST", "/api/queue/submit", {"config_name": "train", "env": {"PYTHONPATH": "/tmp"}}),
            ("POST", "/api/queue/submit", {"config_name": "train", "workdir": "/tmp"}),
            ("POST", "/api/queue/submit", {"config_name": "train", "priority_override": 5}),
        ):
            answer = people.ask(method, path, people.tokens[who], sent)
            assert answer.status == 403, (path, sent, answer.raw)
        job = people.waiting_job(who)
        assert people.must("GET", f"/api/jobs/{job}", people.tokens[who])["job"]["priority"] == 0
        people.must("POST", f"/api/jobs/{job}/cancel", people.tokens[who])
        people.must("POST", f"/api/jobs/{job}/retry", people.tokens[who])
    finally:
        people.must("PATCH", place, admin, {"level": "researcher"})
