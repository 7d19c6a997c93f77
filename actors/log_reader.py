"""LogReader: pieces of the runs' logs, for whoever may see them. Reads files, keeps nothing.

The log of a run on a worker lies there, and is read there by that host's own LogReader. It travels only while somebody
asks: the window is one piece for each who follows.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from gpuyard.actors.base import LATER, Actor, Context, Reply, decline, reply_with
from gpuyard.actors.model import names
from gpuyard.actors.model.attempt import LOCAL_HOST, is_worker
from gpuyard.actors.model.commands import CallPeer, ReadLog, Ready
from gpuyard.actors.model.errors import NotFound, TimedOut, Unavailable
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.views import LogChunk

# One answer carries at most this many bytes, and this many from another host, whose frames are smaller.
LONGEST_CHUNK: Final = 1 << 20
LONGEST_FROM_AFAR: Final = 1 << 18
PATIENCE: Final = 8.0


class LogReader(Actor):
    """Reads DATA/runs/<fence>/log."""

    def __init__(self, context: Context, data_dir: Path) -> None:
        super().__init__(context)
        self._runs = Path(data_dir).absolute() / "runs"
        self._bulk = context.ref(names.BULK)

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case ReadLog(host=host) if is_worker(host):
                return self._read_there(message, reply)
            case ReadLog(fence=fence, offset=offset, limit=limit):
                return read_log(self._runs / str(fence) / "log", offset, limit)
            case Ready():
                return True
            case _:
                return self.unsupported(message)

    def _read_there(self, message: ReadLog, reply: Reply | None) -> Any:
        """Asked of the worker, whose answer goes on from the thread that has it."""
        limit = min(message.limit, LONGEST_FROM_AFAR)
        there = ReadLog(fence=message.fence, offset=message.offset, limit=limit, host=LOCAL_HOST, cause=message.cause)
        call = CallPeer(user_id=message.host, to=names.LOGS, message=there, timeout=PATIENCE)
        if reply is not None:
            self._bulk.ask(call).add_done_callback(lambda done: _hand_on(done, reply, message.host))
        return LATER


def _hand_on(done: Reply, reply: Reply, host: str) -> None:
    error = done.exception()
    if error is None:
        reply_with(reply, done.result())
    elif isinstance(error, Unavailable) and not isinstance(error, TimedOut):
        away = f"this log lies on worker {host}, which is not connected: try again when it is back"
        decline(reply, Unavailable(away))
    else:
        decline(reply, error)


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
