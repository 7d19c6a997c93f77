"""Every route, every parameter and every field, with values that somebody once sent to some server.

The real application over the real actors: never a 5xx, always the one error form, and nothing changes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from gpuyard.api.schemas.submit import SubmitBody
from tests.unit.api_routes.conftest import Yard, opened

# JSON texts that no part of the system can hold: always refused.
IMPOSSIBLE = [
    "9223372036854775808",
    "-9223372036854775809",
    "100000000000000000000",
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    '"\\ud800"',
    '"\\udfff\\ud800"',
    '"a\\u0000b"',
    '["\\u0000"]',
    '{"\\ud800": 1}',
    '{"n": 100000000000000000000}',
]
# JSON texts that are right in one place and wrong in another: refused or not, but never a 5xx.
ODD = [
    "null", "true", "[]", "{}", '""', '"x"', "-1", "0", "1.5", "1e300", "9223372036854775807", "[[[[]]]]", "[null]",
    '{"a": {"b": []}}', '"../../etc/passwd"', '"/etc/passwd"', '"~root"', '"$(reboot)"', '"; reboot"', '"%00"',
    '"\\u202e\\u0007\\u001b[2J"', '"\\ud83d\\udca9"', json.dumps("x" * 5000), json.dumps(["x"] * 2000),
    '["a", 1, null, {}]', '{"": ""}', '{"__proto__": 1}', '"2026-13-45T99:99:99Z"', '"NaN"', '"1e400"', '"٣"',
]  # fmt: skip
IDS = [
    "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "....//", "%00", "a\0b", "\ud83d\udca9", "'; DROP TABLE queue; --",
    "{job_id}", "-1", "9223372036854775808", "NaN", "a" * 2000, "%ff%fe", "\u202e", "*", "_", "%", " ",
    ".", "..", "0", "1e400", "٣",
]  # fmt: skip
NUMBERS = [
    "-1",
    "0",
    "1.5",
    "1e3",
    "NaN",
    "inf",
    "9223372036854775808",
    "9" * 5000,
    "",
    " ",
    "0x10",
    "1_0",
    "٣",
    "%00",
    "null",
]


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with opened(tmp_path_factory.mktemp("hostile")) as found:
        (found.configs / "real.json").write_text('{"command": ["true"]}')
        yield found


@pytest.fixture(scope="module")
def operations(yard: Yard) -> list[tuple[str, str, dict[str, Any]]]:
    paths = yard.get("/openapi.json")["paths"]
    found = [(method.upper(), path, op) for path, item in paths.items() for method, op in item.items()]
    # A stream does not end by itself; its parameters are those of its neighbours.
    return [entry for entry in found if not entry[1].endswith(("/stream", "/api/events"))]


def segment(value: str) -> str:
    """`value` as one part of an address; a client would resolve plain dots itself."""
    return quote(value, safe="", errors="replace").replace(".", "%2E")


def fine(answer: Any, sent: str) -> int:
    """The status, which is no 5xx; an error must have the one form and tell no path of the server."""
    status: int = answer.status_code
    assert status < 500, f"{sent}: {status} {answer.text}"
    if status >= 400:
        body = answer.json()
        assert isinstance(body["detail"], str), sent
        assert body["detail"], sent
        assert re.fullmatch("[a-z_]+", body["code"]), sent
        assert "Traceback" not in answer.text
        assert "/site-packages" not in answer.text
    return status


def count(yard: Yard) -> tuple[int, Any]:
    return yard.get("/api/jobs")["total"], yard.get("/api/queue/concurrency")


def test_no_id_breaks_a_route(yard: Yard, operations: list[tuple[str, str, dict[str, Any]]]) -> None:
    before = count(yard)
    tried = 0
    for method, path, _ in operations:
        if "{" not in path:
            continue
        for value in IDS:
            filled = re.sub(r"\{\w+\}", segment(value).replace("\\", r"\\"), path)
            fine(yard.ask(method, filled, b"{}" if method == "POST" else None), f"{method} {filled}")
            tried += 1
    assert tried > 300
    assert count(yard) == before


def test_no_query_breaks_a_route(yard: Yard, operations: list[tuple[str, str, dict[str, Any]]]) -> None:
    before = count(yard)
    tried = 0
    for method, path, operation in operations:
        for parameter in operation.get("parameters", ()):
            if parameter["in"] != "query" or (method, parameter["name"]) == ("POST", "days"):
                continue
            for value in [*NUMBERS, *IDS]:
                name = parameter["name"]
                target = f"{path.replace('{job_id}', 'x')}?{name}={quote(value, safe='%', errors='replace')}"
                fine(yard.ask(method, target), f"{method} {target[:200]}")
                tried += 1
    assert tried > 200
    assert count(yard) == before


@pytest.mark.parametrize("value", [value for value in NUMBERS if value != "1_0"])
def test_cleanup_takes_days_and_nothing_else(yard: Yard, value: str) -> None:
    assert fine(yard.ask("POST", f"/api/queue/cleanup?days={quote(value)}"), value) == 422


def test_what_nobody_can_hold_is_refused_by_every_route(
    yard: Yard, operations: list[tuple[str, str, dict[str, Any]]]
) -> None:
    before = count(yard)
    for method, path, _ in operations:
        if method != "POST":
            continue
        for text in IMPOSSIBLE:
            for body in (text, f'{{"x": {text}}}', f"[{text}]"):
                status = fine(yard.ask(method, path.replace("{job_id}", "x"), body.encode()), f"{path} {body}")
                assert 400 <= status < 500, f"{method} {path} {body}"
    assert count(yard) == before


def test_odd_bodies_break_no_route(yard: Yard, operations: list[tuple[str, str, dict[str, Any]]]) -> None:
    before = count(yard)
    for method, path, _ in operations:
        if method == "POST":
            for body in ODD:
                fine(yard.ask(method, path.replace("{job_id}", "x"), body.encode()), f"{path} {body[:60]}")
    assert count(yard) == before


@pytest.mark.parametrize("field", sorted(SubmitBody.model_fields))
def test_no_value_of_a_field_breaks_submit(yard: Yard, field: str) -> None:
    before = count(yard)
    base = {"command": '["true"]'} if field != "config_name" else {}
    for text in [*IMPOSSIBLE, *ODD]:
        fields = {**base, "dry_run": "true", field: text}
        body = "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"
        if field == "dry_run" and text not in IMPOSSIBLE:
            continue
        status = fine(yard.ask("POST", "/api/queue/submit", body.encode()), body[:200])
        if text in IMPOSSIBLE:
            assert 400 <= status < 500, body
        listed = fine(yard.ask("POST", "/api/queue/submit", f"[{body}]".encode()), body[:200])
        assert (listed >= 400) == (status >= 400), body[:200]
    assert count(yard) == before


def test_an_unknown_field_is_refused_by_its_name(yard: Yard) -> None:
    before = count(yard)
    for body in ({"command": ["true"], "comand": 1}, [{"command": ["true"]}, {"command": ["true"], "comand": 1}]):
        answer = yard.ask("POST", "/api/queue/submit", body)
        assert answer.status_code == 422
        assert "comand" in answer.json()["detail"]
    assert count(yard) == before


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..", ".", "real.json/../real.json", "real\n", "", "a" * 129, "real%00"]
)
def test_no_config_name_leads_out_of_the_folder(yard: Yard, name: str) -> None:
    before = count(yard)
    assert fine(yard.ask("POST", "/api/queue/submit", {"config_name": name}), name) == 422
    assert fine(yard.ask("GET", f"/api/configs/{segment(name)}"), name) in (400, 404, 422)
    assert count(yard) == before


@pytest.mark.parametrize("key", ["", "a" * 300, "\x7f", "a\tb", "\xff", "key with space", "key\0"])
def test_no_idempotency_key_breaks_submit(yard: Yard, key: str) -> None:
    body = b'{"command": ["true"], "dry_run": true}'
    headers = {"Idempotency-Key": key.encode("latin-1"), "Content-Type": "application/json"}
    fine(yard.client.post("/api/queue/submit", content=body, headers=headers), repr(key))
