"""Who can reach the server: as it runs, or as its settings would have it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpuyard.api import tls
from gpuyard.cli import posture
from gpuyard.cli.doctor.finding import Finding, failure, ok, warning
from gpuyard.cli.settings import ServerSettings


def reach(running: dict[str, Any], settings: ServerSettings) -> Iterator[Finding]:
    """`running` is what a running server says of itself (`server.json`), empty without one."""
    if running:
        cert = running.get("ssl_cert")
        yield from _told(bool(running.get("network")), Path(cert) if isinstance(cert, str) and cert else None)
        return
    try:
        # Whether somebody has a token is looked at when the server starts.
        stance = posture.judge(settings, lambda: 1)
    except posture.Refused as error:
        yield failure("network", str(error), error.do)
        return
    yield from _told(stance.network, settings.ssl_cert)


def _told(network: bool, cert: Path | None) -> Iterator[Finding]:
    if not network:
        yield ok("network", "reachable from this machine only")
    else:
        how = "with TLS" if cert else "through a proxy that does the TLS"
        yield ok("network", f"reachable from other machines, {how}: everybody needs a token")
    if cert is None:
        return
    try:
        found = tls.read(cert)
    except tls.TlsRefused as error:
        yield failure("certificate", str(error), error.do)
        return
    now = time.time()
    doubt = found.doubt(now)
    if not found.begins <= now < found.ends:
        yield failure("certificate", doubt, "a renewed one in the same place is in use at once")
    elif doubt:
        yield warning("certificate", doubt, "a renewed one in the same place is in use at once")
