"""Whatever goes wrong is answered in one form, and says nothing of the server's inside."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from fastapi import APIRouter, Query
from starlette.responses import Response
from starlette.testclient import TestClient

from gpuyard.actors.model import errors as model, names
from gpuyard.actors.model.commands import ProcessQueue
from gpuyard.actors.model.errors import GpuyardError
from gpuyard.api import errors
from gpuyard.api.app import create_app
from gpuyard.api.core import LocalCore
from gpuyard.api.permissions import RULES, Rule
from gpuyard.api.settings import Settings
from tests.answering import Cast
from tests.unit.api.conftest import URL

ALL = [kind for kind in vars(model).values() if isinstance(kind, type) and issubclass(kind, GpuyardError)]
BUGS = {"error", "internal", "unsupported", "invalid_transition"}


def well_formed(answer: Any, status: int) -> dict[str, Any]:
    """The body, which must be the one of CONTRACT."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert set(body) == {"detail", "code", "request_id"} | ({"errors"} if status == 422 else set())
    assert isinstance(body["detail"], str)
    assert body["detail"]
    assert re.fullmatch("[a-z_]+", body["code"])
    assert body["request_id"] == answer.headers["x-request-id"]
    for problem in body.get("errors", []):
        assert set(problem) == {"field", "message"}
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    return body


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_each_error_of_an_actor_has_its_status(api: TestClient, actors: Cast, kind: type[GpuyardError]) -> None:
    actors.play(names.SCHEDULER, {ProcessQueue: kind("because of this")})
    status = 500 if kind.code in BUGS else errors.STATUS[kind.code]
    body = well_formed(api.post("/api/queue/process"), status)
    assert body["code"] == kind.code
    assert (body["detail"] == "because of this") == (status != 500)


def test_every_code_of_the_table_belongs_to_an_error() -> None:
    assert set(errors.STATUS) - set(model._tree(GpuyardError)) == {"method_not_allowed"}


def test_a_refused_value_names_its_field(api: TestClient, actors: Cast) -> None:
    actors.play(names.SCHEDULER, {ProcessQueue: model.InvalidInput("days must be at least 1", field="days")})
    body = well_formed(api.post("/api/queue/process"), 422)
    assert body["errors"] == [{"field": "days", "message": "days must be at least 1"}]


def test_an_unknown_address_and_a_wrong_method(api: TestClient) -> None:
    assert well_formed(api.get("/api/nothing"), 404)["code"] == "not_found"
    answer = api.put("/healthz")
    assert well_formed(answer, 405)["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "GET"


def test_an_actor_that_is_not_there_is_503(api: TestClient, actors: Cast) -> None:
    actors.end(names.SCHEDULER)
    assert well_formed(api.post("/api/queue/process"), 503)["code"] == "unavailable"


@pytest.fixture
def broken(actors: Cast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> TestClient:
    """An application with a route that has a bug."""
    router = APIRouter()

    @router.get("/api/broken")
    async def endpoint(number: int = Query(1, ge=1, le=9), secret: str = "/etc/secret") -> Response:
        raise RuntimeError(f"a bug at {secret}, {number}")

    monkeypatch.setitem(RULES, ("GET", "/api/broken"), Rule.PUBLIC)
    app = create_app(LocalCore(actors.directory), Settings(), None, [router])
    return TestClient(app, base_url=URL, raise_server_exceptions=False)


def test_a_bug_is_500_without_a_traceback_and_the_log_has_it(
    broken: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    body = well_formed(broken.get("/api/broken"), 500)
    assert body["code"] == "internal"
    assert "secret" not in body["detail"]
    record = next(record for record in caplog.records if record.exc_info)
    assert body["request_id"] in record.getMessage()
    assert "a bug at /etc/secret" in str(record.exc_info)


def test_a_wrong_parameter_is_named_in_the_detail_and_in_the_errors(broken: TestClient) -> None:
    body = well_formed(broken.get("/api/broken?number=10"), 422)
    assert body["detail"].startswith("number: ")
    assert body["errors"][0]["field"] == "number"
    body = well_formed(broken.get("/api/broken?number=" + "9" * 5000), 422)
    assert body["detail"].startswith("number: ")
