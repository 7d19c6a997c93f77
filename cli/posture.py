"""May a server with these settings be opened to others than this machine's users? (DESIGN 11)

Beyond loopback, or behind a proxy, nobody comes in without a token, and no token travels unencrypted. What is missing
is said all at once, and nothing turns this off.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

from gpuyard.api import tls
from gpuyard.cli.cloud_settings import allowed_hosts
from gpuyard.cli.settings import ServerSettings

WILDCARDS = ("0.0.0.0", "::", "")


class Refused(Exception):
    """The text says why the server may not be opened so; `do` what helps."""

    def __init__(self, why: str, do: str) -> None:
        super().__init__(why)
        self.do = do


class Posture(NamedTuple):
    """`network`: others can reach it. `names`: what a request's Host may be, besides loopback names. `url`: where the
    server is for its own machine, with `{port}` in it."""

    network: bool
    names: tuple[str, ...]
    url: str


def judge(settings: ServerSettings, tokens: Callable[[], int]) -> Posture:
    """`tokens` counts those that open the door now. Raises Refused."""
    certificate = _certificate(settings)
    network = bool(not is_loopback(settings.host) or settings.behind_tls_proxy or settings.trusted_proxies)
    names = allowed_hosts(settings.allowed_hosts, settings.public_url)
    names += certificate.names if certificate else ()
    if network and not is_loopback(settings.host) and settings.host not in WILDCARDS:
        names += (bracketed(settings.host),)
    names = tuple(dict.fromkeys(name.lower() for name in names))
    if network:
        _refuse_if([*_missing(settings, bool(certificate), names), *_nobody(tokens)])
    scheme = "https" if certificate else "http"
    return Posture(network, names, f"{scheme}://{_own_name(settings.host, certificate)}:{{port}}")


def _missing(settings: ServerSettings, has_tls: bool, names: tuple[str, ...]) -> list[tuple[str, str]]:
    found = []
    if settings.behind_tls_proxy and not settings.trusted_proxies:
        found.append(("it is not said which proxy stands before it", "name it: --trusted-proxy ADDRESS"))
    if not has_tls and not settings.behind_tls_proxy:
        found.append(
            (
                "tokens would travel unencrypted",
                "give a certificate (--ssl-cert FILE --ssl-key FILE), or put a proxy before it that does the TLS"
                " (--behind-tls-proxy --trusted-proxy ADDRESS)",
            )
        )
    elif not names:
        found.append(("nothing says by which name it is called", "name it: --allowed-host NAME"))
    return found


def _nobody(tokens: Callable[[], int]) -> list[tuple[str, str]]:
    if tokens():
        return []
    do = "start it with --host 127.0.0.1 and without a proxy once, and: gpuyard users add NAME --level admin"
    return [("no user has a token that lets them in", do)]


def _refuse_if(missing: list[tuple[str, str]]) -> None:
    if missing:
        raise Refused("; ".join(why for why, _ in missing), "; ".join(do for _, do in missing))


def _certificate(settings: ServerSettings) -> tls.Certificate | None:
    """The certificate that the server would show. Raises Refused where it cannot be used.

    One that has expired can: clients say so themselves, and a queue that does not come back would cost its runs.
    """
    if settings.ssl_cert is None:
        if settings.ssl_key is not None:
            raise Refused("a key without a certificate is of no use", "give the certificate too: --ssl-cert FILE")
        return None
    try:
        tls.open_context(settings.ssl_cert, settings.ssl_key)
        return tls.read(settings.ssl_cert)
    except tls.TlsRefused as error:
        raise Refused(str(error), error.do) from None


def doubts(settings: ServerSettings) -> str:
    """What is wrong, or soon will be, with a certificate that can be used; "" where nothing is."""
    return tls.read(settings.ssl_cert).doubt(time.time()) if settings.ssl_cert is not None else ""


def is_loopback(host: str) -> bool:
    """Would a server that listens on `host` be reachable from this machine only? As the socket will see it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return host == "localhost"
    return bool(found) and all(ipaddress.ip_address(str(row[4][0]).partition("%")[0]).is_loopback for row in found)


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _own_name(host: str, certificate: tls.Certificate | None) -> str:
    """How this machine's own programs call a server that listens on `host`, so that its certificate fits."""
    if host not in WILDCARDS:
        return bracketed(host)
    if certificate is None:
        return "127.0.0.1"
    names = [name for name in certificate.names if not name.startswith("*")]
    local = [name for name in ("localhost", "127.0.0.1", "[::1]") if name in names]
    return [*local, *names, "127.0.0.1"][0]
