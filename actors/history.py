"""History: answers questions about what is stored, on a read-only connection of its own (DESIGN 3).

So a long list never delays a commit, and a slow disk under the commits never delays a list.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpuyard.actors.base import Actor, Context, Reply
from gpuyard.actors.model.commands import (
    GetApproval,
    GetCloudCost,
    GetEvents,
    GetJob,
    GetLastEvent,
    GetPastSubmits,
    GetRunTimes,
    GetTimeline,
    GetUsage,
    GetWaits,
    ListApprovals,
    ListAudit,
    ListBlobs,
    ListJobs,
    Ready,
)
from gpuyard.actors.model.message import Message
from gpuyard.actors.store.reader import Reader


class History(Actor):
    """`path` is the database's file; the QueueStore has made it before this actor starts."""

    def __init__(self, context: Context, path: Path) -> None:
        super().__init__(context)
        self._reader = Reader(path)

    def started(self) -> None:
        self._reader.open()

    def stopped(self) -> None:
        self._reader.close()

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case ListJobs():
                return self._reader.list_jobs(message)
            case GetJob():
                return self._reader.get_job(message.job_id, prefix=message.prefix, user_id=message.user_id)
            case GetEvents():
                return self._reader.get_events(message)
            case GetLastEvent():
                return self._reader.last_event()
            case ListAudit():
                return self._reader.audit(message)
            case GetRunTimes():
                return self._reader.run_times(message.config_names)
            case GetTimeline():
                return self._reader.timeline(message)
            case GetWaits():
                return self._reader.waits(message.limit)
            case GetUsage():
                return self._reader.usage(message)
            case ListApprovals():
                return self._reader.list_approvals(message)
            case GetApproval():
                return self._reader.get_approval(message.approval_id)
            case GetPastSubmits():
                return self._reader.past_submits(message.limit)
            case GetCloudCost():
                return self._reader.cloud_costs(message)
            case ListBlobs():
                return self._reader.blobs()
            case Ready():
                return True
            case _:
                return self.unsupported(message)
