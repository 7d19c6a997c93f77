"""What the doctor says of who can reach the server, and of its certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpuyard.cli.doctor.finding import Finding, Level
from gpuyard.cli.doctor.network import reach
from gpuyard.cli.settings import ServerSettings
from tests.certificates import self_signed


def found(running: dict[str, Any], **settings: Any) -> dict[str, Finding]:
    return {finding.about: finding for finding in reach(running, ServerSettings(**settings))}


def test_a_server_on_loopback_is_reached_from_here_only() -> None:
    for running in ({}, {"url": "http://127.0.0.1:8000", "pid": 1}):
        assert found(running) == {"network": Finding(Level.OK, "network", "reachable from this machine only")}


def test_settings_that_would_be_refused_are_said_before_the_start() -> None:
    finding = found({}, host="0.0.0.0")["network"]
    assert finding.level is Level.FAILURE and "unencrypted" in finding.text and "--ssl-cert" in finding.do


def test_what_runs_counts_whatever_the_settings_here(tmp_path: Path) -> None:
    cert = self_signed(tmp_path).cert
    open_one = found({"url": "x", "network": True, "ssl_cert": str(cert)})
    assert list(open_one) == ["network"] and "with TLS" in open_one["network"].text
    assert "through a proxy" in found({"url": "x", "network": True, "ssl_cert": ""}, host="0.0.0.0")["network"].text


@pytest.mark.parametrize(("days", "level"), [(3, Level.WARNING), (-1, Level.FAILURE)])
def test_a_certificate_is_looked_after(tmp_path: Path, days: int, level: Level) -> None:
    cert = self_signed(tmp_path, days=days).cert
    finding = found({"network": True, "ssl_cert": str(cert)})["certificate"]
    assert finding.level is level and "renew" in finding.text and "at once" in finding.do
    gone = found({"network": True, "ssl_cert": str(tmp_path / "gone")})["certificate"]
    assert gone.level is Level.FAILURE and "No such file" in gone.text
