"""What the WorkerRegistry and the gateway tell."""

from __future__ import annotations

from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.wire import Heartbeat


class WorkerFact(Message, frozen=True, kw_only=True):
    """One worker. `state` is connecting, idle, busy, draining or offline; only an idle or busy one gets work.

    `facts` are its GPUs as of `observed_at` (the server's `clock.monotonic()`), `at_once` as in GpuFacts. `order`
    is the order of registration, `max_jobs` how many jobs it takes at once (None: as many as its GPUs hold),
    `cpu_count` its cores. `takes_work` is False for one of an older version, a refused or a leaving one. `unreachable`
    are fences of runs whose lease is in doubt. `facts` are good for a placement for `fresh_seconds` (some heartbeats).
    `heard_at` is when it was last heard (epoch seconds, None: never), `why` says why it takes no work, if it does not.
    `orphans` are runs that it says live there and that nobody wants of it, fence → job id (None: it is not heard, so
    they are as they were); `settled` tells that it obeys this state of the database, so what it does not report does
    not live there and will not.
    """

    worker_id: str
    name: str = ""
    state: str = "offline"
    gpus: int = 0
    labels: dict[str, str] = {}
    facts: tuple[GpuFact, ...] = ()
    observed_at: float = 0.0
    at_once: bool = False
    order: int = 0
    max_jobs: int | None = None
    cpu_count: int = 0
    takes_work: bool = True
    unreachable: tuple[int, ...] = ()
    ephemeral: bool = False
    fresh_seconds: float = 30.0
    heard_at: float | None = None
    why: str = ""
    orphans: dict[int, str] | None = None
    settled: bool = False


class WorkerFacts(Message, frozen=True, kw_only=True):
    """The workers as the registry knows them. From: WorkerRegistry. To: Scheduler. Newest `revision` wins.

    Told on change, and at each beat for workers whose facts are fresh. With `partial` the workers that are not named
    are as they were, but for those in `gone`; without it, all that are not named are gone. A silent worker's run is
    waited for as long as its lease, for clocks that `drift`, and `lease_margin` seconds.
    """

    revision: int
    workers: tuple[WorkerFact, ...] = ()
    partial: bool = False
    gone: tuple[str, ...] = ()
    drift: float = 0.01
    lease_margin: float = 30.0


class PeerSaid(Message, frozen=True, kw_only=True):
    """A frame of a worker, decoded and authenticated by its key. From: the gateway. To: WorkerRegistry.

    `user_id` is what AllowKeys names the key, `route` the connection it came on, `address` the peer's (IP), `key` the
    public key itself (Z85).
    """

    user_id: str
    route: bytes
    said: Heartbeat
    address: str = ""
    key: str = ""
