"""One worker as the fleet knows it: its record, the session that is listened to, and what is wanted of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gpuyard.actors.model.attempt import Phase
from gpuyard.actors.model.commands import RunSpec, WantRun
from gpuyard.actors.model.errors import NotAllowed, Unavailable
from gpuyard.actors.model.fleet.clocks import ClockWatch
from gpuyard.actors.model.fleet.record import WorkerRecord
from gpuyard.actors.model.fleet.states import WorkerState
from gpuyard.actors.model.wire import Heartbeat, Report

ENDED = frozenset({Phase.EXITED, Phase.LOST})


def has_ended(report: Report) -> bool:
    return report.phase in ENDED


@dataclass(slots=True, kw_only=True)
class Wanted:
    """One fence that the Scheduler gave to this worker, until its end is acknowledged.

    `order` is None where only its stop was ever told. `incarnation` is the life of the host that may have it ("" is
    none of those that can be admitted), `base` (server's monotonic) the moment from which its lease counts. `report`
    is the newest of a life that may speak for it. `lost`: its lease has been waited out; `over`: its end is durable,
    `released`: it holds no GPU any more, durably too. `size` is that of the order on the wire, in bytes.
    """

    fence: int
    base: float
    incarnation: str
    order: WantRun | None = None
    spec_hash: str = ""
    size: int = 0
    stop_reason: str | None = None
    report: Report | None = None
    lost: bool = False
    over: bool = False
    released: bool = False
    started_told: bool = False

    @property
    def ended(self) -> bool:
        """The worker says that no process of it is left."""
        return self.report is not None and has_ended(self.report)

    @property
    def decided(self) -> bool:
        """Its attempt is over, whatever the worker may still say: all that is left to learn is when its GPUs are empty.
        Any life of the host may say that."""
        return self.order is None or self.lost or self.over

    @property
    def live(self) -> bool:
        """As far as anybody knows it may be running, and its job counts on it."""
        return not (self.decided or self.ended)


@dataclass(slots=True, kw_only=True)
class Stray:
    """A fence that the worker reports and that nobody wants of it: an orphan while it lives, else an end that was heard
    before a restart of ours. `told`: the Scheduler knows of the orphan."""

    report: Report
    told: bool = False


@dataclass(slots=True, kw_only=True)
class Session:
    """The life of a worker's process that is listened to. `heard_at` and `joined_at` are the server's monotonic;
    `beat` is its newest heartbeat, `syncs` counts what it was sent, `clock` knows how wrong its clock is."""

    id: str
    incarnation: str
    user_id: str
    route: bytes
    address: str
    beat: Heartbeat
    heard_at: float
    joined_at: float
    syncs: int = 0
    clock: ClockWatch = field(default_factory=ClockWatch)


@dataclass(slots=True)
class Challenger:
    """Another session that speaks with this worker's key, first heard at `since` (server's monotonic) with its
    heartbeat `n`. It is a clone once the admitted one was heard after that, and it again after that."""

    since: float
    n: int
    clone: bool = False


@dataclass(slots=True, kw_only=True)
class Worker:
    """`session` is None until one is admitted, `heard_at` (server's monotonic) when it was last heard or may have been.

    `wants` is what the Scheduler wants of it, `strays` what it reports beyond that, `acks` what it may forget, all by
    fence; `ending` are strays of another database that an administrator wants ended, with the reason. `challengers` are
    sessions that are not listened to. `refused` says in words why it gets no work.
    """

    record: WorkerRecord
    heard_at: float
    state: WorkerState = WorkerState.CONNECTING
    session: Session | None = None
    wants: dict[int, Wanted] = field(default_factory=dict)
    strays: dict[int, Stray] = field(default_factory=dict)
    acks: set[int] = field(default_factory=set)
    ending: dict[int, str] = field(default_factory=dict)
    challengers: dict[str, Challenger] = field(default_factory=dict)
    refused: str = ""

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def beat(self) -> Heartbeat | None:
        """Its newest heartbeat, while its session is listened to."""
        return self.session.beat if self.session is not None else None

    @property
    def jobs(self) -> list[str]:
        """The ids of the jobs that it has, oldest first."""
        return [want.order.run.job_id for want in self.wants.values() if want.order is not None and want.live]

    @property
    def busy(self) -> bool:
        return any(want.live for want in self.wants.values())


def order_of(worker: Worker | None, fence: int, complete: bool) -> RunSpec:
    """What `worker` shall run as `fence`. Raises NotAllowed when nothing, Unavailable while not all is known that is
    wanted (`complete` is False)."""
    want = worker.wants.get(fence) if worker is not None else None
    if want is not None and want.order is not None and want.live and want.stop_reason is None:
        return want.order.run
    if not complete:
        raise Unavailable("the server is starting: try again shortly")
    raise NotAllowed(f"run {fence} is not wanted of this worker")
