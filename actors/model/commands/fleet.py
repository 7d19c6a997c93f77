"""What the WorkerRegistry and the gateway are asked and told."""

from __future__ import annotations

from gpuyard.actors.model import names
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import OWNER, Viewer
from gpuyard.actors.model.wire import Sync


class ListWorkers(Message, frozen=True, kw_only=True):
    """From: Frontend. To: WorkerRegistry. Reply: list of WorkerView. Repeat: harmless.

    `worker` (an id, a unique prefix of one, or a name) asks for that one alone. Errors: NotFound.
    """

    worker: str | None = None


class AddWorker(Message, frozen=True, kw_only=True):
    """Enrol a worker: it gets an id, and a token that is shown this once. From: Frontend. To: WorkerRegistry.

    Reply: WorkerEnrolled, once it is durable. Errors: WrongState (ZeroMQ is not enabled), InvalidInput (the name is
    taken or no name), StoreFailed. Repeat: InvalidInput.
    """

    name: str
    worker_type: str = "persistent"
    labels: dict[str, str] = {}
    by: Viewer = OWNER


class DrainWorker(Message, frozen=True, kw_only=True):
    """Give a worker no new work until it is undrained. From: Frontend. To: WorkerRegistry. Reply: WorkerView.

    `worker` is an id, a unique prefix of one, or a name. `drained` False undrains. Errors: NotFound, StoreFailed.
    Repeat: harmless.
    """

    worker: str
    drained: bool = True
    by: Viewer = OWNER


class RotateWorkerToken(Message, frozen=True, kw_only=True):
    """A new token for a worker. From: Frontend. To: WorkerRegistry. Reply: WorkerEnrolled.

    The old one works until the new one connects or 24 h have passed; with `now` it is void at once. Errors: as
    AddWorker, and NotFound. Repeat: makes another one.
    """

    worker: str
    now: bool = False
    by: Viewer = OWNER


class RemoveWorker(Message, frozen=True, kw_only=True):
    """Delete a worker. From: Frontend. To: WorkerRegistry. Reply: WorkerView as it last was.

    Errors: NotFound, WrongState (it has a job, and `force` is not set), StoreFailed. Repeat: NotFound.
    """

    worker: str
    force: bool = False
    by: Viewer = OWNER


class StopOrphan(Message, frozen=True, kw_only=True):
    """End a run that lives on `host` (a worker's id, or local) and that this database did not order.

    From: Frontend. To: Scheduler. Reply: True, once it is durable that somebody said so; the run ends after it. Errors:
    NotAllowed, NotFound (no such orphan is reported there now), StoreFailed. Repeat: harmless, or NotFound.
    """

    host: str
    fence: int
    by: Viewer = OWNER


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
