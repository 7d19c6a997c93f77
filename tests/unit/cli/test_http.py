"""The client: what is repeated, what an error means, where the token goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuyard.cli import credentials
from gpuyard.cli.exits import ExitCode, Failure
from gpuyard.cli.http import ApiError, Client, Unreachable
from gpuyard.cli.options import make_client
from tests.machine import free_port
from tests.unit.cli.recorder import Answer, Recorder


def test_a_question_is_asked_again_when_the_connection_breaks(server: Recorder, client: Client) -> None:
    server.on("GET", "/x", Answer(break_off=True), Answer(break_off=True), Answer({"ok": True}))
    assert client.get("/x") == {"ok": True}
    assert len(server.asked) == 3


def test_a_command_is_never_asked_again(server: Recorder, client: Client) -> None:
    server.on("POST", "/x", Answer(break_off=True), Answer({"ok": True}))
    with pytest.raises(Unreachable, match="cannot reach"):
        client.post("/x")
    assert len(server.asked) == 1


def test_a_command_with_an_idempotency_key_is_repeated_with_the_same_key(server: Recorder, client: Client) -> None:
    server.on("POST", "/x", Answer(break_off=True), Answer({"ok": True}))
    assert client.post("/x", {"a": 1}, key="k1") == {"ok": True}
    assert [asked.headers["idempotency-key"] for asked in server.asked] == ["k1", "k1"]
    assert [asked.body for asked in server.asked] == [{"a": 1}, {"a": 1}]


def test_a_server_that_is_starting_is_waited_for(server: Recorder, client: Client) -> None:
    busy = Answer({"detail": "starting", "code": "unavailable"}, 503, {"Retry-After": "0"})
    server.on("GET", "/x", busy, busy, Answer({"ok": True}))
    assert client.get("/x") == {"ok": True}


def test_a_server_that_stays_busy_is_unreachable(server: Recorder, client: Client) -> None:
    server.on("GET", "/x", Answer({"detail": "the disk is full", "code": "store_failed"}, 503, {"Retry-After": "0"}))
    with pytest.raises(ApiError) as caught:
        client.get("/x")
    assert caught.value.exit_code == ExitCode.UNREACHABLE
    assert caught.value.why.startswith("the disk is full")


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 2), (401, 4), (403, 4), (404, 5), (409, 6), (413, 2), (422, 2), (500, 1), (503, 3)],
)
def test_each_status_has_its_exit_code(server: Recorder, client: Client, status: int, code: int) -> None:
    server.on("POST", "/x", Answer({"detail": "no", "code": "some_code", "request_id": "r1"}, status))
    with pytest.raises(ApiError) as caught:
        client.post("/x", what="it was not done")
    assert (caught.value.exit_code, caught.value.what, caught.value.code) == (code, "it was not done", "some_code")


def test_nothing_listens_there() -> None:
    with pytest.raises(Unreachable) as caught:
        Client(f"http://127.0.0.1:{free_port()}").get("/x")
    assert "connection refused" in caught.value.why
    assert "gpuyard server" in caught.value.do


def test_something_else_answers_there(server: Recorder, client: Client) -> None:
    server.on("GET", "/x", Answer(raw=b"<html>welcome</html>", headers={"Content-Type": "text/html"}))
    with pytest.raises(Unreachable) as caught:
        client.get("/x")
    assert "something else answers" in caught.value.why


def test_a_proxy_that_leads_to_tls_is_named(server: Recorder, client: Client) -> None:
    server.on("GET", "/x", Answer(raw=b"moved", status=301, headers={"Location": "https://gpu.lab/x"}))
    with pytest.raises(Unreachable) as caught:
        client.get("/x")
    assert "leads elsewhere" in caught.value.why and "https://" in caught.value.do


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://", "http://host:notaport", "http://[::1"])
def test_what_is_no_address_is_a_usage_error(url: str) -> None:
    with pytest.raises(Failure) as caught:
        Client(url)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(Failure) as caught:
        Client("http://me:hunter2@host:80")
    assert "hunter2" not in f"{caught.value.what}{caught.value.why}{caught.value.do}"


def test_the_token_goes_into_the_header_only(server: Recorder, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    server.on("GET", "/x", Answer({}))
    with make_client(server.url, str(secret)) as client:
        client.get("/x", query={"a": "b"})
    (asked,) = server.asked
    assert asked.headers["authorization"] == "Bearer s3cret"
    assert asked.query == {"a": "b"}


def test_a_token_file_that_others_may_read_is_warned_of(
    server: Recorder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret")
    secret.chmod(0o644)
    make_client(server.url, str(secret))
    told = capsys.readouterr().err
    assert "chmod 600" in told
    assert "s3cret" not in told


def test_a_token_is_never_sent_unencrypted_to_another_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Wherever it comes from: the environment, a file, or an earlier log-in."""
    url = "http://192.0.2.1:8000"
    make_client(url, None)
    token = tmp_path / "token"
    token.write_text("s3cret")
    token.chmod(0o600)
    with pytest.raises(Failure, match="not sent") as caught:
        make_client(url, str(token))
    assert caught.value.exit_code == ExitCode.USAGE
    assert "unencrypted" in caught.value.why and "https://" in caught.value.do
    assert "s3cret" not in caught.value.what + caught.value.why + caught.value.do
    monkeypatch.setenv("GPUYARD_TOKEN", "s3cret")
    for elsewhere in (url, "http://gpu.lab", "http://127.evil.example:8000", "http://localhost.evil.example"):
        with pytest.raises(Failure, match="not sent"):
            make_client(elsewhere, None)
    for fine in (
        "https://192.0.2.1:8000",
        "http://localhost:8000",
        "http://127.0.0.1",
        "http://127.1.2.3",
        "http://[::1]:8000",
    ):
        make_client(fine, None)
    monkeypatch.delenv("GPUYARD_TOKEN")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    credentials.keep(url, "s3cret")
    with pytest.raises(Failure, match="not sent"):
        make_client(url, None)


@pytest.mark.parametrize("token", ["two words", "line\nbreak: injected", "na\u00efve"])
def test_what_would_break_the_header_is_no_token(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUYARD_TOKEN", token)
    with pytest.raises(Failure) as caught:
        make_client(None, None)
    assert token not in caught.value.what + caught.value.why


def test_a_path_in_front_of_the_api_is_kept(server: Recorder) -> None:
    server.on("GET", "/behind/a/proxy/api/jobs", Answer({"jobs": []}))
    with Client(server.url + "/behind/a/proxy/") as client:
        assert client.get("/api/jobs") == {"jobs": []}


def test_one_connection_serves_many_questions(server: Recorder, client: Client) -> None:
    ports = set()
    server.on("GET", "/x", Answer({}))
    for _ in range(3):
        client.get("/x")
        assert client._connection is not None
        assert client._connection.sock is not None
        ports.add(client._connection.sock.getsockname()[1])
    assert len(ports) == 1
