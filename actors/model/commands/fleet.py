"""What the WorkerRegistry is asked."""

from __future__ import annotations

from gpuyard.actors.model.message import Message


class ListWorkers(Message, frozen=True, kw_only=True):
    """From: Frontend. To: WorkerRegistry. Reply: list of WorkerView. Repeat: harmless."""
