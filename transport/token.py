"""A worker's token: the one line that, with one secret, starts a worker (DESIGN 8).

`gyw1_` and base64url of: a BLAKE2b checksum (8 bytes), then msgpack of the endpoints, the server's public key and the
worker's own secret key. The prefix holds the version and lets scanners find a leaked one. A slip of the pen is told
from a wrong token by the checksum. It is shown once: the server keeps only the public half.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

import msgspec

from gpuyard.actors.model.errors import InvalidInput
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.keys import Z85_LENGTH, KeyPair

PREFIX: Final = "gyw1_"
CHECK_BYTES: Final = 8
LONGEST: Final = 4096


class _Content(msgspec.Struct, frozen=True, array_like=True):
    endpoints: tuple[str, ...]
    server_key: str
    secret: str


@dataclass(frozen=True)
class WorkerToken:
    """`endpoints` are tried one after the other; `server_key` is the server's public key (Z85)."""

    endpoints: tuple[Endpoint, ...]
    server_key: str
    keys: KeyPair = field(repr=False)

    def encode(self) -> str:
        content = _Content(tuple(map(str, self.endpoints)), self.server_key, self.keys.secret)
        body = msgspec.msgpack.encode(content)
        return PREFIX + base64.urlsafe_b64encode(_check(body) + body).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> WorkerToken:
        """Raises InvalidInput, in words that hold nothing of the token."""
        text = "".join(text.split())  # a pasted line may have been broken
        if not text.startswith(PREFIX) or len(text) > LONGEST:
            raise InvalidInput(f"this is no worker token: one begins with {PREFIX}; ask an admin for one")
        try:
            letters = text.removeprefix(PREFIX)
            raw = base64.b64decode(letters + "=" * (-len(letters) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise InvalidInput("this worker token holds a letter that none has: copy it again") from None
        check, body = raw[:CHECK_BYTES], raw[CHECK_BYTES:]
        if not hmac.compare_digest(check, _check(body)):
            raise InvalidInput("this worker token is cut or misspelt: copy it again")
        try:
            content = msgspec.msgpack.decode(body, type=_Content)
            if not content.endpoints or len(content.server_key) != Z85_LENGTH:
                raise ValueError("empty")
            return cls(tuple(map(Endpoint.parse, content.endpoints)), content.server_key, KeyPair.of(content.secret))
        except (msgspec.DecodeError, ValueError, InvalidInput):
            raise InvalidInput("this worker token was made by another version: ask an admin for a new one") from None


def _check(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=CHECK_BYTES, person=b"gpuyard-token").digest()
