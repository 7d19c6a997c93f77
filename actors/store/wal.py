"""Is the write-ahead log whole? SQLite reads it up to the first bad frame and silently drops the rest.

That is right for the torn last transaction of a power loss, and wrong for damage further up: acknowledged jobs would
vanish without a word. Each commit is fsynced before the next begins, so behind the first bad frame there can be at
most one more commit; more than one proves damage. Layout: https://sqlite.org/walformat.html
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

HEADER: Final = 32
FRAME_HEADER: Final = 24
MAGIC: Final = {0x377F0682: "<", 0x377F0683: ">"}


def wal_path(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def shm_path(path: Path) -> Path:
    return path.with_name(path.name + "-shm")


def has_content(path: Path) -> bool:
    """The log of the database at `path` holds more than zeros in its header's place."""
    try:
        with wal_path(path).open("rb") as file:
            return any(file.read(HEADER))
    except FileNotFoundError:
        return False


def header_is_bad(path: Path) -> bool:
    """The log has a header, and it is not one that SQLite wrote: all that lies in the log would be ignored."""
    if not has_content(path):
        return False
    with wal_path(path).open("rb") as file:
        header = file.read(HEADER)
    if len(header) < HEADER:
        return False
    order = MAGIC.get(struct.unpack_from(">I", header)[0])
    if order is None:
        return True
    one = two = 0
    for left, right in struct.iter_unpack(f"{order}2I", header[:24]):
        one = (one + left + two) & 0xFFFFFFFF
        two = (two + right + one) & 0xFFFFFFFF
    return (one, two) != struct.unpack_from(">2I", header, 24)


def recovered_frames(path: Path) -> int:
    """How many frames SQLite accepts: from its shared-memory index, while a connection has the database open."""
    with shm_path(path).open("rb") as file:
        index = file.read(20)
    return int(struct.unpack_from("=I", index, 16)[0])


def commits_after(path: Path, frames: int) -> int:
    """How many commits of the log's present round lie behind its first `frames` frames."""
    count = 0
    with wal_path(path).open("rb") as file:
        header = file.read(HEADER)
        if len(header) < HEADER:
            return 0
        page_size, salts = struct.unpack_from(">I", header, 8)[0], header[16:24]
        at = HEADER + frames * (FRAME_HEADER + page_size)
        while True:
            file.seek(at)
            frame = file.read(FRAME_HEADER)
            # A database size marks a commit; a frame of an earlier round has other salts.
            if len(frame) < FRAME_HEADER or frame[8:16] != salts:
                return count
            count += frame[4:8] != b"\0\0\0\0"
            at += FRAME_HEADER + page_size
