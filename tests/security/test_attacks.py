"""The list of attacks is true, and those of them that have no other home, sent to a real server with real people."""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.server import Answer, Server
from tests.security.attacks import ATTACKS, Attack
from tests.support import eventually

LATER = "2100-01-01T00:00:00Z"
SECRET = "the-word-outside"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_each_attack_is_sent_by_tests_that_exist_and_run(attack: Attack) -> None:
    assert attack.answer and attack.tests
    for path in attack.tests:
        module_name, _, name = path.rpartition(".")
        module = importlib.import_module(f"tests.{module_name}")
        test = getattr(module, name, None)
        assert callable(test) and name.startswith("test_"), f"{path} is gone: point to what sends this attack now"
        assert test.__module__ == module.__name__
        marks = [*getattr(test, "pytestmark", ()), *_marks_of(module)]
        # Where only root can be somebody else, others ask the same of the server's own tables.
        assert not [mark for mark in marks if mark.name in ("skip", "xfail")], path


def _marks_of(module: Any) -> list[Any]:
    marks = getattr(module, "pytestmark", [])
    return marks if isinstance(marks, list) else [marks]


def test_they_are_all_there() -> None:
    assert len(ATTACKS) == len({attack.name for attack in ATTACKS}) == 25


class People:
    """A real server with an administrator and two researchers; `ask` as one of them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        made = server.post("/api/users", {"username": "root", "level": "admin"})
        self.tokens = {"root": made.body["token"]}
        self.ids = {"root": made.body["id"]}
        for who in ("ann", "bob"):
            self.add(who)
        # Root's is sent where nobody else is named.
        server.token = self.tokens["root"]

    def add(self, who: str, level: str = "researcher") -> None:
        made = self.ask("root", "POST", "/api/users", {"username": who, "level": level})
        assert made.status == 200, made.body
        self.tokens[who], self.ids[who] = made.body["token"], made.body["id"]

    def ask(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.server.request(method, path, body, {"Authorization": f"Bearer {self.tokens[who]}", **sent})

    def submit(self, who: str, **body: Any) -> Answer:
        return self.ask(who, "POST", "/api/queue/submit", {"num_processes": 0, **body})

    def jobs(self) -> int:
        return int(self.ask("root", "GET", "/api/jobs").body["total"])

    def gpuyard(self, who: str, *words: str) -> str:
        """What the command prints."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
        environ |= {"GPUYARD_SERVER": self.server.url, "GPUYARD_TOKEN": self.tokens[who]}
        done = subprocess.run(
            [sys.executable, "-m", "gpuyard", *words],
            capture_output=True,
            text=True,
            env=environ,
            timeout=100,
            check=True,
        )
        return done.stdout


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    server = Server(tmp_path_factory.mktemp("attacked"))
    try:
        yield People(server.start())
    finally:
        server.close()


# --- configs ----------------------------------------------------------------------------------------------------------

LEADING_OUT = [
    "../outside", "..%2foutside", "..\\outside", "/etc/passwd", "configs/../../outside", "./outside", "~root",
    "outside\0", "outside\n", " outside", "\uff0e\uff0e/outside", ".hidden", "-rf", "$(id)", "a" * 129,
    "C:outside", "outside\u202e",
]  # fmt: skip


