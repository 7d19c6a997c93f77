"""What a worker's journal tells."""

from __future__ import annotations

from typing import Any

from gpuyard.actors.model.message import Message


class JournalLoaded(Message, frozen=True, kw_only=True):
    """The journal, oldest entry first. From: the journal. To: the worker's agent."""

    entries: tuple[Any, ...] = ()


class JournalKept(Message, frozen=True, kw_only=True):
    """Everything up to AppendJournal `number` is on the disk; the journal has `lines` entries now. From: the journal.
    To: the worker's agent. Repeat: harmless."""

    number: int
    lines: int = 0
