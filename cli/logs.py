"""The server's log: stderr and `server.log` in the data folder, one line an event, rotated at 20 MB."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from pathlib import Path

LINE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
SIZE, KEPT = 20_000_000, 3


def set_up(data_dir: Path, level: str, name: str = "server.log") -> None:
    """Route all logging there. Foreign control characters in a line are escaped, so that no line can be forged."""
    path = data_dir / name
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    _route(logging.handlers.RotatingFileHandler(path, maxBytes=SIZE, backupCount=KEPT, encoding="utf-8"), level)


def join(data_dir: Path, level: str) -> None:
    """The same for a process of the server's: it follows the file when the server rotates it."""
    _route(logging.handlers.WatchedFileHandler(data_dir / "server.log", encoding="utf-8"), level)


def _route(file: logging.Handler, level: str) -> None:
    stderr = logging.StreamHandler(sys.stderr)
    for handler in (stderr, file):
        handler.setFormatter(_OneLine(LINE))
    logging.basicConfig(level=level.upper(), handlers=[stderr, file], force=True)
    # What it reports, every refused question among it, actors have told the asker or logged themselves.
    logging.getLogger("pykka").setLevel(logging.CRITICAL)


class _OneLine(logging.Formatter):
    """Escapes what is not printable in the message itself; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        text = record.message
        if not text.isprintable():
            record.message = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
        return super().formatMessage(record)
