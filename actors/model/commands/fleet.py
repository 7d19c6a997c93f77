"""What the WorkerRegistry and the gateway are asked and told."""

from __future__ import annotations

from gpuyard.actors.model import names
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.wire import Sync


class ListWorkers(Message, frozen=True, kw_only=True):
    """From: Frontend. To: WorkerRegistry. Reply: list of WorkerView. Repeat: harmless."""


class WatchWorkers(Message, frozen=True, kw_only=True):
    """Tell WorkerFacts of all workers now, and on every change from now on. From: Scheduler, at its start and after a
    rebuild. To: WorkerRegistry. Repeat: harmless."""


class WantAgain(Message, frozen=True, kw_only=True):
    """Tell every run that shall be on a worker again: WantRun and WantStop, then WantedComplete. From: WorkerRegistry,
    at its start. To: Scheduler. Repeat: harmless.

    The CloudDispatcher asks the same for what shall be at a provider: `driver` is who is to be told.
    """

    driver: str = names.WORKERS


class AllowKeys(Message, frozen=True, kw_only=True):
    """The whole allow-list: CURVE public key (Z85) → ZAP User-Id. From: WorkerRegistry. To: the gateway.

    A key that is not in it is refused, at the handshake and on every later message. Repeat: the newest wins.
    """

    keys: dict[str, str]


class SendToPeer(Message, frozen=True, kw_only=True):
    """Send a frame to a connection that PeerSaid named. From: WorkerRegistry. To: the gateway.

    Repeat: sends it again, which is harmless.
    """

    user_id: str
    route: bytes
    sync: Sync
