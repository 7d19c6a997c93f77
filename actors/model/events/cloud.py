"""What the CloudDispatcher tells."""

from __future__ import annotations

from gpuyard.actors.model.message import Message


class ProviderFacts(Message, frozen=True, kw_only=True):
    """The providers that may take jobs. From: CloudDispatcher. To: Scheduler. Newest `revision` wins."""

    revision: int
    available: tuple[str, ...] = ()
    down: dict[str, str] = {}
