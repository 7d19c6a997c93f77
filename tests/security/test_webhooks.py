"""A webhook makes the server speak to an address of somebody's choice, from inside its network: what it may not reach.

Real receivers stand where an attacker would want the message to go; the sender, its resolver and TLS are the real ones.
Only the answers of a name server are made up, since an attacker's would be too.
"""

from __future__ import annotations

import asyncio
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.hooks import sender as senders
from gpuyard.actors.hooks.sender import NotSent, Parcel, Sender, addresses, chosen
from gpuyard.actors.model.webhooks import address, place
from gpuyard.actors.model.webhooks.records import Outcome
from tests import certificates
from tests.receiver import Receiver, answers, receiver
from tests.support import eventually

SECRET = "whsec_" + "QUFB" * 8
METADATA = "169.254.169.254"
HERE = (ip_network("127.0.0.0/8"),)

INSIDE = [
    # IPv4: this network, loopback, private, carrier-grade NAT, link-local, reserved, documentation, multicast
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "100.64.0.1", "100.127.255.255", "100.100.100.200", METADATA, "169.254.170.2", "192.0.0.1", "192.0.2.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "168.63.129.16",
    # IPv6: the same, and IPv4 in its wrappings
    "::", "::1", "fe80::1", "fe80::1%lo", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "100::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::", "2001:0:1::1", "4000::1", "e000::1",
    "no address", "", "0x7f.1", "127.1",
]  # fmt: skip
OUTSIDE = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "100.128.0.1"]


@contextmanager
def sending(
    names: dict[str, Sequence[str]] | None = None, allowed: Sequence[Any] = HERE, **more: Any
) -> Iterator[Sender]:
    """A sender to whom the names of `names` mean these addresses."""

    def resolve(host: str, port: int) -> Sequence[str]:
        if names is not None and host in names:
            return names[host]
        raise OSError(f"no such name {host}")

    made = Sender(allowed, **{"resolve": resolve, **more})
    made.start()
    try:
        yield made
    finally:
        made.stop()


def post(made: Sender, url: str, body: bytes = b"{}") -> Future[Outcome]:
    answer: Future[Outcome] = Future()

    async def work() -> None:
        try:
            answer.set_result(await made.attempt(Parcel("msg_1", url, body, SECRET)))
        except asyncio.CancelledError:
            answer.cancel()
            raise

    made.do(work())
    return answer


def outcome(made: Sender, url: str) -> Outcome:
    return post(made, url).result(60)


@pytest.mark.parametrize("text", INSIDE)
def test_no_address_from_inside_is_public(text: str) -> None:
    assert address.why_not(text)


@pytest.mark.parametrize("text", OUTSIDE)
def test_a_public_address_is(text: str) -> None:
    assert address.why_not(text) == ""


def test_a_network_that_the_settings_name_is_reached_and_no_other() -> None:
    allowed = address.networks(["10.1.0.0/16", "fd00:1::/64"])
    assert address.why_not("10.1.2.3", allowed) == address.why_not("::ffff:10.1.2.3", allowed) == ""
    assert address.why_not("fd00:1::7", allowed) == ""
    assert address.why_not("10.2.0.1", allowed) and address.why_not("fd00:2::7", allowed)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://x/", "//example.com/",
        "example.com",
        "https://", "https:///x", "https://user@example.com/", "https://u:p@example.com/", "https://example.com/#x",
        "https://example.com:22/", "https://example.com:0/", "https://example.com:99999/", "https://exa mple.com/",
        "https://example.com\\@127.0.0.1/", "https://ex\nample.com/", "https://exämple.com/", "https://[::1]/",
        f"https://{METADATA}/latest/meta-data", "https://127.0.0.1:8000/", "https://[::ffff:169.254.169.254]/",
        "https://[fd00:ec2::254]/", "https://[::1", "https://x/" + "a" * 2000, "", None, 5,
    ],
)  # fmt: skip
def test_what_is_refused_when_it_is_added(url: object) -> None:
    with pytest.raises(ValueError, match="must"):
        place.checked(url)


@pytest.mark.parametrize("url", ["https://example.com/", "https://example.com:8443/a?b=c", "https://1.1.1.1/"])
def test_what_may_be_tried(url: str) -> None:
    assert place.checked(url) == url


@pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "ip6-localhost"])
def test_names_and_strange_numbers_of_this_machine_lead_nowhere(host: str) -> None:
    """With the real resolver: whatever it makes of them is looked at."""
    with receiver() as trap, sending(resolve=addresses, allowed=()) as made:
        found = outcome(made, f"https://{host}:{trap.port}/")
        said = ("nothing is sent there", "cannot be found", "no address that can be used")
        assert found.status is None and any(words in found.why for words in said)
        assert trap.got == []
    if host == "localhost":
        with pytest.raises(NotSent, match="loopback"):
            chosen(addresses(host, 443), (), "https")


def test_a_name_whose_addresses_are_partly_inside_is_refused() -> None:
    with pytest.raises(NotSent, match="link-local"):
        chosen(["1.1.1.1", METADATA], (), "https")
    with pytest.raises(NotSent, match="no address"):
        chosen([], (), "https")
    assert chosen(["1.1.1.1", "2606:4700:4700::1111"], (), "https") == ["1.1.1.1", "2606:4700:4700::1111"]


def test_the_next_address_is_tried_where_one_cannot_be_connected_to() -> None:
    with receiver("127.0.0.2") as good, sending({"a.example": ["127.0.0.9", "127.0.0.2"]}) as made:
        assert outcome(made, f"http://a.example:{good.port}/").status == 204


def test_without_https_only_to_networks_that_the_settings_name() -> None:
    assert chosen(["127.0.0.9"], HERE, "http") == ["127.0.0.9"]
    with pytest.raises(NotSent, match="without https"):
        chosen(["1.1.1.1"], HERE, "http")


