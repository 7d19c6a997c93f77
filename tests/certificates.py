"""Certificates of the tests, made by the `openssl` program as the README does."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

NAMES = "DNS:gpu.lab,DNS:localhost,IP:127.0.0.1"
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")


class Pair(NamedTuple):
    cert: Path
    key: Path


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)


def self_signed(folder: Path, name: str = "server", names: str = NAMES, days: int = 90, password: str = "") -> Pair:
    """A certificate for `names` (as subjectAltName has them) that is its own authority. Negative `days` are over."""
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    locked = ["-passout", f"pass:{password}"] if password else ["-nodes"]
    openssl("req", *EC, *locked, "-keyout", pair.key, "-out", folder / "csr", "-subj", f"/CN={name}")
    pair.key.chmod(0o600)
    said = folder / "extensions"
    said.write_text(f"subjectAltName={names}\n" if names else "")
    unlock = ["-passin", f"pass:{password}"] if password else []
    words = ["x509", "-req", "-in", folder / "csr", "-signkey", pair.key, "-out", pair.cert, "-extfile", said]
    openssl(*words, *unlock, "-days", str(days))
    return pair


def authority(folder: Path, names: str = NAMES) -> tuple[Path, Pair]:
    """A private authority's certificate, and a pair for `names` that it signed (with the chain in its file)."""
    root, key = folder / "ca.crt", folder / "ca.key"
    openssl("req", "-x509", *EC, "-nodes", "-days", "90", "-keyout", key, "-out", root, "-subj", "/CN=Lab CA")
    pair = Pair(folder / "signed.crt", folder / "signed.key")
    openssl("req", *EC, "-nodes", "-keyout", pair.key, "-out", folder / "csr", "-subj", "/CN=gpu.lab")
    pair.key.chmod(0o600)
    said = folder / "extensions"
    said.write_text(f"subjectAltName={names}\nbasicConstraints=critical,CA:FALSE\n")
    words = ["x509", "-req", "-in", folder / "csr", "-CA", root, "-CAkey", key, "-CAcreateserial", "-days", "90"]
    openssl(*words, "-extfile", said, "-out", pair.cert)
    return root, pair
