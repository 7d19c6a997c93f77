"""Moving what the log holds into the database, beside the commits instead of on their path.

A thread of its own with a connection of its own: SQLite releases the interpreter while it writes and syncs. A passive
checkpoint never makes a writer wait; once it has caught up, the next commit begins the log anew from its start.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from pathlib import Path
from typing import Final

from gpuyard.actors.store.database import BUSY_SECONDS

log = logging.getLogger("gpuyard.store")

# About 2.5 MB of log: a row of a commit touches one to two pages of 4 KiB.
EVERY_ROWS: Final = 400
# Frames in the log (of 4 KiB) past which the store itself must bring the rest in: 64 MiB.
TOO_LONG: Final = 16_384


class Checkpointer:
    """`wrote` is called by the store after each group of commits; all else happens in the thread."""

    def __init__(self, path: Path, every_rows: int = EVERY_ROWS, too_long: int = TOO_LONG) -> None:
        self._path = path
        self._every_rows = every_rows
        self._too_long = too_long
        self._rows = 0
        self._due = threading.Event()
        self._ended = False
        self._frames = 0
        self._thread = threading.Thread(target=self._run, name="store-checkpoint", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wrote(self, rows: int) -> None:
        self._rows += rows
        if self._rows >= self._every_rows:
            self._rows = 0
            self._due.set()

    @property
    def log_too_long(self) -> bool:
        """The commits come so fast that the thread never catches up."""
        return self._frames > self._too_long

    def helped(self) -> None:
        """The store has made a checkpoint itself: the next commit begins the log anew, unless a reader hinders it."""
        self._frames = 0

    def stop(self) -> None:
        self._ended = True
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while True:
            self._due.wait()
            self._due.clear()
            if self._ended:
                break
            try:
                if connection is None:
                    connection = sqlite3.connect(self._path, isolation_level=None, timeout=BUSY_SECONDS)
                _busy, self._frames, _moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except sqlite3.Error as error:
                # A full disk: the log keeps everything, and the next round tries again.
                log.warning("the log of %s could not be brought into the database: %s", self._path, error)
        if connection is not None:
            connection.close()