def test_a_hostile_config_name_opens_nothing(people: People) -> None:
    server = people.server
    outside = server.folder / "outside"
    outside.mkdir()
    for folder in (server.folder, outside):
        (folder / "outside.toml").write_text(f'command = ["echo", "{SECRET}"]\n')
        (folder / "config.toml").write_text(f'command = ["echo", "{SECRET}"]\n')
    (server.configs / "file.toml").symlink_to(server.folder / "outside.toml")
    (server.configs / "folder").symlink_to(outside)
    (server.configs / "device.toml").symlink_to("/dev/zero")
    before = people.jobs()
    for name in LEADING_OUT:
        answer = people.submit("ann", config_name=name)
        assert (answer.status, answer.body["code"]) == (422, "invalid_input"), name
        place = quote(name, safe="", errors="replace").replace(".", "%2E")
        for method, path in (("GET", f"/api/configs/{place}"), ("POST", f"/api/configs/{place}/validate")):
            answer = people.ask("ann", method, path)
            assert answer.status in (400, 404, 422), (name, path, answer.raw)
            assert SECRET.encode() not in answer.raw and b"root:" not in answer.raw
    for name in ("file", "folder", "device"):
        answer = people.submit("ann", config_name=name)
        assert (answer.status, answer.body["success"], answer.body["job_id"]) == (200, False, None), name
        assert people.ask("ann", "GET", f"/api/configs/{name}").status == 404
    assert people.ask("ann", "GET", "/api/configs").body["configs"] == []
    assert people.jobs() == before


def test_a_config_that_is_swapped_after_submit_runs_as_it_was(people: People) -> None:
    server = people.server
    config = server.configs / "mine.toml"
    for swap in ("content", "link"):
        config.unlink(missing_ok=True)
        config.write_text('command = ["echo", "as submitted"]\nnum_processes = 0\n')
        assert people.ask("root", "POST", "/api/queue/pause", {"targets": ["local"]}).status == 200
        job_id = people.submit("ann", config_name="mine").body["job_id"]
        evil = server.folder / "evil.toml"
        evil.write_text(f'command = ["echo", "{SECRET}"]\nnum_processes = 0\n')
        if swap == "content":
            config.write_text(evil.read_text())
        else:
            config.unlink()
            config.symlink_to(evil)
        assert people.ask("root", "POST", "/api/queue/resume", {"targets": ["local"]}).status == 200
        assert server.wait(job_id)["status"] == "completed"
        assert people.ask("ann", "GET", f"/api/jobs/{job_id}/logs").body["logs"] == "as submitted\n"


# --- what is written elsewhere ----------------------------------------------------------------------------------------

FORGED = "2026-11-22 02:05:00,000 CRITICAL gpuyard: forged"
PRINTS = r"""printf 'one\r\r\nevent: done\r\ndata: failed\r\r\rid: 99\n\n: \033[2J\033]0;owned\007\ntwo\n'"""


def test_nobody_forges_a_line_of_the_log_or_of_a_stream(people: People) -> None:
    for ending in ("\n", "\r\n", "\u2028", "\x85", "\r"):
        text = f"x{ending}{FORGED}"
        people.server.request("POST", "/api/login", {"username": text, "password": text}, {"Authorization": ""})
        people.server.request("POST", "/api/queue/submit", {"command": ["x"], text: 1})
        people.submit("ann", command=["true"], name=text)
        people.submit("ann", command=["true"], metadata={"note": text})
        people.submit("ann", command=[f"/nonexistent/{text}"], workdir="/")
        people.ask("ann", "GET", f"/api/jobs/{quote(text)}")
        people.ask("root", "POST", "/api/tokens", {"name": text})
    job_id = people.submit("ann", command=["sh", "-c", PRINTS]).body["job_id"]
    people.server.wait(job_id)
    log = (people.server.data / "server.log").read_text()
    for line in re.split("[\n\r\u2028\x85]", log.rstrip("\n")):
        assert re.match(r"\d{4}-\d\d-\d\d |\s+File |\s{4}|Traceback |[\w.]+(Error|Exception)", line), line
        assert not line.startswith(FORGED[:19]), line
    stream = people.ask("ann", "GET", f"/api/jobs/{job_id}/logs/stream").raw.decode()
    assert "\r" not in stream
    events = re.findall(r"^event: (.*)$", stream, re.M)
    assert events == ["done"] and stream.rstrip().endswith("data: completed")
    assert not re.search(r"^id: 99$", stream, re.M)


FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "=HYPERLINK(1)", "\uff1d1+1", " =1+1"]


