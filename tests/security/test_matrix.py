"""Every route × who asks × whose it is × what the token is for, against a whole server.

What must come out follows from the route's one word in `api/permissions.py`, and from nothing else. A new route is
walked as soon as it has its row (without one the application refuses to start); a new kind of parameter must be taught
here what it means to be somebody's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from gpuyard.actors.model.people import LEVELS, Level, Scope
from gpuyard.api.app import create_app, require_rules
from gpuyard.api.permissions import RULES, Rule, scope_of
from tests import leaks
from tests.security.society import SCOPES, Society, society

WHOSE = ("own", "other's", "nobody's")
NO_TOKENS = (None, "gy_" + "A" * 43, "Basic", "x" * 300)
# Parameters that are nobody's own: an id that does not exist.
NOBODYS = {
    "user_id": "999999",
    "team_id": "no-such-team",
    "approval_id": "999999",
    "rule_id": "999999",
    "gpu": "GPU-none",
    "name": "no-such-name",
    "worker": "no-such-worker",
    "fence": "999999",
    "job_id": "zzzzzzzzzzzz",
    "token_id": "999999",
    "webhook_id": "wh_none",
}
# What a request needs so that it is the permission that decides, not a missing value.
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/api/queue/{job_id}/priority"): {"priority": 5},
    ("PUT", "/api/users/{user_id}/password"): {"password": None},
    ("PATCH", "/api/webhooks/{webhook_id}"): {"enabled": False},
}
QUERIES = {("POST", "/api/queue/{job_id}/reject"): "?reason=why"}
# They end the token that asks.
ENDING = frozenset({("POST", "/api/logout")})
# They take an ended job; all others are asked about one that waits.
OF_ENDED = ("DELETE", "/retry")
OF_ACCOUNTS = ("token_id", "user_id", "webhook_id")
OF_JOBS = frozenset({Rule.SEE, Rule.ACT, Rule.CLEAR, Rule.LEAD})

Route = tuple[str, str]


@pytest.fixture(scope="module", autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Society]:
    with society(tmp_path_factory.mktemp("society")) as made:
        yield made


def parameters(path: str) -> list[str]:
    return re.findall(r"{(\w+)}", path)


def owned(route: Route) -> str | None:
    """The parameter of the route that is somebody's own, if it has one that its rule is about."""
    rule = RULES[route]
    for name in parameters(route[1]):
        if (name == "job_id" and rule in OF_JOBS) or (name in OF_ACCOUNTS and rule is Rule.ACCOUNT):
            return name
    return None


def expected(route: Route, level: Level, whose: str) -> int | None:
    """The status that must come, for a token that may do everything; None: the request gets through."""
    rule = RULES[route]
    if level < {Rule.LEAD: Level.LEAD, Rule.ADMIN: Level.ADMIN}.get(rule, Level.VIEWER):
        return 403
    if owned(route) is None or whose == "own":
        return None
    if whose == "nobody's":
        return 404
    match rule:
        case Rule.SEE | Rule.CLEAR | Rule.LEAD:
            return None if level >= Level.LEAD else 404
        case Rule.ACT:
            return {Level.ADMIN: None, Level.LEAD: 403}.get(level, 404)
        case Rule.ACCOUNT:
            return None if level is Level.ADMIN else 404
    raise AssertionError(f"what does {rule} say about somebody else's?")


def address(people: Society, route: Route, who: str, whose: str) -> str:
    """The route's address about something of `who`'s own, of somebody else's, or that does not exist."""
    path = route[1]
    mine = owned(route)
    for name in parameters(path):
        value = NOBODYS[name]
        if name == mine and whose != "nobody's":
            holder = who if whose == "own" else "other"
            value = thing(people, route, name, holder)
        path = path.replace(f"{{{name}}}", value)
    return path + QUERIES.get(route, "")


def thing(people: Society, route: Route, name: str, holder: str) -> str:
    """A fresh job, token or webhook of `holder`, or `holder`."""
    if name == "user_id":
        return str(people.people[holder])
    if name == "token_id":
        made = people.must("POST", "/api/tokens", people.tokens[holder], {"name": "fresh"})
        return str(made["id"])
    if name == "webhook_id":
        # Nothing is sent there: it means this very machine.
        made = people.must("POST", "/api/webhooks", people.tokens[holder], {"url": "https://localhost/hook"})
        return str(made["id"])
    ended = route[0] == "DELETE" or route[1].endswith(OF_ENDED)
    return people.ended_job(holder) if ended else people.waiting_job(holder)


def token_of(people: Society, route: Route, who: str, scope: str) -> str:
    """A token of `who` for `scope`, a fresh one where the route ends it."""
    if route in ENDING:
        body = {"scopes": list(SCOPES) if scope == "all" else [scope]}
        return str(people.must("POST", "/api/tokens", people.tokens[who], body)["token"])
    return people.tokens[who] if scope == "all" else people.tokens[who, scope]


def cases(route: Route) -> Iterator[tuple[str, str, str]]:
    """(who, whose, scope) of all requests with a token; scope "all" is that of a first token."""
    for level in LEVELS:
        for whose in WHOSE if owned(route) else WHOSE[-1:]:
            yield level, whose, "all"
        for scope in SCOPES:
            yield level, "own", scope


@pytest.mark.parametrize("route", sorted(RULES), ids=" ".join)
def test_the_one_word_of_a_route_decides(people: Society, route: Route) -> None:
    method, body = route[0], BODIES.get(route)
    rule = RULES[route]
    for token in NO_TOKENS:
        answer = people.ask(method, address(people, route, "researcher", "own"), token, body)
        if rule is Rule.PUBLIC:
            assert answer.status not in (401, 403), (route, token, answer.raw)
        else:
            assert (answer.status, answer.headers.get("www-authenticate")) == (401, "Bearer"), (
                route,
                token,
                answer.raw,
            )
    for who, whose, scope in cases(route):
        wanted = expected(route, LEVELS[who], whose)
        needed = scope_of(method, rule)
        if scope != "all" and needed is not None and Scope(scope) is not needed:
            wanted = 403
        token = token_of(people, route, who, scope)
        answer = people.ask(method, address(people, route, who, whose), token, body)
        told = (route, who, whose, scope, answer.status, answer.raw[:300])
        if wanted is not None:
            assert answer.status == wanted, told
            assert answer.body["code"] == {403: "not_allowed", 404: "not_found"}[wanted], told
        else:
            assert answer.status not in (401, 403), told
            if owned(route) is not None:
                assert answer.status not in (404, 422), told


def test_every_route_is_in_the_matrix(people: Society) -> None:
    """The table holds exactly the routes of the application, and every parameter has its meaning here."""
    from gpuyard.actors.base import Directory
    from gpuyard.api.core import LocalCore
    from gpuyard.api.settings import Settings

    app = create_app(LocalCore(Directory()), Settings())
    require_rules(app)
    unknown = {name for _, path in RULES for name in parameters(path)} - set(NOBODYS)
    assert not unknown, f"say in NOBODYS (and thing) what these are: {unknown}"


def test_the_matrix_is_large() -> None:
    assert sum(len(list(cases(route))) + len(NO_TOKENS) for route in RULES) > 2_000
