"""`gpuyard secrets …` and `gpuyard webhooks …`: what they ask, what they print, and where a secret goes."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from gpuyard.api.examples_people import PEOPLE
from gpuyard.api.examples_webhooks import DELIVERY, HOOK, WEBHOOKS
from tests.unit.cli.conftest import Gpuyard
from tests.unit.cli.recorder import Answer, Recorder

VALUE = "hf_canary_0123456789"
ID = HOOK["id"]
SECRET = WEBHOOKS["add_webhook"]["secret"]


@pytest.fixture(autouse=True)
def _server(server: Recorder) -> None:
    server.on("PUT", "/api/secrets/hf", Answer(PEOPLE["set_secret"]))
    server.on("GET", "/api/secrets", Answer(PEOPLE["list_secrets"]))
    server.on("DELETE", "/api/secrets/hf", Answer(PEOPLE["delete_secret"]))
    server.on("POST", "/api/webhooks", Answer(WEBHOOKS["add_webhook"]))
    server.on("GET", "/api/webhooks", Answer(WEBHOOKS["list_webhooks"]))
    server.on("PATCH", f"/api/webhooks/{ID}", lambda asked: Answer(HOOK | asked.body))
    server.on("DELETE", f"/api/webhooks/{ID}", Answer(HOOK))
    server.on("POST", f"/api/webhooks/{ID}/test", Answer(WEBHOOKS["test_webhook"]))
    server.on("GET", f"/api/webhooks/{ID}/deliveries", Answer(WEBHOOKS["list_deliveries"]))


@pytest.mark.parametrize("typed", [VALUE, VALUE + "\n", VALUE + "\r\n"])
def test_a_secret_comes_from_a_pipe_without_its_line_break(gpuyard: Gpuyard, server: Recorder, typed: str) -> None:
    done = gpuyard("secrets", "set", "hf", "--env", "HF_TOKEN", input=typed)
    assert (done.exit_code, done.stdout) == (0, "hf set, as HF_TOKEN\n")
    assert server.of("PUT", "/api/secrets/hf")[0].body == {"value": VALUE, "env": "HF_TOKEN"}
    assert VALUE not in done.stdout + done.stderr


def test_a_secret_of_several_lines_comes_whole_from_a_file(gpuyard: Gpuyard, server: Recorder, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("-----BEGIN KEY-----\nabc\n-----END KEY-----\n\n")
    assert gpuyard("secrets", "set", "hf", "--file", str(file)).exit_code == 0
    assert server.of("PUT", "/api/secrets/hf")[0].body == {"value": "-----BEGIN KEY-----\nabc\n-----END KEY-----\n"}


def test_what_cannot_be_read_or_is_no_text_is_said_and_not_sent(
    gpuyard: Gpuyard, server: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, why in (("none", "cannot be read"), ("binary", "is no text")):
        done = gpuyard("secrets", "set", "hf", "--file", str(tmp_path / name))
        assert done.exit_code == 2 and why in done.stderr
    assert server.of("PUT", "/api/secrets/hf") == []
    assert gpuyard("secrets", "set", "hf", VALUE).exit_code == 2, "a value is no argument"


def test_secrets_are_listed_without_their_values_and_deleted(gpuyard: Gpuyard) -> None:
    listed = gpuyard("secrets", "list")
    assert "hf" in listed.stdout and "HF_TOKEN" in listed.stdout and "ann" in listed.stdout
    assert json.loads(gpuyard("secrets", "list", "--format", "json").stdout) == PEOPLE["list_secrets"]["secrets"]
    assert gpuyard("secrets", "delete", "hf").stdout == "hf deleted\n"


def test_a_jobs_secrets_are_named_not_sent(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("POST", "/api/queue/submit", Answer({"success": True, "job_id": "k3j5", "status": "running"}))
    assert gpuyard("jobs", "submit", "--secret", "hf", "--secret", "wandb", "--", "true").exit_code == 0
    assert server.of("POST", "/api/queue/submit")[0].body["secrets"] == ["hf", "wandb"]


def test_a_webhook_is_added_and_its_secret_shown_once_or_saved(
    gpuyard: Gpuyard, server: Recorder, tmp_path: Path
) -> None:
    done = gpuyard("webhooks", "add", HOOK["url"], "--on", "failed,completed", "--on", "failed", "--scope", "team")
    assert done.stdout == f"{ID} added\n{SECRET}\n" and "shown this once" in done.stderr
    wanted = {"url": HOOK["url"], "events": ["failed", "completed"], "scope": "team"}
    assert server.of("POST", "/api/webhooks")[0].body == wanted
    file = tmp_path / "hook.secret"
    done = gpuyard("webhooks", "add", HOOK["url"], "--save", str(file))
    assert SECRET not in done.stdout + done.stderr
    assert file.read_text().strip() == SECRET and stat.S_IMODE(file.stat().st_mode) == 0o600
    again = gpuyard("webhooks", "add", HOOK["url"], "--save", str(file))
    assert SECRET in again.stdout and "could not be written" in again.stderr
    assert gpuyard("webhooks", "add", HOOK["url"], "--on", "started").exit_code == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "enabled"),
        ({"enabled": False}, "disabled"),
        ({"enabled": False, "why": "gone for good (410)"}, "disabled: gone for good (410)"),
        ({"failing_since": "2026-11-22T02:05:00.000Z", "waiting": 7}, "failing since"),
    ],
)
def test_the_list_says_how_a_webhook_is(
    gpuyard: Gpuyard, server: Recorder, changes: dict[str, Any], words: str
) -> None:
    server.on("GET", "/api/webhooks", Answer({"webhooks": [HOOK | changes]}))
    assert words in gpuyard("webhooks", "list").stdout
    assert gpuyard("webhooks", "list", "--all").exit_code == 0
    assert server.of("GET", "/api/webhooks")[-1].query == {"all_users": "true"}


def test_a_test_ends_with_how_it_went(gpuyard: Gpuyard, server: Recorder) -> None:
    done = gpuyard("webhooks", "test", ID)
    assert (done.exit_code, done.stdout) == (0, "taken: it answered 204 (0.1 s)\n")
    refused = {"id": "msg_1", "ok": False, "status": None, "why": "127.0.0.1 is loopback", "seconds": 0.0}
    server.on("POST", f"/api/webhooks/{ID}/test", Answer(refused))
    done = gpuyard("webhooks", "test", ID)
    assert (done.exit_code, done.stdout) == (1, "not taken: 127.0.0.1 is loopback (0.0 s)\n")


def test_it_is_switched_deleted_and_its_messages_are_listed(gpuyard: Gpuyard, server: Recorder) -> None:
    assert gpuyard("webhooks", "disable", ID).stdout == f"{ID} disabled\n"
    assert gpuyard("webhooks", "enable", ID).stdout == f"{ID} enabled\n"
    assert [asked.body for asked in server.of("PATCH", f"/api/webhooks/{ID}")] == [
        {"enabled": False},
        {"enabled": True},
    ]
    listed = gpuyard("webhooks", "deliveries", ID).stdout
    assert DELIVERY["id"] in listed and "delivered" in listed and DELIVERY["job_id"] in listed
    assert gpuyard("webhooks", "delete", ID).stdout == f"{ID} deleted\n"
