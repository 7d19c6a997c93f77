"""Certificates and keys: what is used, what is refused in words, and what happens when they change."""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl
import tempfile
import time
from pathlib import Path

import pytest

from gpuyard.api import tls
from gpuyard.api.tls import LiveTls, TlsRefused
from tests.certificates import Pair, self_signed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def pair(folder: Path) -> Pair:
    return self_signed(folder)


def test_a_certificate_says_its_names_as_a_host_header_has_them(folder: Path) -> None:
    names = "DNS:GPU.Lab,DNS:*.gpu.lab,IP:192.0.2.7,IP:2001:DB8::7,email:root@gpu.lab"
    found = tls.read(self_signed(folder, "names", names, days=30).cert)
    assert found.names == ("gpu.lab", "*.gpu.lab", "192.0.2.7", "[2001:db8::7]")
    assert 29 * 86_400 < found.ends - time.time() <= 30 * 86_400
    assert tls.read(self_signed(folder, "nameless", "").cert).names == ()


def test_doubts_are_told_before_and_after_the_time_of_a_certificate() -> None:
    day = 86_400.0
    found = tls.Certificate(("a",), 100 * day, 200 * day)
    assert "not valid before 1970-04-11" in found.doubt(99 * day)
    assert found.doubt(150 * day) == ""
    assert "expires on 1970-07-20" in found.doubt(190 * day)
    assert "expired on 1970-07-20" in found.doubt(201 * day)


def test_nothing_below_tls_1_2_is_spoken(pair: Pair) -> None:
    context = tls.open_context(*pair)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_the_key_may_stand_in_the_certificates_file(pair: Pair, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.touch(0o600)
    both.write_bytes(pair.key.read_bytes() + pair.cert.read_bytes())
    assert tls.open_context(both, None)
    assert tls.read(both).names == tls.read(pair.cert).names


def refusal(cert: Path, key: Path | None) -> str:
    with pytest.raises(TlsRefused) as caught:
        tls.open_context(cert, key)
    assert caught.value.do
    return str(caught.value)


def test_what_cannot_be_used_is_said_in_words(pair: Pair, folder: Path, tmp_path: Path) -> None:
    other, locked = self_signed(folder, "other"), self_signed(folder, "locked", password="open sesame")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    nonsense.chmod(0o600)
    assert "No such file" in refusal(tmp_path / "none", pair.key)
    assert "No such file" in refusal(pair.cert, tmp_path / "none")
    assert "certificate cannot be read" in refusal(tmp_path, pair.key)
    assert "holds none as PEM" in refusal(nonsense, pair.key)
    assert "holds none as PEM" in refusal(pair.cert, nonsense)
    assert "key" in refusal(pair.cert, None), "there is none in the certificate's file"
    assert "does not belong to" in refusal(pair.cert, other.key)
    assert "is encrypted" in refusal(*locked)


def test_a_key_that_others_may_read_is_refused(pair: Pair) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder, key = Path(name), Path(name) / "open.key"
        shutil.copy(pair.key, key)
        folder.chmod(0o755)
        key.chmod(0o644)
        assert "every user of this machine" in refusal(pair.cert, key)
        key.chmod(0o640)
        assert tls.open_context(pair.cert, key), "a group of its own may"
        key.chmod(0o644)
        folder.chmod(0o700)
        assert tls.open_context(pair.cert, key), "nobody else gets as far as the file"


def serial(context: ssl.SSLContext, trusted: Path) -> str:
    """The serial number of the certificate that a handshake with `context` shows."""
    asking = ssl.create_default_context(cafile=str(trusted))
    asking.check_hostname = False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = asking.wrap_bio(to_client, to_server, server_hostname="gpu.lab")
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    shown = client.getpeercert()
    assert shown is not None
    return str(shown["serialNumber"])


def test_a_renewed_certificate_is_taken_over_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.01)
    first = self_signed(tmp_path, "live")
    renewed = self_signed(tmp_path, "renewed")
    live = LiveTls(*first)
    before = serial(live.context, first.cert)
    caplog.set_level(logging.INFO, "gpuyard.api")

    async def until(said: str) -> None:
        async with asyncio.timeout(60):
            while said not in caplog.text:
                await asyncio.sleep(0.01)

    async def story() -> None:
        following = asyncio.create_task(live.follow())
        try:
            first.cert.write_bytes(renewed.cert.read_bytes())  # the key is still the old one
            await until("does not belong to")
            assert caplog.text.count("not taken over") == 1, "told once"
            key = tmp_path / "new.key"
            shutil.copy(renewed.key, key)
            key.replace(first.key)
            await until("is in use for new connections")
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    asyncio.run(story())
    after = serial(live.context, renewed.cert)
    assert after != before and after == serial(tls.open_context(*renewed), renewed.cert)


def test_between_a_broken_change_and_the_next_the_old_pair_is_shown(tmp_path: Path) -> None:
    first = self_signed(tmp_path, "live")
    kept = tmp_path / "kept.crt"
    shutil.copy(first.cert, kept)
    live = LiveTls(*first)
    before = serial(live.context, kept)
    first.cert.write_text("nonsense")
    assert not live._changed()
    assert serial(live.context, kept) == before


def test_an_expired_certificate_is_used_and_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its clients refuse it by themselves; a queue that does not come back at night would cost its runs."""
    LiveTls(*self_signed(tmp_path, "old", days=-1))
    assert "expired on" in caplog.text