def test_no_table_runs_a_formula(people: People) -> None:
    made = []
    for text in FORMULAS:
        answer = people.submit("ann", command=["true"], name=text, not_before=LATER, metadata={"note": text})
        assert answer.status == 200, answer.body
        made.append(answer.body["job_id"])
        people.ask("ann", "POST", "/api/tokens", {"name": text})
    people.ask("root", "POST", "/api/jobs/cancel", {"job_ids": made})
    assert people.ask("root", "POST", f"/api/jobs/{made[0]}/cancel").status == 409
    tables = [
        people.gpuyard("root", "jobs", "list", "--format", "csv", "-l", "500", "-o", "job_id,name,metadata.note"),
        people.gpuyard("ann", "tokens", "list", "--format", "csv"),
        people.ask("root", "GET", "/api/audit?format=csv").raw.decode(),
        people.ask("root", "GET", "/api/usage?format=csv&by=user").raw.decode(),
    ]
    names = 0
    for table in tables:
        for row in csv.reader(io.StringIO(table)):
            for cell in row:
                number = re.fullmatch(r"-?\d+(\.\d+)?", cell)
                assert number or not cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d")), cell
                names += cell.lstrip("' ") in {text.lstrip() for text in FORMULAS}
    assert names >= 2 * len(FORMULAS), "they are there, and harmless"


def test_no_pattern_takes_more_than_its_length(people: People) -> None:
    """Elsewhere such a pattern is tried 2^40 times; here each answer comes before the client gives up."""
    stars, text = "*a" * 60 + "b", "a" * 120
    assert people.submit("ann", command=["true"], target="worker", worker_labels={"gpu": stars}).status == 200
    many = {f"label{number}": stars for number in range(32)}
    assert people.submit("ann", command=["true"], target="worker", worker_labels=many).status == 200
    (people.server.configs / f"{text}.toml").write_text('command = ["true"]\nnum_processes = 0\n')
    rule = {"name": "bomb", "type": "config_pattern", "condition": stars}
    made = people.ask("root", "POST", "/api/approvals/rules", rule)
    assert made.status == 200, made.body
    assert people.submit("ann", config_name=text).body["requires_approval"] is False
    assert people.ask("root", "POST", f"/api/approvals/rules/{made.body['id']}/test").status == 200
    assert people.ask("root", "DELETE", f"/api/approvals/rules/{made.body['id']}").status == 200
    people.submit("ann", command=["true"], name="a" * 200)
    for pattern in ("%a" * 100, "_" * 200, "*a" * 100, "(a+)+" * 40 + "$", "[" * 200):
        assert people.ask("ann", "GET", f"/api/jobs?search={quote(pattern)}").status in (200, 422)
        assert people.ask("ann", "GET", f"/api/jobs?name={quote(pattern)}").status in (200, 422)
    deep: Any = "leaf"
    for _ in range(200):
        deep = {"a": deep}
    assert people.submit("ann", command=["true"], metadata={"deep": deep}).status == 422
    for path in (".".join(["metadata"] * 5_000), "." * 50_000, "attempts." + "9" * 5_000):
        assert json.loads(people.gpuyard("ann", "jobs", "list", "--format", "json", "-o", f"job_id,{path}"))
    assert people.ask("ann", "POST", "/api/jobs/cancel", {"all": True}).status == 200


# --- people -----------------------------------------------------------------------------------------------------------

NOT_THEIRS = [
    {"user_id": 1}, {"status": "running"}, {"phase": "running"}, {"priority": 50}, {"effective_priority": 50},
    {"allocated_gpus": [0]}, {"worker_id": "x"}, {"job_id": "mine"}, {"fence": 1}, {"attempt": 9}, {"exit_code": 0},
    {"approval_id": 1}, {"started_at": LATER}, {"queued_at": "2000-01-01T00:00:00Z"}, {"position": 1},
    {"config_hash": "x"}, {"__class__": "x"}, {"env": {"CUDA_VISIBLE_DEVICES": "0"}}, {"env": {"GPUYARD_FENCE": "1"}},
    {"env": {"CUDA_DEVICE_ORDER": "x"}}, {"priority_override": 39}, {"priority_override": 51}, {"team_id": "others"},
]  # fmt: skip


