"""A read-only connection that comes back by itself: what History asks through."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from gpuyard.actors.model.commands import (
    GetCloudCost,
    GetEvents,
    GetTimeline,
    GetUsage,
    ListApprovals,
    ListAudit,
    ListJobs,
    PastSubmit,
)
from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.errors import StoreFailed
from gpuyard.actors.model.views import (
    ApprovalPage,
    ApprovalView,
    AuditPage,
    CloudCost,
    HistoryPage,
    JobRecord,
    TimelineSpan,
    UsageSums,
)
from gpuyard.actors.store import approvals, audit, costs, pages, reads, timeline, usage
from gpuyard.actors.store.faults import CURE, FAULTS, refused
from gpuyard.actors.store.soundness import connect_read_only

T = TypeVar("T")

CACHE_KIB = 16_000


class Reader:
    """Belongs to the thread that calls `open`. Every question raises StoreFailed while the database is unreadable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._totals = pages.Totals()

    def open(self) -> None:
        self._connection = connect_read_only(self._path)
        self._totals = pages.Totals()
        self._connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def list_jobs(self, query: ListJobs) -> HistoryPage:
        return self._ask(lambda connection: pages.list_jobs(connection, query, self._totals))

    def get_job(self, job_id: str, *, prefix: bool, user_id: int | None = None) -> JobRecord:
        return self._ask(lambda connection: pages.get_job(connection, job_id, prefix=prefix, user_id=user_id))

    def get_events(self, query: GetEvents) -> list[EventRow]:
        return self._ask(lambda connection: pages.get_events(connection, query))

    def last_event(self) -> tuple[int, int]:
        return self._ask(pages.last_event)

    def audit(self, query: ListAudit) -> AuditPage:
        return self._ask(lambda connection: audit.page(connection, query))

    def run_times(self, config_names: tuple[str, ...]) -> dict[str, list[float]]:
        return self._ask(lambda connection: pages.run_times(connection, config_names))

    def usage(self, query: GetUsage) -> UsageSums:
        return self._ask(lambda connection: usage.usage(connection, query))

    def list_approvals(self, query: ListApprovals) -> ApprovalPage:
        return self._ask(lambda connection: approvals.list_approvals(connection, query))

    def get_approval(self, approval_id: int) -> ApprovalView:
        return self._ask(lambda connection: approvals.get_approval(connection, approval_id))

    def past_submits(self, limit: int) -> list[PastSubmit]:
        return self._ask(lambda connection: approvals.past_submits(connection, limit))

    def waits(self, limit: int) -> list[float]:
        return self._ask(lambda connection: timeline.waits(connection, limit))

    def timeline(self, query: GetTimeline) -> list[TimelineSpan]:
        return self._ask(lambda connection: timeline.timeline(connection, query))

    def cloud_costs(self, query: GetCloudCost) -> list[CloudCost]:
        return self._ask(lambda connection: costs.cloud_costs(connection, query))

    def blobs(self) -> list[str]:
        return self._ask(reads.blobs)

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self.open()
            assert self._connection is not None
            return question(self._connection)
        except FAULTS as error:
            with suppress(sqlite3.Error):
                self.close()
            raise StoreFailed(refused(error, self._path).detail) from error
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            raise StoreFailed(f"{self._path} holds a row that cannot be read ({error}): {CURE}") from error
