"""The log and the note of a run at a provider: DATA/runs/<fence>/log and remote.json.

What we say ourselves stands before the first byte of the remote log; `header` is how long it is. So the offset in the
remote log is the file's size less the header, and a crash neither loses nor doubles a byte of it.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from gpuyard.actors.model.cloud_remote import Remote

LOG, NOTE = "log", "remote.json"
# How many runs are looked through for whose a remote job is; older ones cannot be taken for a new one.
NEWEST = 5_000


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What was known when the provider answered: a shortcut after a restart, never the truth."""

    provider: str
    remote_id: str
    url: str = ""
    header: int = 0


class RunLogs:
    """Folders of `runs` by fence. `cap` bytes are kept of a remote log, the first ones."""

    def __init__(self, runs: Path, cap: int) -> None:
        self._runs = runs
        self._cap = cap
        self._headers: dict[int, int] = {}

    def say(self, fence: int, line: str) -> None:
        """A line of ours, before the remote log begins. After it has begun nothing is said."""
        folder = self._folder(fence)
        if not (folder / NOTE).exists():
            self._append(folder / LOG, f"gpuyard: {line}\n".encode())

    def accepted(self, fence: int, provider: str, remote: Remote) -> None:
        """Write down which job it is, and where the remote log begins in the file."""
        folder = self._folder(fence)
        if (folder / NOTE).exists():
            return
        size = (folder / LOG).stat().st_size if (folder / LOG).exists() else 0
        note = Note(provider=provider, remote_id=remote.id, url=remote.url, header=size)
        draft = folder / f"{NOTE}.new"
        draft.write_bytes(msgspec.json.encode(note))
        draft.replace(folder / NOTE)
        self._headers[fence] = size

    def note(self, fence: int) -> Note | None:
        """What was written down, if anything."""
        try:
            return msgspec.json.decode((self._runs / str(fence) / NOTE).read_bytes(), type=Note)
        except (OSError, msgspec.MsgspecError):
            return None

    def claims(self, provider: str) -> dict[str, int]:
        """Remote id → fence, of the newest runs that were at this provider. Reads many small files."""
        names = [path.name for path in self._runs.iterdir()]
        fences = sorted((int(name) for name in names if name.isdigit()), reverse=True)
        notes = ((fence, self.note(fence)) for fence in fences[:NEWEST])
        return {note.remote_id: fence for fence, note in notes if note is not None and note.provider == provider}

    def offset(self, fence: int) -> int | None:
        """How many bytes of the remote log are here; None once its cap is reached."""
        size = self._size(fence) - self._header(fence)
        return max(0, size) if size < self._cap else None

    def append(self, fence: int, data: bytes) -> None:
        if data:
            self._append(self._folder(fence) / LOG, data)

    def tail(self, fence: int, size: int) -> bytes:
        """The last bytes of the remote log, as far as they are here."""
        start = max(self._header(fence), self._size(fence) - size)
        try:
            with (self._runs / str(fence) / LOG).open("rb") as file:
                file.seek(start)
                return file.read(size)
        except OSError:
            return b""

    def forget(self, fence: int) -> None:
        self._headers.pop(fence, None)

    def _header(self, fence: int) -> int:
        if fence not in self._headers:
            note = self.note(fence)
            self._headers[fence] = note.header if note is not None else 0
        return self._headers[fence]

    def _size(self, fence: int) -> int:
        try:
            return (self._runs / str(fence) / LOG).stat().st_size
        except OSError:
            return 0

    def _folder(self, fence: int) -> Path:
        folder = self._runs / str(fence)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    @staticmethod
    def _append(path: Path, data: bytes) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
