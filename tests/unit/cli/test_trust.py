"""The client and TLS: whom it believes, and what it says when it does not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpuyard.api import tls
from gpuyard.cli.exits import ExitCode, Failure
from gpuyard.cli.http import Client, Unreachable
from gpuyard.cli.options import make_client
from tests.certificates import Pair, authority, self_signed
from tests.unit.cli.recorder import Answer, Recorder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@contextmanager
def serving(pair: Pair) -> Iterator[Recorder]:
    recorder = Recorder(tls.open_context(*pair))
    recorder.on("GET", "/x", Answer({"ok": True}))
    try:
        yield recorder
    finally:
        recorder.close()


def refusal(url: str, cacert: Path | None = None) -> Unreachable:
    with pytest.raises(Unreachable) as caught, Client(url, "s3cret", cacert=str(cacert) if cacert else None) as client:
        client.get("/x")
    assert caught.value.exit_code == ExitCode.UNREACHABLE
    return caught.value


def test_a_certificate_of_ones_own_is_believed_once_it_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = self_signed(folder)
    with serving(pair) as server:
        told = refusal(server.url)
        assert "vouches" in told.why and "--cacert" in told.do
        assert not server.asked, "the token was not sent"
        with make_client(server.url, None, str(pair.cert)) as client:
            assert client.get("/x") == {"ok": True}
            with client.twin() as twin:
                assert twin.get("/x") == {"ok": True}
        monkeypatch.setenv("GPUYARD_CACERT", str(pair.cert))
        with Client(server.url) as client:
            assert client.get("/x") == {"ok": True}


def test_whoever_a_private_authority_signs_is_believed_and_nobody_else(folder: Path) -> None:
    root, pair = authority(folder)
    with serving(pair) as server:
        with Client(server.url, cacert=str(root)) as client:
            assert client.get("/x") == {"ok": True}
        assert "vouches" in refusal(server.url, self_signed(folder, "stranger").cert).why


def test_another_name_and_another_time_are_said(folder: Path) -> None:
    elsewhere = self_signed(folder, "elsewhere", "DNS:gpu.lab")
    with serving(elsewhere) as server:
        assert "another name" in refusal(server.url, elsewhere.cert).why
        assert "another name" in refusal(server.url.replace("127.0.0.1", "localhost"), elsewhere.cert).why
    old = self_signed(folder, "old", days=-1)
    with serving(old) as server:
        told = refusal(server.url, old.cert)
        assert "has expired" in told.why and "renewed" in told.do


def test_the_wrong_protocol_is_said_in_both_directions(folder: Path) -> None:
    plain = Recorder()
    try:
        assert "does not speak TLS" in refusal(plain.url.replace("http", "https")).why
    finally:
        plain.close()
    with serving(self_signed(folder)) as server:
        client = Client(server.url.replace("https", "http"))
        with client, pytest.raises(Unreachable) as caught:
            client.post("/x")
    assert "https://" in caught.value.do


def test_nothing_listens_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert "connection refused" in refusal(f"https://127.0.0.1:{taken.getsockname()[1]}").why


@pytest.mark.parametrize(("content", "said"), [(None, "No such file"), ("nonsense", "no certificate")])
def test_a_file_that_vouches_for_nobody_is_a_usage_error(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(Failure) as caught:
        Client("https://127.0.0.1:1", cacert=str(file)).get("/x")
    assert (caught.value.exit_code, said in caught.value.why) == (ExitCode.USAGE, True)
    assert "--cacert" in caught.value.do
