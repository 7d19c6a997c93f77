"""LogReader: pieces of the runs' logs, for whoever may see them. Reads files, keeps nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from gpuyard.actors.base import Actor, Context, Reply
from gpuyard.actors.model.commands import ReadLog, Ready
from gpuyard.actors.model.errors import NotFound
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.views import LogChunk

# One answer carries at most this many bytes.
LONGEST_CHUNK: Final = 1 << 20


class LogReader(Actor):
    """Reads DATA/runs/<fence>/log."""

    def __init__(self, context: Context, data_dir: Path) -> None:
        super().__init__(context)
        self._runs = Path(data_dir).absolute() / "runs"

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case ReadLog(fence=fence, offset=offset, limit=limit):
                return read_log(self._runs / str(fence) / "log", offset, limit)
            case Ready():
                return True
            case _:
                return self.unsupported(message)


def read_log(path: Path, offset: int | None, limit: int) -> LogChunk:
    """At most `limit` bytes from `offset`, or the last `limit` bytes when it is None. Raises NotFound.

    An offset behind the end gives an empty chunk at the end: a log that passed its cap may have been cut.
    """
    limit = max(0, min(limit, LONGEST_CHUNK))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise NotFound("the log of this run is gone") from None
    try:
        size = os.fstat(fd).st_size
        start = max(0, size - limit) if offset is None else max(0, min(offset, size))
        data = os.pread(fd, limit, start)
    finally:
        os.close(fd)
    return LogChunk(data=data, offset=start, end=start + len(data), size=size)
