"""The server's key pair, and the addresses that it is reached by."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gpuyard.actors.model.errors import InvalidInput
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.keys import KeyPair, load_or_make


def test_the_servers_pair_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "zmq.key"
    made = load_or_make(path)
    assert load_or_make(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_pair_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "zmq.key"
    made = load_or_make(path)
    path.chmod(0o644)
    assert load_or_make(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"secret": "short"}', '{"secret": 7}', "not json", '{"secret": null}']
)
def test_a_damaged_pair_is_never_replaced_silently(tmp_path: Path, content: str) -> None:
    path = tmp_path / "zmq.key"
    path.write_text(content)
    with pytest.raises(InvalidInput, match="restore it from a backup"):
        load_or_make(path)
    assert path.read_text() == content


def test_a_pair_that_was_half_written_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "zmq.key.new").write_text("half")
    assert load_or_make(tmp_path / "zmq.key") == load_or_make(tmp_path / "zmq.key")


def test_the_public_half_follows_from_the_secret_one() -> None:
    pair = KeyPair.new()
    assert KeyPair.of(pair.secret) == pair


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("tcp://127.0.0.1:5555", "127.0.0.1", 5555),
        ("gpu-1.example.org:0", "gpu-1.example.org", 0),
        ("tcp://[::1]:7", "[::1]", 7),
        ("tcp://*:7", "*", 7),
        (" 10.0.0.1:65535 ", "10.0.0.1", 65535),
    ],
)
def test_addresses_that_are_understood(text: str, host: str, port: int) -> None:
    found = Endpoint.parse(text)
    assert (found.host, found.port) == (host, port)
    assert Endpoint.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", "host:port", ":5", "host:65536", "udp://h:1", "ipc:///tmp/x", "h:1/x", "h h:1", "::1:5"],
)
def test_addresses_that_are_not(text: str) -> None:
    with pytest.raises(InvalidInput, match="tcp://HOST:PORT"):
        Endpoint.parse(text)


def test_one_that_listens_everywhere_is_known_by_this_machines_name() -> None:
    assert Endpoint.parse("0.0.0.0:5").reachable().host not in ("0.0.0.0", "")
    assert Endpoint.parse("10.1.1.1:5").reachable() == Endpoint("10.1.1.1", 5)
