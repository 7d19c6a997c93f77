"""A file to which entries are only ever added: each a line of its checksum and its JSON.

What was added is on the disk when `append` returns. A power loss may leave half a line at the end, which was promised
to nobody and is cut off; damage anywhere else is no such thing, and is not guessed at.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import msgspec

from gpuyard.actors.durable import sync_folder
from gpuyard.actors.model.agent import Entry
from gpuyard.actors.model.errors import StoreFailed

NAME = "journal"

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


class JournalFile:
    """DATA/journal. Open it with `load`; raises StoreFailed, whose text says what to do."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / NAME
        self._fd = -1
        self._end = 0
        self._torn = False  # behind `_end` stands what could not be written whole
        self.lines = 0

    def load(self) -> list[Entry]:
        """All entries, oldest first."""
        self.close()
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            sync_folder(self._path.parent)
            data = self._path.read_bytes()
            entries, end = self._read(data)
            if end < len(data):
                os.ftruncate(self._fd, end)
                os.fsync(self._fd)
        except OSError as error:
            self._failed(error)
        self.lines, self._end, self._torn = len(entries), end, False
        return entries

    def append(self, entries: Iterable[Entry]) -> None:
        """They are on the disk, all of them, when this returns."""
        lines = [_line(entry) for entry in entries]
        data = b"".join(lines)
        try:
            if self._torn:
                os.ftruncate(self._fd, self._end)
            self._torn = True
            _write_all(self._fd, data)
            os.fdatasync(self._fd)
        except OSError as error:
            self._failed(error)
        self._torn = False
        self._end += len(data)
        self.lines += len(lines)

    def replace(self, entries: Iterable[Entry]) -> None:
        """A new file in the place of the old one: the one or the other, whatever happens."""
        lines = [_line(entry) for entry in entries]
        data = b"".join(lines)
        aside = self._path.with_suffix(".new")
        new = -1
        try:
            new = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            _write_all(new, data)
            os.fsync(new)
            aside.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            if new >= 0:
                os.close(new)
            self._failed(error)
        self.close()
        self._fd, self.lines, self._end, self._torn = new, len(lines), len(data), False

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self, data: bytes) -> tuple[list[Entry], int]:
        """The entries, and where the last whole one ends."""
        entries: list[Entry] = []
        end = 0
        lines = data.split(b"\n")
        for number, line in enumerate(lines[:-1], start=1):
            entry = _entry(line)
            if entry is None and number < len(lines) - 1:
                raise StoreFailed(
                    f"line {number} of {self._path} is damaged: move the file away, then start the worker again; runs"
                    " that still live go on, and are shown to an administrator as orphans"
                )
            if entry is None:
                break
            entries.append(entry)
            end += len(line) + 1
        return entries, end

    def _failed(self, error: OSError) -> NoReturn:
        raise StoreFailed(f"the worker's journal {self._path} could not be written: {error.strerror}") from error


def _line(entry: Entry) -> bytes:
    content = _encoder.encode(entry)
    return b"%08x %b\n" % (zlib.crc32(content), content)


def _entry(line: bytes) -> Entry | None:
    check, _, content = line.partition(b" ")
    try:
        if int(check, 16) != zlib.crc32(content):
            return None
        return _decoder.decode(content)
    except (ValueError, msgspec.DecodeError):
        return None


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
