"""What the edges ask about webhooks. Owners see and change their own, admins everybody's; others find none."""

from __future__ import annotations

from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import OWNER, Viewer


class AddWebhook(Message, frozen=True, kw_only=True):
    """Tell `url` what happens from now on: `events` (empty: the ends of jobs) of the jobs that `scope` says.

    From: Frontend. To: Webhooks. Reply: WebhookMade, with the signing secret, this once. Errors: InvalidInput,
    NotAllowed (scope), StoreFailed. Repeat: another one.
    """

    url: str
    events: tuple[str, ...] = ()
    scope: str = "own"
    by: Viewer = OWNER


class ListWebhooks(Message, frozen=True, kw_only=True):
    """The asker's webhooks, or (admins) everybody's. From: Frontend. To: Webhooks. Reply: list of WebhookView.

    Errors: NotAllowed. Repeat: harmless.
    """

    everybody: bool = False
    by: Viewer = OWNER


class SetWebhook(Message, frozen=True, kw_only=True):
    """Enable (it hears what happens from now on) or disable one. From: Frontend. To: Webhooks. Reply: WebhookView.

    Errors: NotFound, StoreFailed. Repeat: harmless.
    """

    id: str
    enabled: bool
    by: Viewer = OWNER


class RemoveWebhook(Message, frozen=True, kw_only=True):
    """Delete one, its messages and its secret. From: Frontend. To: Webhooks. Reply: WebhookView.

    Errors: NotFound, StoreFailed. Repeat: NotFound.
    """

    id: str
    by: Viewer = OWNER


class TestWebhook(Message, frozen=True, kw_only=True):
    """Send one a message `webhook.test` now, once. From: Frontend. To: Webhooks. Reply: WebhookTested.

    Errors: NotFound. Repeat: sends another one.
    """

    id: str
    by: Viewer = OWNER


class ListDeliveries(Message, frozen=True, kw_only=True):
    """The messages of one, the newest first: all that wait, and some that ended. From: Frontend. To: Webhooks.

    Reply: list of DeliveryView. Errors: NotFound. Repeat: harmless.
    """

    id: str
    by: Viewer = OWNER


class ForgetWebhooks(Message, frozen=True, kw_only=True):
    """A user is no more: delete its webhooks. From: People. To: Webhooks. Repeat: harmless."""

    owner: int