def test_forbidden_fields_make_no_job(people: People) -> None:
    before = people.jobs()
    for more in NOT_THEIRS:
        for body in ({"command": ["true"], **more}, [{"command": ["true"]}, {"command": ["true"], **more}]):
            answer = people.ask("ann", "POST", "/api/queue/submit", body)
            assert answer.status in (403, 422), (more, answer.raw)
            assert answer.body["code"] in ("invalid_input", "not_allowed") and answer.body["detail"]
    assert people.jobs() == before


def test_the_token_of_a_deleted_user_opens_nothing(people: People) -> None:
    people.add("gone")
    job_id = people.submit("gone", command=["true"], not_before=LATER).body["job_id"]
    assert people.ask("gone", "GET", f"/api/jobs/{job_id}").status == 200
    assert people.ask("root", "DELETE", f"/api/users/{people.ids['gone']}").status == 200
    for path in ("/api/users/me", f"/api/jobs/{job_id}", "/api/events", "/api/nothing"):
        assert people.ask("gone", "GET", path).status == 401, path
    old = people.ids["gone"]
    people.add("gone", "researcher")
    assert people.ids["gone"] > old, "who has the name now is somebody else"
    assert people.ask("gone", "GET", f"/api/jobs/{job_id}").status == 404
    assert people.ask("root", "POST", f"/api/jobs/{job_id}/cancel").status == 200


@pytest.mark.timeout(300)
def test_ten_thousand_submits_of_one_hold_up_nobody_else(people: People) -> None:
    ended = people.submit("bob", command=["true"], not_before=LATER).body["job_id"]
    assert people.ask("bob", "POST", f"/api/jobs/{ended}/cancel").status == 200
    thousand = [{"command": ["true"], "num_processes": 0, "not_before": LATER}] * 1_000
    for _ in range(10):
        answer = people.ask("bob", "POST", "/api/queue/submit", thousand)
        assert answer.status == 200, answer.raw[:300]
        assert all(one["success"] for one in answer.body)
    for refused in (
        people.submit("bob", command=["true"]),
        people.ask("bob", "POST", "/api/queue/submit", thousand[:2]),
        people.ask("bob", "POST", f"/api/jobs/{ended}/retry"),
    ):
        assert (refused.status, refused.body["code"]) == (429, "too_many_pending"), refused.raw
        assert int(refused.headers["Retry-After"]) >= 1
    mine = people.submit("ann", command=["echo", "as before"]).body
    assert people.server.wait(mine["job_id"])["status"] == "completed"
    statuses = {people.submit("bob", command=["true"]).status for _ in range(300)}
    assert statuses == {429}
    assert people.server.get("/readyz").status == 200
    gone = people.ask("root", "POST", "/api/jobs/cancel", {"all": True, "all_users": True})
    assert gone.status == 200 and len(gone.body["cancelled"]) == 10_000
    # Who was too quick waits a moment for the rate, then all is as before.
    eventually(lambda: people.submit("bob", command=["true"]).status == 200, timeout=30)


def test_one_persons_streams_leave_room_for_others(people: People) -> None:
    people.add("carol")
    open_ones = []
    try:
        for _ in range(64):
            connection = people.server.connect()
            connection.request("GET", "/api/events", headers={"Authorization": f"Bearer {people.tokens['carol']}"})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            open_ones.append(connection)
        refused = people.ask("carol", "GET", "/api/events")
        assert (refused.status, refused.body["code"]) == (429, "rate_limited")
        assert int(refused.headers["Retry-After"]) >= 1
        connection = people.server.connect()
        open_ones.append(connection)
        connection.request("GET", "/api/events", headers={"Authorization": f"Bearer {people.tokens['ann']}"})
        assert connection.getresponse().status == 200
    finally:
        for connection in open_ones:
            connection.close()
