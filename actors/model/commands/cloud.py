"""What the CloudDispatcher is asked."""

from __future__ import annotations

from gpuyard.actors.model.message import Message


class ListProviders(Message, frozen=True, kw_only=True):
    """From: Frontend. To: CloudDispatcher. Reply: list of ProviderView. Repeat: harmless."""
