"""One worker as the fleet knows it: its record, its session, and what is wanted of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gpuyard.actors.model.commands import WantRun
from gpuyard.actors.model.fleet.record import WorkerRecord
from gpuyard.actors.model.fleet.states import WorkerState
from gpuyard.actors.model.wire import Heartbeat, Report


@dataclass(slots=True, kw_only=True)
class Wanted:
    """One fence that the Scheduler gave to this worker, until its end is acknowledged.

    `order` is None where only its stop was ever told. `incarnation` is the life of the host that may have it; `base`
    (server's monotonic) is the moment from which its lease counts. `lost`: its lease has been waited out, `ended`: its
    end was reported; `forgotten`: the Scheduler's end is durable. `told_*`: said to the Scheduler already.
    """

    fence: int
    base: float
    order: WantRun | None = None
    spec_hash: str = ""
    stop_reason: str | None = None
    incarnation: str = ""
    report: Report | None = None
    lost: bool = False
    forgotten: bool = False

    @property
    def lease(self) -> float | None:
        return self.order.lease_seconds if self.order is not None else None


@dataclass(slots=True, kw_only=True)
class Session:
    """The life of a worker's process that is listened to now. Times are the server's monotonic; `sent_at` is the
    worker's own clock, as its newest heartbeat said."""

    id: str
    incarnation: str
    user_id: str
    route: bytes
    address: str
    beat: Heartbeat
    heard_at: float
    joined_at: float
    syncs: int = 0


@dataclass(slots=True, kw_only=True)
class Worker:
    """`session` is None until one is admitted. `wants` holds what the Scheduler wants of it, by fence; `acks` are the
    fences that it may forget; `orphans` what it runs without being wanted. `refused` says why it gets no work."""

    record: WorkerRecord
    state: WorkerState = WorkerState.CONNECTING
    session: Session | None = None
    silent_since: float = 0.0
    wants: dict[int, Wanted] = field(default_factory=dict)
    acks: set[int] = field(default_factory=set)
    orphans: dict[int, Report] = field(default_factory=dict)
    refused: str = ""

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def jobs(self) -> list[str]:
        """The jobs that it has, oldest first."""
        live = (want for want in self.wants.values() if want.order is not None and want.report is None)
        return [want.order.run.job_id for want in live if want.order is not None]
