"""What the CloudDispatcher is asked."""

from __future__ import annotations

from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import OWNER, Viewer


class ListProviders(Message, frozen=True, kw_only=True):
    """From: Frontend. To: CloudDispatcher. Reply: list of ProviderView. Repeat: harmless."""


class TestProvider(Message, frozen=True, kw_only=True):
    """Ask a provider now whether it answers. From: Frontend. To: CloudDispatcher. Reply: ProviderTested.

    An answer also ends the wait of an open circuit. Errors: NotFound, NotAllowed (admin). Repeat: asks again.
    """

    name: str
    by: Viewer = OWNER


class SetProvider(Message, frozen=True, kw_only=True):
    """Let a provider take jobs, or no more. What runs there goes on. From: Frontend. To: CloudDispatcher.

    Reply: ProviderView, once it is durable. Errors: NotFound, NotAllowed (admin), StoreFailed. Repeat: harmless.
    """

    name: str
    enabled: bool
    by: Viewer = OWNER


class GetCloudCost(Message, frozen=True, kw_only=True):
    """What cloud jobs cost, summed by provider, user, team, day, month or job. From: Frontend. To: History.

    Reply: list of CloudCost. `since` and `until` (epoch seconds) bound when the jobs were submitted; `user_id` None =
    everybody's. Errors: StoreFailed. Repeat: harmless.
    """

    by: str = "provider"
    since: float | None = None
    until: float | None = None
    user_id: int | None = None


class HearWebhook(Message, frozen=True, kw_only=True):
    """A provider speaks of a job by itself. From: Frontend. To: CloudDispatcher. Reply: True.

    `token` is from the address that we gave it, `headers` (lower case) hold its signature, which is checked before
    anything is believed. Errors: NotFound, NotAllowed (not signed as it must be). Repeat: harmless.
    """

    provider: str
    token: str
    headers: dict[str, str]
    body: bytes