def test_a_name_that_flips_is_asked_once_and_the_message_goes_where_was_looked() -> None:
    """The first answer is looked at and harmless, every later one is the trap's: it must never be used."""
    asked: list[str] = []

    def flip(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.2"] if len(asked) == 1 else ["127.0.0.3"]

    with receiver("127.0.0.2") as good, receiver("127.0.0.3", good.port) as trap:
        with sending(resolve=flip, allowed=(ip_network("127.0.0.2/32"),)) as made:
            url = f"http://rebind.example:{good.port}/hook"
            assert outcome(made, url).status == 204
            assert (len(asked), len(good.got), trap.got) == (1, 1, [])
            assert good.got[0].headers["host"] == f"rebind.example:{good.port}"
            # From now on it means the trap, which is looked at too.
            assert "nothing is sent there: 127.0.0.3 is loopback" in outcome(made, url).why
        assert trap.got == []


def test_a_name_of_the_metadata_is_refused_before_anything_is_connected() -> None:
    with sending({"meta.example": [METADATA], "six.example": ["64:ff9b::a9fe:a9fe"]}, allowed=()) as made:
        for name in ("meta.example", "six.example"):
            assert "link-local, where clouds keep their metadata" in outcome(made, f"https://{name}/").why


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with receiver() as good, receiver() as trap, sending({"a.example": ["127.0.0.1"]}) as made:
        good.behave = answers(status, Location=trap.url)
        found = outcome(made, f"http://a.example:{good.port}/")
        assert (found.status, found.taken, found.why) == (
            status,
            False,
            f"it answered {status}: redirects are not followed",
        )
        assert len(good.got) == 1 and trap.got == []


def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as good, receiver() as trap:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
            monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{trap.port}")
        with sending({"a.example": ["127.0.0.1"]}) as made:
            assert outcome(made, f"http://a.example:{good.port}/").status == 204
        assert trap.got == []


def test_a_receiver_that_hangs_delays_nobody_and_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "SECONDS", 1.5)
    with receiver() as slow, receiver() as quick, sending({"a.example": ["127.0.0.1"]}) as made:
        slow.behave = lambda request, number: slow.over.wait(60) and None
        hanging = [post(made, f"http://a.example:{slow.port}/") for _ in range(8)]
        slow.wait(8)
        assert outcome(made, f"http://a.example:{quick.port}/").status == 204
        assert not any(one.done() for one in hanging) or hanging[0].result(0).why
        assert {one.result(30).why for one in hanging} == {"no answer within 1.5 s"}
        slow.over.set()


def test_an_answer_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(request: http.server.BaseHTTPRequestHandler, number: int) -> None:
        request.send_response(200)
        request.end_headers()
        while True:
            request.wfile.write(b"x" * 65_536)

    with receiver() as flood, sending({"a.example": ["127.0.0.1"]}) as made:
        flood.behave = endless
        assert outcome(made, f"http://a.example:{flood.port}/").status == 200


def test_one_that_closes_or_speaks_something_else_is_a_failure_with_words() -> None:
    def garbage(request: http.server.BaseHTTPRequestHandler, number: int) -> None:
        request.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        request.close_connection = True

    def closes(request: http.server.BaseHTTPRequestHandler, number: int) -> None:
        request.connection.shutdown(socket.SHUT_RDWR)
        request.close_connection = True

    with receiver() as bad, sending({"a.example": ["127.0.0.1"]}) as made:
        for behave in (garbage, closes):
            bad.behave = behave
            found = outcome(made, f"http://a.example:{bad.port}/")
            assert found.status is None and found.why.startswith("it cannot be reached")
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            found = outcome(made, f"http://a.example:{unused.getsockname()[1]}/")
            assert "it cannot be reached" in found.why
        assert "cannot be found" in outcome(made, "https://nobody.example/").why


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "RESOLVE_SECONDS", 0.3)
    over = threading.Event()

    def hang(host: str, port: int) -> Sequence[str]:
        if host.startswith("slow"):
            over.wait(60)
        return ["127.0.0.1"]

    with receiver() as good, sending(resolve=hang) as made:
        slow = post(made, "https://slow.example/")
        assert outcome(made, f"http://a.example:{good.port}/").status == 204
        assert slow.result(30).why == "its name was not found within 0.3 s"
    over.set()
    eventually(lambda: not [one for one in threading.enumerate() if one.name == "webhooks-resolve"])


@contextmanager
def tls_receiver(folder: Path, names: str) -> Iterator[tuple[Receiver, ssl.SSLContext]]:
    """One whose certificate is for `names`, and what trusts it."""
    root, pair = certificates.authority(folder, names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    with receiver(tls=context) as made:
        yield made, ssl.create_default_context(cafile=str(root))


def test_the_certificate_must_be_that_of_the_name_though_an_address_is_connected_to(tmp_path: Path) -> None:
    names = {"hooks.lab": ["127.0.0.1"], "other.lab": ["127.0.0.1"]}
    with tls_receiver(tmp_path, "DNS:hooks.lab") as (good, trusted):
        with sending(names, tls=trusted) as made:
            assert outcome(made, f"https://hooks.lab:{good.port}/x?y=1").status == 204
            assert (good.got[0].path, good.got[0].headers["host"]) == ("/x?y=1", f"hooks.lab:{good.port}")
            found = outcome(made, f"https://other.lab:{good.port}/")
            assert found.status is None and "other.lab" in found.why
            found = outcome(made, f"https://127.0.0.1:{good.port}/")
            assert found.status is None
        with sending(names) as made:
            assert "certificate" in outcome(made, f"https://hooks.lab:{good.port}/").why.lower()
        assert len(good.got) == 1
