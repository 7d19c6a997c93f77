"""CURVE key pairs: a worker's is made at enrolment, the server's own on first use and kept in the data folder.

The server's pair is what workers trust: their tokens hold its public half. So a damaged file is never replaced
silently: all workers would be locked out, and would not know why.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import zmq

from gpuyard.actors import privately
from gpuyard.actors.model.errors import InvalidInput

KEY_FILE: Final = "zmq.key"
Z85_LENGTH: Final = 40


@dataclass(frozen=True)
class KeyPair:
    """Both halves as Z85 text; the secret one is kept out of `repr`."""

    public: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> KeyPair:
        public, secret = zmq.curve_keypair()
        return cls(public.decode(), secret.decode())

    @classmethod
    def of(cls, secret: str) -> KeyPair:
        """The pair of a secret key. Raises ValueError when it is none."""
        if len(secret) != Z85_LENGTH:
            raise ValueError(f"a key has {Z85_LENGTH} characters")
        try:
            return cls(zmq.curve_public(secret.encode("ascii")).decode(), secret)
        except (zmq.ZMQError, UnicodeEncodeError) as error:
            raise ValueError("not a Z85 key") from error


def load_or_make(path: Path) -> KeyPair:
    """The server's own pair; made (0600, durable) when there is none. Raises InvalidInput (damaged file), OSError."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        pair = KeyPair.new()
        privately.write(path, json.dumps({"public": pair.public, "secret": pair.secret}).encode())
        return pair
    path.chmod(0o600)
    try:
        return KeyPair.of(json.loads(text)["secret"])
    except (ValueError, TypeError, KeyError):
        raise InvalidInput(
            f"{path} holds no key pair: restore it from a backup, or delete it and give every worker a new token"
        ) from None
