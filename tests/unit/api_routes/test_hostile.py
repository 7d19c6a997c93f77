"""Whatever is sent: an answer below 500, one sentence for every refusal, and nothing changed by it."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from gpuyard.api.permissions import RULES
from gpuyard.api.schemas.submit import SubmitBody
from tests.unit.api_routes.conftest import Yard

BUSY = settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)

ODD = st.sampled_from(
    [
        *(
            2**63,
            -(2**63) - 1,
            10**20,
            1e308,
            -0.0,
            "",
            "\0",
            "\ud800",
            "\u202e",
            "../../etc/passwd",
            "%s%n",
            "a" * 5_000,
        ),
        *([], {}, [[]], {"": ""}, None, True, "NaN", "1e999", "' OR 1=1 --", "${GPUYARD_JOB_DIR}", "🟫", "\r\n"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(sorted(SubmitBody.model_fields)) | st.text(max_size=10)
BODIES = st.dictionaries(FIELDS, VALUES, max_size=6) | VALUES

# Streams that end only with the server, and what runs a command: asked with bodies that are no job.
ENDLESS = {"/api/events"}
ROUTES = sorted((method, path) for method, path in RULES if path.startswith("/api") and path not in ENDLESS)


def judged(response: Any, what: str) -> None:
    assert response.status_code < 500, (what, response.text)
    if response.status_code >= 400:
        body = response.json()
        assert isinstance(body["detail"], str) and body["detail"], what
        assert isinstance(body["code"], str)
        assert "Traceback" not in response.text
        assert "/tmp/" not in body["detail"]


def filled(path: str, value: str) -> str:
    quoted = urllib.parse.quote(value.encode("utf-8", "surrogatepass"), safe="")
    return "".join(
        quoted if part.startswith("{") else part for part in path.replace("{", "\n{").replace("}", "}\n").split("\n")
    )


def encoded(body: Any) -> bytes:
    """JSON as a careless client writes it: NaN and lone surrogates included."""
    return json.dumps(body).encode()


@BUSY
@given(body=BODIES)
def test_submit_takes_anything(calm: Yard, body: Any) -> None:
    if isinstance(body, dict):
        body.pop("command", None)  # a body that is right by chance would run what it says
    for path in ("/api/queue/submit", "/api/cloud/jobs/submit"):
        judged(calm.ask("POST", path, encoded(body)), path)


@BUSY
@given(field=FIELDS, value=VALUES)
def test_one_wrong_field_at_a_time(calm: Yard, field: str, value: Any) -> None:
    body = {"command": ["true"], field: value, "dry_run": True}
    response = calm.ask("POST", "/api/queue/submit", encoded(body))
    judged(response, field)
    if response.status_code == 200:
        assert response.json()["job_id"] is None


@BUSY
@given(
    route=st.sampled_from(ROUTES),
    text=st.text(min_size=1, max_size=30) | ODD.filter(lambda v: isinstance(v, str) and v),
)
def test_any_text_in_any_address(calm: Yard, route: tuple[str, str], text: str) -> None:
    method, path = route
    judged(calm.ask(method, filled(path, text)), f"{method} {path}")


@BUSY
@given(
    route=st.sampled_from([route for route in ROUTES if route[0] == "GET"]),
    name=st.sampled_from(["status", "limit", "offset", "user_id", "target", "name", "tail", "attempt", "after", "x"]),
    value=st.text(max_size=20) | ODD.map(str),
)
def test_any_text_in_any_query(calm: Yard, route: tuple[str, str], name: str, value: str) -> None:
    query = urllib.parse.urlencode({name: value.encode("utf-8", "surrogatepass")})
    path = filled(route[1], "nosuchjob")
    judged(calm.ask("GET", f"{path}?{query}"), f"{path}?{query}")


@BUSY
@given(
    route=st.sampled_from([route for route in ROUTES if route[0] == "POST" and "submit" not in route[1]]),
    body=VALUES | st.binary(max_size=50),
)
def test_any_body_to_any_post(calm: Yard, route: tuple[str, str], body: Any) -> None:
    method, path = route
    data = body if isinstance(body, bytes) else encoded(body)
    judged(calm.ask(method, filled(path, "nosuchjob"), data), path)


def test_and_after_all_that_nothing_has_changed(calm: Yard) -> None:
    assert calm.get("/api/jobs")["total"] == 0
    assert calm.get("/api/queue/stats")["by_status"] == {}
    assert calm.get("/api/queue/concurrency")["max_concurrent"] == 5


@pytest.mark.parametrize(
    "name",
    [
        *("../secret", "..", "/etc/passwd", ".hidden", "a/../../b", "a\0", "a b", "é", "x" * 129, "%2e%2e%2fsecret"),
        *("..\\secret", "-rf", "a\n", "\u202egnp", "configs/../../x"),
    ],
)
def test_hostile_config_names_are_422_in_the_body(calm: Yard, name: str) -> None:
    response = calm.ask("POST", "/api/queue/submit", encoded({"config_name": name}))
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] in ("config_name", "body")
    quoted = urllib.parse.quote(name, safe="")
    for method, path in (("GET", f"/api/configs/{quoted}"), ("POST", f"/api/configs/{quoted}/validate")):
        response = calm.ask(method, path)
        assert response.status_code in (400, 404, 405, 422), (path, response.text)
