"""JournalKeeper: brings a worker's journal to the disk, for its agent, which waits for no disk (DESIGN 8).

A disk that refuses (full, read-only) loses nothing: what could not be written is tried again, in order, and the agent
does not do before what it tells of.
"""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path
from typing import Any

from gpuyard.actors.base import Actor, Context, Reply
from gpuyard.actors.journal.file import JournalFile
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import AppendJournal, LoadJournal, Ready, ShortenJournal
from gpuyard.actors.model.errors import StoreFailed
from gpuyard.actors.model.events import JournalKept, JournalLoaded
from gpuyard.actors.model.message import Message

log = logging.getLogger("gpuyard.journal")

# Seconds until what the disk refused is tried again.
PAUSE = 1.0


class WriteAgain(Message, frozen=True, kw_only=True):
    """The disk may take it now. From: the journal's own timer. Repeat: harmless."""


class JournalKeeper(Actor):
    """Tells the agent JournalLoaded and JournalKept."""

    def __init__(self, context: Context, data_dir: Path) -> None:
        super().__init__(context)
        self._file = JournalFile(data_dir)
        self._agent = context.ref(names.AGENT)
        self._unwritten: deque[AppendJournal] = deque()

    def started(self) -> None:
        self._file.load()  # damage stops the start, not the first question

    def stopped(self) -> None:
        self._file.close()

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case LoadJournal():
                self._agent.tell(JournalLoaded(entries=tuple(self._file.load())))
            case AppendJournal():
                self._unwritten.append(message)
                if len(self._unwritten) == 1:
                    self._write()
            case WriteAgain():
                self._write()
            case ShortenJournal(entries=entries):
                self._shorten(entries)
            case Ready():
                return True
            case _:
                return self.unsupported(message)
        return None

    def _write(self) -> None:
        while self._unwritten:
            try:
                self._file.append(self._unwritten[0].entries)
            except StoreFailed as error:
                log.error("%s: nothing new is started until it can be", error)
                self.inbox.after(PAUSE, WriteAgain())
                return
            self._agent.tell(JournalKept(number=self._unwritten.popleft().number, lines=self._file.lines))

    def _shorten(self, entries: tuple[Any, ...]) -> None:
        if self._unwritten:
            return  # not behind all that was appended: the next time
        try:
            self._file.replace(entries)
        except StoreFailed as error:
            log.warning("the long journal stays: %s", error)
