"""The verbs about users, teams and tokens: what they ask, what they print, and where a token goes."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from gpuyard.cli import credentials
from tests.unit.cli.conftest import Gpuyard
from tests.unit.cli.recorder import Answer, Asked, Recorder

SECRET = "gy_" + "s" * 43
USER: dict[str, Any] = {
    "id": 2,
    "username": "ann",
    "level": "researcher",
    "team_id": None,
    "created_at": "2026-11-20T09:00:00.000Z",
    "disabled": False,
    "tokens": 1,
    "last_used_at": None,
    "has_password": False,
}
ROOT = USER | {"id": 1, "username": "root", "level": "admin"}
TOKEN: dict[str, Any] = {
    "id": 3,
    "user_id": 2,
    "username": "ann",
    "name": "ci",
    "scopes": ["read", "submit"],
    "live": True,
    "created_at": "2026-11-20T09:00:00.000Z",
    "expires_at": None,
    "last_used_at": None,
    "revoked_at": None,
    "created_by": 1,
}
ME: dict[str, Any] = {
    "id": 2,
    "username": "ann",
    "level": "researcher",
    "team_id": "vision",
    "token_id": 3,
    "scopes": ["read", "submit"],
    "single_user": False,
    "address": "127.0.0.1",
}


@pytest.fixture(autouse=True)
def _people(server: Recorder) -> None:
    server.on("GET", "/api/users", Answer({"users": [ROOT, USER], "total": 2}))
    server.on("POST", "/api/users", Answer(ROOT | {"token": SECRET, "token_id": 1, "first": True, "success": True}))
    server.on("PATCH", "/api/users/2", lambda asked: Answer(USER | asked.body))
    server.on("DELETE", "/api/users/2", Answer({"id": 2, "success": True}))
    server.on("GET", "/api/tokens", Answer({"tokens": [TOKEN, TOKEN | {"id": 2, "live": False}]}))
    server.on("POST", "/api/tokens", Answer(TOKEN | {"token": SECRET, "success": True}))
    server.on("DELETE", "/api/tokens/3", Answer(TOKEN | {"live": False}))


def test_the_first_users_token_is_printed_alone_with_what_to_do_with_it(gpuyard: Gpuyard, server: Recorder) -> None:
    done = gpuyard("users", "add", "root", "--level", "admin")
    assert done.stdout == SECRET + "\n"
    assert "asks everybody for a token, you too" in done.stderr
    assert "gpuyard login" in done.stderr and SECRET not in done.stderr
    assert server.asked[-1].body == {"username": "root", "level": "admin"}
    assert json.loads(gpuyard("users", "add", "root", "--level", "admin", "--format", "json").stdout)["token"] == SECRET


def test_a_token_goes_into_a_new_file_of_ones_own(gpuyard: Gpuyard, tmp_path: Path) -> None:
    file = tmp_path / "t"
    for words in (["users", "add", "root", "--level", "admin"], ["tokens", "create", "ci"]):
        done = gpuyard(*words, "--save", str(file))
        assert (done.stdout, file.read_text()) == ("", SECRET + "\n")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert SECRET not in done.stderr
        file.unlink()
    file.write_text("mine")
    done = gpuyard("tokens", "create", "ci", "--save", str(file))
    assert (file.read_text(), done.stdout) == ("mine", SECRET + "\n")
    assert "could not be written" in done.stderr


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["set-level", "ann", "lead"], {"level": "lead"}),
        (["set-level", "2", "viewer"], {"level": "viewer"}),
        (["edit", "ann", "--team", "vision"], {"team_id": "vision"}),
        (["edit", "ann", "--team", "none", "--username", "anna"], {"team_id": None, "username": "anna"}),
        (["disable", "ann"], {"disabled": True}),
        (["enable", "ann"], {"disabled": False}),
    ],
)
def test_a_user_is_changed_by_name_or_number(
    gpuyard: Gpuyard, server: Recorder, words: list[str], body: dict[str, Any]
) -> None:
    assert gpuyard("users", *words).exit_code == 0
    assert server.of("PATCH", "/api/users/2")[0].body == body


def test_an_unknown_user_is_not_found_and_an_empty_edit_is_a_slip(gpuyard: Gpuyard, server: Recorder) -> None:
    done = gpuyard("users", "set-level", "bob", "lead")
    assert done.exit_code == 5 and "root, ann" in done.stderr
    assert gpuyard("users", "edit", "ann").exit_code == 2
    assert not server.of("PATCH", "/api/users/2")


def test_removing_asks_first(gpuyard: Gpuyard, server: Recorder) -> None:
    assert gpuyard("users", "remove", "ann").exit_code == 2
    assert not server.of("DELETE", "/api/users/2")
    assert gpuyard("users", "remove", "ann", "-y").stdout == "ann deleted\n"
    assert server.of("DELETE", "/api/users/2")


def test_a_password_is_read_unseen_and_sent_in_a_body(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/users/me", Answer(ME))
    server.on("PUT", "/api/users/2/password", Answer({"success": True}))
    server.on("PUT", "/api/users/1/password", Answer({"success": True}))
    done = gpuyard("users", "set-password", input="correct horse battery\n")
    assert (done.exit_code, done.stdout, "horse" in done.stderr) == (0, "", False)
    assert server.asked[-1].body == {"password": "correct horse battery"}
    gpuyard("users", "set-password", "root", "--none")
    assert (server.asked[-1].path, server.asked[-1].body) == ("/api/users/1/password", {"password": None})


def test_teams(gpuyard: Gpuyard, server: Recorder) -> None:
    team = {"id": "vision", "name": "Vision", "created_at": "2026-11-20T09:00:00.000Z", "members": ["ann"]}
    server.on("GET", "/api/teams", Answer({"teams": [team]}))
    server.on("POST", "/api/teams", Answer(team))
    server.on("PATCH", "/api/teams/vision", Answer(team | {"name": "Sight"}))
    server.on("DELETE", "/api/teams/vision", Answer({"id": "vision", "success": True}))
    assert "ann" in gpuyard("teams", "list").stdout
    assert gpuyard("teams", "add", "Vision").stdout == "vision\n"
    assert gpuyard("teams", "rename", "vision", "Sight").stdout == "vision Sight\n"
    assert gpuyard("teams", "remove", "vision").exit_code == 0
    assert [asked.body for asked in server.asked] == [None, {"name": "Vision"}, {"name": "Sight"}, None]


def test_tokens(gpuyard: Gpuyard, server: Recorder) -> None:
    assert gpuyard("tokens", "list", "-o", "id", "--format", "csv").stdout == "id\n3\n2\n"
    assert len(gpuyard("tokens", "list").stdout.splitlines()) == 2, "only what lives is shown to people"
    gpuyard("tokens", "list", "--user", "ann")
    assert server.asked[-1].query == {"user_id": "2"}
    done = gpuyard("tokens", "create", "ci", "--scope", "read,submit", "--expires", "90d", "--user", "ann")
    assert done.stdout == SECRET + "\n"
    sent = server.asked[-1].body
    assert (sent["name"], sent["scopes"], sent["user_id"]) == ("ci", ["read", "submit"], 2)
    assert sent["expires_at"].endswith("+00:00")
    assert gpuyard("tokens", "create", "--scope", "write").exit_code == 2
    assert gpuyard("tokens", "revoke", "3").stdout == "3 revoked (ci)\n"


# --- login -----------------------------------------------------------------------------------------------------------


def needs_token(asked: Asked) -> Answer:
    if asked.headers.get("authorization") == f"Bearer {SECRET}":
        return Answer(ME)
    return Answer({"detail": "the token is unknown", "code": "unauthenticated"}, 401)


def test_login_checks_the_token_and_keeps_it_for_this_server_alone(
    gpuyard: Gpuyard, server: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("GET", "/api/users/me", needs_token)
    assert gpuyard("whoami").exit_code == 4
    assert gpuyard("login", input="gy_wrong\n").exit_code == 4
    assert not Path(credentials.path()).exists()
    done = gpuyard("login", input=SECRET + "\n")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "as ann, level researcher" in done.stderr
    file = Path(credentials.path())
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)
    assert "vision" in gpuyard("whoami").stdout
    other = Recorder()
    try:
        other.on("GET", "/api/users/me", needs_token)
        assert gpuyard("whoami", "--server", other.url).exit_code == 4
        assert "authorization" not in other.asked[0].headers
    finally:
        other.close()
    monkeypatch.setenv("GPUYARD_TOKEN", "gy_another")
    assert gpuyard("whoami").exit_code == 4, "the environment wins"
    monkeypatch.delenv("GPUYARD_TOKEN")
    assert gpuyard("logout").exit_code == 0
    assert gpuyard("whoami").exit_code == 4
    assert list(file.parent.iterdir()) == [file], "nothing is left beside it"


def test_login_from_a_file(gpuyard: Gpuyard, server: Recorder, tmp_path: Path) -> None:
    server.on("GET", "/api/users/me", needs_token)
    file = tmp_path / "token"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    assert gpuyard("login", "--token-file", str(file)).exit_code == 0
    assert gpuyard("whoami").exit_code == 0


def test_a_server_without_users_needs_no_login(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/users/me", Answer(ME | {"single_user": True, "token_id": None}))
    done = gpuyard("login", input=SECRET + "\n")
    assert done.exit_code == 1 and "users add" in done.stderr
    assert "none needed" in gpuyard("whoami").stdout


@pytest.mark.parametrize("typed", ["", "two words", "schlüssel"])
def test_what_can_be_no_token_is_not_sent(gpuyard: Gpuyard, server: Recorder, typed: str) -> None:
    assert gpuyard("login", input=typed + "\n").exit_code == 2
    assert server.asked == []


def test_a_damaged_file_holds_no_token(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/users/me", needs_token)
    Path(credentials.folder()).mkdir(parents=True)
    for text in ("", "[]", '{"servers": []}', json.dumps({"servers": {server.url: 7}})):
        Path(credentials.path()).write_text(text)
        assert gpuyard("whoami").exit_code == 4
    assert gpuyard("login", input=SECRET + "\n").exit_code == 0
    assert gpuyard("whoami").exit_code == 0


def test_the_folder_is_the_platforms() -> None:
    assert credentials.folder() == str(platformdirs.user_config_path("gpuyard"))
