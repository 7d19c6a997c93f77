"""Answers about stored jobs and logs."""

from __future__ import annotations

from typing import Any

from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.views.base import View
from gpuyard.actors.model.views.queue import Entry


class AttemptView(View, frozen=True, kw_only=True):
    fence: int
    number: int
    phase: str
    host: str
    gpus: list[int]
    assigned_at: str
    started_at: str | None
    ended_at: str | None
    pid: int | None
    exit_code: int | None
    exit_class: str | None
    error: str | None
    gpu_uuids: list[str] = []


class LiveJob(View, frozen=True, kw_only=True):
    """An active job as the Scheduler has it: its entry, and its live attempt (newer than what is stored)."""

    entry: Entry
    attempt: AttemptView | None


class JobRecord(View, frozen=True, kw_only=True):
    """A stored job: its entry (without position, phase and reasons, which only the Scheduler knows)."""

    entry: Entry
    attempts: list[AttemptView] = []
    events: list[EventRow] = []
    spec: dict[str, Any] = {}


class HistoryPage(View, frozen=True, kw_only=True):
    records: list[JobRecord]
    total: int


class TimelineSpan(View, frozen=True, kw_only=True):
    """One GPU in the hands of one attempt; `ended_at` None while it lives."""

    host: str
    uuid: str
    index: int
    job_id: str
    user_id: int
    title: str
    started_at: str
    ended_at: str | None
    exit_class: str | None


class LogChunk(View, frozen=True, kw_only=True):
    """`data` starts at byte `offset`; `end` is the offset after it; `size` the log's present size."""

    data: bytes
    offset: int
    end: int
    size: int
