"""A disk that forgets: what a power loss leaves of files, worked out from the record of all that was done to them.

Strict where file systems are lenient: data is durable only once a sync of its file that began after the write has
ended, a name only once its folder was synced. Whatever was written since may be there, in any mixture of sectors.
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("recorder.c")
HEAD = struct.Struct("=c7xQQQQ")
SECTOR = 512


def recorder(folder: Path) -> Path | None:
    """The library that records (recorder.c), compiled into `folder`; None without a C compiler."""
    cc = shutil.which("gcc") or shutil.which("cc")
    if cc is None:
        return None
    library = folder / "recorder.so"
    flags = ["-Wall", "-Wextra", "-O1", "-shared", "-fPIC"]
    subprocess.run([cc, *flags, "-o", str(library), str(SOURCE), "-ldl"], check=True, capture_output=True, text=True)
    return library


class Record(NamedTuple):
    """One line of the recorder; `end` is where the next one begins."""

    kind: str
    inode: int
    offset: int
    data: bytes
    name: str
    end: int


def read(log: Path) -> Iterator[Record]:
    """All whole records, in order."""
    with log.open("rb") as file:
        end = 0
        while len(head := file.read(HEAD.size)) == HEAD.size:
            kind, inode, offset, size, length = HEAD.unpack(head)
            data, name = file.read(size), file.read(length)
            if len(name) < length:
                return
            end += HEAD.size + size + length
            yield Record(kind.decode(), inode, offset, data, name.decode(), end)


class Write(NamedTuple):
    """Not yet durable: `data` at `offset`, or a new length (data None)."""

    offset: int
    data: bytes | None


@dataclass
class File:
    """`durable` survives; of `pending` anything may. `syncing` is, for each thread in a sync, what it will settle."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Write] = field(default_factory=list)
    settled: int = 0
    syncing: dict[int, int] = field(default_factory=dict)

    def begin_sync(self, thread: int) -> None:
        self.syncing[thread] = self.settled + len(self.pending)

    def end_sync(self, thread: int) -> None:
        """What was written before this sync began is durable."""
        count = max(0, self.syncing.pop(thread) - self.settled)
        for write in self.pending[:count]:
            apply(self.durable, write)
        del self.pending[:count]
        self.settled += count


def apply(content: bytearray, write: Write) -> None:
    if write.data is None:
        del content[write.offset :]
        content.extend(bytes(write.offset - len(content)))
        return
    content.extend(bytes(max(0, write.offset - len(content))))
    content[write.offset : write.offset + len(write.data)] = write.data


class Disk:
    """Files and names as they are, and as a power loss would leave them."""

    def __init__(self) -> None:
        self._files: dict[int, File] = {}
        self._names: dict[str, File] = {}
        self._durable_names: dict[str, File] = {}
        self._naming: dict[int, dict[str, File]] = {}

    def follow(self, record: Record) -> None:
        """What `record` says has happened."""
        match record.kind:
            case "C":
                if record.name not in self._names:
                    self._names[record.name] = self._files[record.inode] = File()
            case "W":
                self._files[record.inode].pending.append(Write(record.offset, record.data))
            case "T":
                self._files[record.inode].pending.append(Write(record.offset, None))
            case "B":
                self._files[record.inode].begin_sync(record.offset)
            case "E":
                self._files[record.inode].end_sync(record.offset)
            case "b":
                self._naming[record.offset] = dict(self._names)
            case "e":
                self._durable_names = self._naming.pop(record.offset)
            case "R":
                self._names[record.name] = self._names.pop(record.data.decode())
            case "U":
                self._names.pop(record.name, None)

    def image(self, folder: Path, chance: random.Random | None = None) -> None:
        """What is left after a power loss now, as files in `folder`. With `chance`, of what was not yet durable each
        sector is there or not as the lot falls; without, nothing of it."""
        for name, file in self._durable_names.items():
            content = bytearray(file.durable)
            for write in file.pending if chance else ():
                for part in _sectors(write):
                    if chance.random() < 0.5:
                        apply(content, part)
            (folder / Path(name).name).write_bytes(content)


def _sectors(write: Write) -> Iterator[Write]:
    if write.data is None:
        yield write
        return
    at = 0
    while at < len(write.data):
        size = SECTOR - (write.offset + at) % SECTOR
        yield Write(write.offset + at, write.data[at : at + size])
        at += size
