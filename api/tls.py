"""TLS of the server: the certificate and its key are looked at before they are used, and again whenever they change.

A pair that can't be used is refused at the start; later it is told of, and the one before stays in use.
"""

from __future__ import annotations

import _ssl
import asyncio
import ipaddress
import logging
import ssl
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

log = logging.getLogger("gpuyard.api")

LOOK_SECONDS = 5.0
SOON: Final = 14 * 86_400.0


class TlsRefused(Exception):
    """The certificate or its key can't be used: the text says why, `do` what helps."""

    def __init__(self, why: str, do: str) -> None:
        super().__init__(why)
        self.do = do


class Certificate(NamedTuple):
    """What a certificate says: the names it is for, as a Host header has them (`*.lab` for all names right below),
    and from when until when it is good (epoch seconds)."""

    names: tuple[str, ...]
    begins: float
    ends: float

    def doubt(self, now: float) -> str:
        """Why clients refuse it now, or will soon; "" when nothing is wrong."""
        if now < self.begins:
            return f"the certificate is not valid before {_day(self.begins)}: is the clock right?"
        if now >= self.ends:
            return f"the certificate expired on {_day(self.ends)}: renew it"
        return f"the certificate expires on {_day(self.ends)}: renew it" if self.ends - now < SOON else ""


def read(cert: Path) -> Certificate:
    """The first certificate in a PEM file. Raises TlsRefused."""
    try:
        cert.open("rb").close()  # OpenSSL would not say that there is no such file
        # The only reader of the standard library; what is public shows a certificate only to the peer it is sent to.
        found = _ssl._test_decode_cert(str(cert))  # type: ignore[attr-defined]
    except OSError as error:  # ssl.SSLError is one
        raise _refused(cert, error, "certificate") from None
    names = [_host_name(kind, value) for kind, value in found.get("subjectAltName", ())]
    begins, ends = (ssl.cert_time_to_seconds(str(found[key])) for key in ("notBefore", "notAfter"))
    return Certificate(tuple(dict.fromkeys(filter(None, names))), float(begins), float(ends))


def open_context(cert: Path, key: Path | None) -> ssl.SSLContext:
    """TLS 1.2 and newer with this certificate (and those above it, in the same file) and its key, which may stand in
    the certificate's file. Raises TlsRefused."""
    read(cert)
    _check_secret(key or cert)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load(context, cert, key)
    return context


class LiveTls:
    """A context that follows its files. Raises TlsRefused when they can't be used at the start."""

    def __init__(self, cert: Path, key: Path | None) -> None:
        self._cert, self._key = cert, key
        self._seen = self._looks()
        self.context = open_context(cert, key)
        self._warn()

    @classmethod
    def of(cls, cert: str, key: str) -> LiveTls | None:
        """For settings, where "" is none."""
        return cls(Path(cert), Path(key) if key else None) if cert else None

    async def follow(self) -> None:
        """Look again and again; files are read in a thread, the context is changed in the loop."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if await asyncio.to_thread(self._changed):
                self._take_over()

    def _changed(self) -> bool:
        """Is there a new pair, and can it be used? The live context is not touched: half a change would break it."""
        looks = self._looks()
        if looks == self._seen:
            return False
        self._seen = looks
        try:
            open_context(self._cert, self._key)
        except TlsRefused as error:
            log.error("the changed certificate is not taken over: %s", error)
            return False
        return True

    def _take_over(self) -> None:
        try:
            _load(self.context, self._cert, self._key)
        except TlsRefused as error:  # changed again in this moment: the next look sees it
            self._seen = ()
            log.error("the changed certificate is not taken over: %s", error)
            return
        log.info("the changed certificate %s is in use for new connections", self._cert)
        self._warn()

    def _warn(self) -> None:
        doubt = read(self._cert).doubt(time.time())
        if doubt:
            log.warning("%s", doubt)

    def _looks(self) -> tuple[object, ...]:
        """What changes when a file is written or replaced."""
        found: list[object] = []
        for path in (self._cert, self._key or self._cert):
            try:
                status = path.stat()
                found.append((status.st_ino, status.st_mtime_ns, status.st_size))
            except OSError as error:
                found.append(error.errno)
        return tuple(found)


class _Encrypted(Exception):
    """OpenSSL asked for the key's password."""


def _load(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    """Raises TlsRefused."""

    def nobody_types() -> str:
        raise _Encrypted

    try:
        context.load_cert_chain(cert, key, password=nobody_types)
    except _Encrypted:
        do = f"write it without a password, for the server's user alone: openssl pkey -in {key or cert} -out NEW"
        raise TlsRefused(f"the key {key or cert} is encrypted, and nobody is there to type its password", do) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            why = f"the key {key or cert} does not belong to the certificate {cert}"
            raise TlsRefused(why, "give the pair that was made together (--ssl-cert, --ssl-key)") from None
        raise _refused(key or cert, error, "key of the certificate") from None
    except OSError as error:
        raise _refused(key or cert, error, "key of the certificate") from None


def _check_secret(key: Path) -> None:
    """No other user may read the key, by its own rights and those of the folders above it. Raises TlsRefused."""
    try:
        place = key.resolve(strict=True)
        open_to_others = place.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH)
        reachable = all(folder.stat().st_mode & stat.S_IXOTH for folder in place.parents)
    except OSError as error:
        raise _refused(key, error, "key of the certificate") from None
    if open_to_others and reachable:
        raise TlsRefused(f"every user of this machine may read or change the key {key}", f"chmod 600 {key}")


def _refused(path: Path, error: OSError, what: str) -> TlsRefused:
    why = "it holds none as PEM" if isinstance(error, ssl.SSLError) or error.errno is None else str(error.strerror)
    return TlsRefused(f"the {what} cannot be read from {path}: {why}", "name PEM files with --ssl-cert and --ssl-key")


def _host_name(kind: object, value: object) -> str:
    """One entry of subjectAltName as a Host header has it, "" for what is no host."""
    if kind == "DNS":
        return str(value).lower()
    if kind != "IP Address":
        return ""
    try:
        address = ipaddress.ip_address(str(value).strip())
    except ValueError:
        return ""
    return f"[{address}]" if address.version == 6 else str(address)


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")
