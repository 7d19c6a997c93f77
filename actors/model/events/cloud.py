"""What the CloudDispatcher tells."""

from __future__ import annotations

from gpuyard.actors.model.cloud_prices import PriceTable
from gpuyard.actors.model.message import Message


class ProviderFacts(Message, frozen=True, kw_only=True):
    """The providers as the dispatcher knows them. From: CloudDispatcher. To: Scheduler. Newest `revision` wins.

    `available` may be sent jobs now. `down` (name → why) come back by themselves: their jobs wait; `retry_at` (epoch
    seconds) is when each is asked again. `refused` (name →
    why) take no jobs until somebody configures or enables them. `prices` are for estimates.
    """

    revision: int
    available: tuple[str, ...] = ()
    down: dict[str, str] = {}
    refused: dict[str, str] = {}
    prices: PriceTable = PriceTable()
    retry_at: dict[str, float] = {}
