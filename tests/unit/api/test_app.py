"""The application as a whole: rules for every route, the OpenAPI document, permissions."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.responses import Response
from starlette.testclient import TestClient

from gpuyard.actors.model.people import Level, Viewer
from gpuyard.api.app import create_app
from gpuyard.api.core import LocalCore
from gpuyard.api.errors import documented
from gpuyard.api.identity import Caller, Identity
from gpuyard.api.permissions import RULES, Rule
from gpuyard.api.settings import Settings
from tests.answering import Cast
from tests.unit.api.conftest import PEER, URL

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def document(api: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = api.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def router_with(path: str, method: str = "GET") -> APIRouter:
    router = APIRouter()

    async def endpoint() -> Response:
        return Response("ok")

    router.add_api_route(path, endpoint, methods=[method])
    return router


def app_with(actors: Cast, router: APIRouter) -> FastAPI:
    return create_app(LocalCore(actors.directory), Settings(), None, [router])


def test_a_route_without_a_rule_is_refused_at_creation(actors: Cast) -> None:
    with pytest.raises(LookupError, match="DELETE /api/everything has no row"):
        app_with(actors, router_with("/api/everything", "DELETE"))


def test_a_route_that_fastapi_does_not_guard_is_refused(actors: Cast) -> None:
    async def endpoint(request: Any) -> Response:
        return Response("ok")

    router = APIRouter()
    router.add_route("/healthz", endpoint)
    with pytest.raises(LookupError, match="can't be guarded"):
        app_with(actors, router)


def test_a_prefix_at_inclusion_is_refused(actors: Cast) -> None:
    outer = APIRouter()
    outer.include_router(router_with("/healthz"), prefix="/api")
    with pytest.raises(LookupError, match="give the prefix to the router"):
        app_with(actors, outer)


def test_every_rule_belongs_to_a_route(document: dict[str, Any]) -> None:
    there = {(method.upper(), path) for method, path, _ in operations(document)}
    documented = ("/api/", "/healthz", "/readyz", "/metrics")  # all else is the page, and the document itself
    assert there == {row for row in RULES if row[1].startswith(documented)}


def test_public_addresses_have_no_parameters() -> None:
    assert not [path for (_, path), rule in RULES.items() if rule is Rule.PUBLIC and "{" in path]


def test_each_route_has_an_operation_id_of_its_own_and_a_summary(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for method, path, operation in operations(document):
        assert operation["operationId"].isidentifier(), (method, path)
        assert operation.get("description"), (method, path)


def test_each_route_shows_an_example_of_its_answer(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        content = operation["responses"]["200"].get("content", {})
        shown = [part for part in content.values() if "example" in part or "examples" in part]
        assert shown, f"{method} {path} has no example"


def test_each_route_documents_every_error(document: dict[str, Any]) -> None:
    wanted = {str(status) for status in documented()}
    assert wanted == {"400", "401", "403", "404", "405", "408", "409", "413", "415", "421", "422", "429", "431", "503"}
    for method, path, operation in operations(document):
        assert wanted <= set(operation["responses"]), (method, path)
        for status in wanted:
            content = operation["responses"][status]["content"]["application/json"]
            assert content["schema"] == {"$ref": "#/components/schemas/Error"}, (method, path, status)


def test_every_reference_of_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [found for item in value.values() for found in references(item)]
        if isinstance(value, list):
            return [found for item in value for found in references(item)]
        return []

    assert references(document)
    for reference in references(document):
        assert reference.startswith("#/components/schemas/"), reference
        assert reference.rpartition("/")[2] in document["components"]["schemas"], reference


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
def test_there_is_no_documentation_page(api: TestClient, path: str) -> None:
    assert api.get(path).status_code == 404


class Always:
    """An authenticator that always finds the same person."""

    def __init__(self, level: Level) -> None:
        self._viewer = Viewer(user_id=7, username="somebody", level=level)

    async def identify(self, caller: Caller) -> Identity:
        return Identity(self._viewer, "somebody")


@pytest.mark.parametrize(("rule", "enough"), [(Rule.VIEWER, Level.VIEWER), (Rule.LEAD, Level.LEAD), (Rule.ADMIN, 30)])
@pytest.mark.parametrize("level", list(Level))
def test_a_rule_lets_its_level_through_and_nobody_below(
    actors: Cast, monkeypatch: pytest.MonkeyPatch, rule: Rule, enough: int, level: Level
) -> None:
    monkeypatch.setitem(RULES, ("GET", "/api/room/{name}"), rule)
    app = create_app(LocalCore(actors.directory), Settings(), Always(level), [router_with("/api/room/{name}")])
    with TestClient(app, base_url=URL, client=PEER) as client:
        answer = client.get("/api/room/7")
    assert answer.status_code == (200 if level >= enough else 403)
    if answer.status_code == 403:
        assert answer.json()["code"] == "not_allowed"
