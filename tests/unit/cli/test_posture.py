"""What a server needs before others than this machine's users may reach it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpuyard.cli import posture
from gpuyard.cli.posture import Refused, judge
from gpuyard.cli.settings import ServerSettings, SettingsError, load
from tests.certificates import Pair, self_signed

PROXY: dict[str, Any] = {"behind_tls_proxy": True, "trusted_proxies": ("192.0.2.1",), "allowed_hosts": ("gpu.lab",)}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return self_signed(tmp_path_factory.mktemp("pair"))


def tokens(count: int) -> Callable[[], int]:
    return lambda: count


def refused(count: int = 1, **settings: Any) -> str:
    with pytest.raises(Refused) as caught:
        judge(ServerSettings(**settings), tokens(count))
    assert caught.value.do
    return f"{caught.value} / {caught.value.do}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.0.0.5"])
def test_on_loopback_nothing_is_needed(host: str) -> None:
    stance = judge(ServerSettings(host=host), tokens(0))
    assert (stance.network, stance.names) == (False, ())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7", ""])
def test_beyond_loopback_everything_that_is_missing_is_said_at_once(host: str) -> None:
    said = refused(0, host=host)
    for part in ("unencrypted", "no user has a token", "--ssl-cert", "--behind-tls-proxy", "gpuyard users add"):
        assert part in said


def test_tls_alone_or_people_alone_are_not_enough(pair: Pair) -> None:
    assert "unencrypted" in refused(3, host="0.0.0.0")
    assert "no user has a token" in refused(0, host="0.0.0.0", ssl_cert=pair.cert, ssl_key=pair.key)


def test_with_both_it_is_opened_under_the_certificates_names(pair: Pair) -> None:
    stance = judge(ServerSettings(host="0.0.0.0", ssl_cert=pair.cert, ssl_key=pair.key), tokens(1))
    assert stance == (True, ("gpu.lab", "localhost", "127.0.0.1"), "https://localhost:{port}")
    given = ServerSettings(host="192.0.2.7", ssl_cert=pair.cert, ssl_key=pair.key, allowed_hosts=("GPU.example",))
    assert judge(given, tokens(1)).names == ("gpu.example", "gpu.lab", "localhost", "127.0.0.1", "192.0.2.7")


def test_a_certificate_without_names_needs_a_name(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path, names="")
    assert "--allowed-host" in refused(host="0.0.0.0", ssl_cert=cert, ssl_key=key)
    stance = judge(ServerSettings(host="0.0.0.0", ssl_cert=cert, ssl_key=key, allowed_hosts=("gpu.lab",)), tokens(1))
    assert stance.names == ("gpu.lab",)


def test_behind_a_proxy_a_server_on_loopback_is_open_to_others_too() -> None:
    stance = judge(ServerSettings(**PROXY), tokens(1))
    assert stance == (True, ("gpu.lab",), "http://127.0.0.1:{port}")
    assert "no user has a token" in refused(0, **PROXY)
    assert "--trusted-proxy" in refused(**PROXY | {"trusted_proxies": ()})
    assert "--allowed-host" in refused(**PROXY | {"allowed_hosts": ()})
    assert "unencrypted" in refused(trusted_proxies=("192.0.2.1",)), "a proxy without TLS before it"


def test_a_pair_that_cannot_be_used_is_refused_on_loopback_too(pair: Pair, tmp_path: Path) -> None:
    other = self_signed(tmp_path, "other")
    assert "does not belong" in refused(0, ssl_cert=pair.cert, ssl_key=other.key)
    assert "a key without a certificate" in refused(0, ssl_key=pair.key)


def test_an_expired_certificate_keeps_no_queue_from_coming_back(tmp_path: Path) -> None:
    old = self_signed(tmp_path, days=-1)
    settings = ServerSettings(host="0.0.0.0", ssl_cert=old.cert, ssl_key=old.key)
    assert judge(settings, tokens(1)).network
    assert "expired" in posture.doubts(settings)


def test_the_environment_says_it_as_well_as_flags(monkeypatch: pytest.MonkeyPatch, pair: Pair) -> None:
    monkeypatch.setenv("GPUYARD_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("GPUYARD_BEHIND_TLS_PROXY", "1")
    monkeypatch.setenv("GPUYARD_TRUSTED_PROXIES", "192.0.2.1, 2001:db8::/64")
    monkeypatch.setenv("GPUYARD_ALLOWED_HOSTS", "gpu.lab,*.gpu.example")
    monkeypatch.setenv("GPUYARD_SSL_CERT", str(pair.cert))
    monkeypatch.setenv("GPUYARD_SSL_KEY", str(pair.key))
    settings = load({})
    assert settings.behind_tls_proxy and settings.trusted_proxies == ("192.0.2.1", "2001:db8::/64")
    assert judge(settings, tokens(1)).names == ("gpu.lab", "*.gpu.example", "localhost", "127.0.0.1")


@pytest.mark.parametrize(
    ("flags", "setting"),
    [
        ({"trusted_proxies": ("0.0.0.0/0",)}, "trusted_proxies"),
        ({"trusted_proxies": ("proxy.lab",)}, "trusted_proxies"),
        ({"allowed_hosts": ("https://gpu.lab",)}, "allowed_hosts"),
        ({"allowed_hosts": ("gpu.lab:8000",)}, "allowed_hosts"),
        ({"allowed_hosts": ("*",)}, "allowed_hosts"),
    ],
)
def test_settings_that_cannot_be_are_named(
    flags: dict[str, Any], setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUYARD_CONFIG_FILE", "/nonexistent")
    with pytest.raises(SettingsError, match=setting):
        load(flags)
