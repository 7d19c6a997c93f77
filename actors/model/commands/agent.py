"""What a worker's agent and its journal are told. Entries are those of `model/agent/journal.py`."""

from __future__ import annotations

from typing import Any

from gpuyard.actors.model.message import Message


class LoadJournal(Message, frozen=True, kw_only=True):
    """Tell what stands in the journal. From: the worker's agent, at its start. To: the journal.

    Answered by JournalLoaded. Repeat: harmless.
    """


class AppendJournal(Message, frozen=True, kw_only=True):
    """Bring these entries to the disk. From: the worker's agent. To: the journal. Answered by JournalKept.

    On a disk that refuses it is tried again until it works. Repeat: appends them again.
    """

    number: int
    entries: tuple[Any, ...]


class ShortenJournal(Message, frozen=True, kw_only=True):
    """These entries say the same as the whole journal: put them in its place. From: the worker's agent, behind all
    that it has appended. To: the journal. On a disk that refuses the long one stays. Repeat: harmless."""

    entries: tuple[Any, ...]


class LeaveServer(Message, frozen=True, kw_only=True):
    """This process is about to end: tell the server to send no new work. From: `gpuyard worker`, at SIGTERM. To: the
    worker's agent. Reply: True. Repeat: harmless."""
