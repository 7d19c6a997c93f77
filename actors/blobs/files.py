"""Blobs as files: FOLDER/NAME is the content, NAME.pieces the digests of its pieces, NAME.part one that is arriving.

A file appears under its name only when it is whole, checked and on the disk. Every function may block on the disk and
may be called from several threads at once; all raise GpuyardError.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gpuyard.actors.blobs.digest import (
    DIGEST_BYTES,
    LARGEST,
    NAME,
    PIECE,
    blob_name,
    digests,
    piece_count,
    piece_digest,
)
from gpuyard.actors.durable import sync_folder
from gpuyard.actors.model.errors import InvalidInput, NotFound, StoreFailed

# What was stored lately may belong to a job that is not committed yet.
YOUNG_SECONDS: Final = 3600.0


class BlobFiles:
    """The folder is made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, blob: str) -> Path:
        """Where it lies, or would. Raises NotFound for what is no name."""
        if not NAME.fullmatch(blob):
            raise NotFound("no such blob")
        return self._folder / blob

    def size(self, blob: str) -> int | None:
        """In bytes; None when it is not here."""
        try:
            return self.path(blob).stat().st_size
        except FileNotFoundError:
            return None

    def take(self, source: Path, limit: int) -> tuple[str, int]:
        """(name, size) of a file that is copied in. Raises NotFound, InvalidInput, StoreFailed."""
        with _reading(source) as fd, self._draft() as (draft, path):
            size, pieces = 0, b""
            while data := os.read(fd, PIECE):
                data += _rest(fd, PIECE - len(data))
                size += len(data)
                if size > min(limit, LARGEST):
                    raise InvalidInput(f"{source} is larger than {min(limit, LARGEST)} bytes")
                pieces += piece_digest(data)
                draft.write(data)
            draft.flush()
            os.fsync(draft.fileno())
            name = blob_name(size, pieces)
            self._publish(path, name, pieces)
        return name, size

    def pieces(self, blob: str) -> tuple[int, bytes]:
        """(size, digests). Raises NotFound, StoreFailed."""
        with _errors(blob):
            path = self.path(blob)
            return path.stat().st_size, _pieces_file(path).read_bytes()

    def piece(self, blob: str, index: int) -> bytes:
        """Piece number `index`. Raises NotFound (also behind the end), StoreFailed."""
        with _errors(blob), self.path(blob).open("rb") as file:
            data = os.pread(file.fileno(), PIECE, index * PIECE) if index >= 0 else b""
        if not data and index != 0:
            raise NotFound(f"blob {blob} has no piece {index}")
        return data

    def arriving(self, blob: str, size: int, pieces: bytes) -> Arriving:
        """Go on with a blob that is fetched. Raises InvalidInput when the list is not that of this name."""
        if size > LARGEST or len(pieces) != DIGEST_BYTES * piece_count(size) or blob_name(size, pieces) != blob:
            raise InvalidInput(f"the list of the pieces of blob {blob} is not what its name says")
        with _errors(blob):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Arriving(self.path(blob), size, pieces)

    def keep(self, blobs: Iterable[str]) -> int:
        """Delete all that are not among them and not young; how many. Raises StoreFailed."""
        kept, deleted = set(blobs), 0
        with _errors("the blobs"):
            for path in self._folder.iterdir() if self._folder.is_dir() else ():
                old = time.time() - path.stat().st_mtime > YOUNG_SECONDS
                if old and path.name.partition(".")[0] not in kept:
                    path.unlink(missing_ok=True)
                    deleted += path.suffix == ""
        return deleted

    def _publish(self, draft: Path, name: str, pieces: bytes) -> None:
        path = self._folder / name
        _write_durably(_pieces_file(path), pieces)
        draft.replace(path)
        os.utime(path)
        sync_folder(self._folder)

    @contextmanager
    def _draft(self) -> Iterator[tuple[tempfile._TemporaryFileWrapper[bytes], Path]]:
        with _errors("a blob"):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix="draft.", delete=False) as draft:
                path = Path(draft.name)
                try:
                    yield draft, path
                finally:
                    path.unlink(missing_ok=True)


class Arriving:
    """A blob of which some pieces are here. What is on the disk is checked first, so it may be from an earlier life."""

    def __init__(self, path: Path, size: int, pieces: bytes) -> None:
        self._path = path
        self._size = size
        self._pieces = pieces
        self._digests = list(digests(pieces))
        self._part = path.with_name(f"{path.name}.part")
        self.missing = set(range(len(self._digests)))
        try:
            with self._part.open("rb") as file:
                for index, digest in enumerate(self._digests):
                    if piece_digest(file.read(PIECE)) == digest:
                        self.missing.discard(index)
        except FileNotFoundError:
            self._part.touch(mode=0o600)

    def put(self, index: int, data: bytes) -> None:
        """A piece has come. Raises InvalidInput when it is not the right one, StoreFailed."""
        if piece_digest(data) != self._digests[index]:
            raise InvalidInput(f"piece {index} of blob {self._path.name} is not what it should be")
        with _errors(self._path.name):
            fd = os.open(self._part, os.O_WRONLY | os.O_CLOEXEC)
            try:
                if os.pwrite(fd, data, index * PIECE) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(fd)
        self.missing.discard(index)

    def finish(self) -> None:
        """All pieces are here: it appears under its name. Raises StoreFailed."""
        assert not self.missing
        with _errors(self._path.name):
            fd = os.open(self._part, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.ftruncate(fd, self._size)
                os.fsync(fd)
            finally:
                os.close(fd)
            _write_durably(_pieces_file(self._path), self._pieces)
            self._part.replace(self._path)
            sync_folder(self._path.parent)


def _pieces_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.pieces")


def _rest(fd: int, wanted: int) -> bytes:
    """A read may be short in the middle of a file."""
    data = b""
    while len(data) < wanted and (more := os.read(fd, wanted - len(data))):
        data += more
    return data


@contextmanager
def _reading(path: Path) -> Iterator[int]:
    """A plain file, opened. Raises NotFound, InvalidInput."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise NotFound(f"{path} can't be read: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidInput(f"{path} is no plain file")
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"{what} is not here") from None
    except OSError as error:
        raise StoreFailed(f"{what} can't be kept or read: {error}") from None


def _write_durably(path: Path, data: bytes) -> None:
    draft = path.with_name(f"{path.name}.draft")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
