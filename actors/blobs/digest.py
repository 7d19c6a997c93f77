"""What a blob is called: a hash over its size and the hashes of its pieces.

A piece (256 KiB) can be checked the moment it arrives, and the list of pieces against the name, so that nothing has
to be trusted but the name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Final

PIECE: Final = 256 * 1024
DIGEST_BYTES: Final = 32
LARGEST: Final = 4 * 1024**3
"""4 GiB: the list of its pieces (512 KiB) still fits into a frame."""
NAME: Final = re.compile(r"[0-9a-f]{64}")


def piece_digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES, person=b"gpuyard-piece").digest()


def blob_name(size: int, pieces: bytes) -> str:
    """`pieces` are the digests, one behind the other."""
    return hashlib.blake2b(b"%d:" % size + pieces, digest_size=DIGEST_BYTES, person=b"gpuyard-blob").hexdigest()


def piece_count(size: int) -> int:
    return -(-size // PIECE)


def digests(pieces: bytes) -> Iterator[bytes]:
    for start in range(0, len(pieces), DIGEST_BYTES):
        yield pieces[start : start + DIGEST_BYTES]
