"""Files that a job brings along: they lie in its own folder before it starts, on whatever host that is."""

from __future__ import annotations

from typing import Final

import msgspec

MOST_FILES: Final = 1_000
MOST_BYTES: Final = 1 << 30


class SentFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`blob` is its content (`actors/blobs`), `size` in bytes."""

    blob: str
    size: int
    executable: bool = False
