"""A fleet with workers whose heartbeats are made by hand, and what it tells whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec.structs import replace

from gpuyard.actors.model import names
from gpuyard.actors.model.attempt import GpuRef, Phase
from gpuyard.actors.model.commands import ForgetRun, RunSpec, SendToPeer, WantedComplete, WantRun, WantStop
from gpuyard.actors.model.events import PeerSaid, WorkerFact, WorkerFacts
from gpuyard.actors.model.fleet import Fleet, FleetOutbox, FleetSettings, from_row
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.ids import make_fence
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.registers import AppendAudit, DropRecord, PutRecord
from gpuyard.actors.model.wire import Heartbeat, Report, Sync

M = TypeVar("M", bound=Message)
EPOCH = 3


def fence(n: int, epoch: int = EPOCH) -> int:
    return make_fence(epoch, n)


def running(n: int = 1, **more: Any) -> Report:
    return Report(phase=Phase.RUNNING, job_id=f"job{n}", pid=40 + n, started_at=5.0, uuids=(f"g{n - 1}",), **more)


def ended(n: int = 1, exit_class: str = "completed", emptied: bool = True, **more: Any) -> Report:
    code = 0 if exit_class == "completed" else None
    return Report(
        phase=Phase.EXITED,
        job_id=f"job{n}",
        exit_class=exit_class,
        exit_code=code,
        uuids=(f"g{n - 1}",),
        emptied=emptied,
        **more,
    )


class Stage:
    """One worker `w` from the beginning, which has not been heard yet. Rows are stored at once."""

    def __init__(self, **settings: Any) -> None:
        self.settings = FleetSettings(**settings)
        self.wall, self.monotonic = 1_000_000.0, 5_000.0
        self.rows: dict[str, dict[str, Any]] = {}
        self.audit: list[AppendAudit] = []
        self.told: list[tuple[str, Message]] = []
        self.syncs: list[Sync] = []
        self.waited: bool = False
        self.fleet = self._new()
        self.enrol("w")
        self.complete()

    def _new(self, epoch: int = EPOCH) -> Fleet:
        return Fleet(self.settings, "db", epoch, [from_row(row) for row in self.rows.values()], self.now())

    def restart(self, epoch: int = EPOCH, *, complete: bool = True) -> None:
        """The server begins anew, from what is stored."""
        self.fleet = self._new(epoch)
        if complete:
            self.complete()

    def now(self) -> Now:
        return Now(self.wall, self.monotonic)

    def do(self, what: Callable[[Now, FleetOutbox], Any]) -> Any:
        """One message for the registry; `told` and `syncs` are what followed."""
        self.told, self.syncs = [], []
        out = FleetOutbox()
        answer = what(self.now(), out)
        flushed = FleetOutbox()
        self.fleet.flush(self.now(), flushed)
        self.waited = bool(out.records)
        for row in (*out.records, *out.lazy):
            match row:
                case PutRecord(values=values):
                    self.rows[values["id"]] = values
                case DropRecord(where=where):
                    del self.rows[where["id"]]
                case AppendAudit():
                    self.audit.append(row)
        for to, message in (*out.tells, *flushed.tells):
            if isinstance(message, SendToPeer):
                self.syncs.append(message.sync)
            else:
                self.told.append((to, message))
        return answer

    def said(self, kind: type[M]) -> list[M]:
        """What the Scheduler was told of this kind."""
        return [message for to, message in self.told if to == names.SCHEDULER and isinstance(message, kind)]

    def fact(self, worker: str = "w") -> WorkerFact:
        """The newest that the Scheduler was told of a worker."""
        self.do(lambda now, out: self.fleet.watch(now, out))
        return next(fact for facts in self.said(WorkerFacts) for fact in facts.workers if fact.worker_id == worker)

    # --- what happens ---

    def pass_by(self, seconds: float) -> None:
        """Time passes, and the fleet notices."""
        self.wall += seconds
        self.monotonic += seconds
        self.do(self.fleet_tick)

    def fleet_tick(self, now: Now, out: FleetOutbox) -> None:
        self.fleet.tick(now, out)

    def enrol(self, name: str, **more: Any) -> None:
        self.do(lambda now, out: self.fleet.enrol(name, name, f"key-{name}", now, out, **more))

    def complete(self) -> None:
        self.do(lambda now, out: self.fleet.wanted_complete(WantedComplete(fences=()), now, out))

    def want(self, n: int = 1, worker: str = "w", lease: float | None = 100.0, gpus: int = 1, **more: Any) -> int:
        refs = tuple(GpuRef(f"g{n - 1}", n - 1) for _ in range(gpus))
        spec = RunSpec(fence=fence(n), job_id=f"job{n}", attempt=1, argv=("train",), gpus=refs, num_processes=gpus)
        order = WantRun(run=spec, host=worker, lease_seconds=lease, **more)
        self.do(lambda now, out: self.fleet.want_run(order, now, out))
        return fence(n)

    def stop(self, n: int = 1, worker: str = "w") -> None:
        order = WantStop(fence=fence(n), reason="cancelled by ann", host=worker)
        self.do(lambda now, out: self.fleet.want_stop(order, now, out))

    def forget(self, n: int = 1, released: bool = True, worker: str = "w") -> None:
        order = ForgetRun(fence=fence(n), host=worker, released=released)
        self.do(lambda now, out: self.fleet.forget_run(order, now, out))


class Machine:
    """A worker's host as its heartbeats show it."""

    def __init__(self, stage: Stage, name: str = "w", user_id: str | None = None, **fields: Any) -> None:
        self.stage, self.user_id = stage, user_id or f"{name}.1"
        self.n = 0
        self.fields: dict[str, Any] = {
            "session": f"{name}-session",
            "incarnation": f"{name}-boot1",
            "journal": f"{name}-journal",
            "life": 1,
            "db_id": "db",
            "db_epoch": EPOCH,
            "gpus": tuple(GpuFact(uuid=f"g{i}", index=i, memory_total=80 << 30) for i in range(2)),
            "cpu_count": 8,
            **fields,
        }
        self.reports: dict[int, Report] = {}

    def heartbeat(self, **fields: Any) -> Heartbeat:
        self.n += 1
        return Heartbeat(
            **{"n": self.n, "sent_at": 70.0 + self.n, "attempts": dict(self.reports), **self.fields, **fields}
        )

    def beat(self, **fields: Any) -> Sync:
        """One heartbeat; the Sync that answers it."""
        syncs = self.send(self.heartbeat(**fields))
        assert len(syncs) == 1, syncs
        return syncs[0]

    def send(self, beat: Heartbeat) -> list[Sync]:
        said = PeerSaid(user_id=self.user_id, route=self.user_id.encode(), said=beat, address="10.0.0.7")
        self.stage.do(lambda now, out: self.stage.fleet.heard(said, now, out))
        return [sync for sync in self.stage.syncs if sync.session == beat.session]

    def reboot(self) -> None:
        """The same disk, another life of the host."""
        self.restart()
        self.fields["incarnation"] += "+"
        self.reports = {
            number: replace(report, phase=Phase.LOST, exit_class="lost", emptied=True)
            for number, report in self.reports.items()
        }

    def restart(self) -> None:
        """Another life of the process."""
        self.fields["session"] += "+"
        self.fields["life"] += 1
        self.n = 0

    def copy(self) -> Machine:
        """A copied disk, started on another machine."""
        twin = Machine(self.stage, user_id=self.user_id)
        twin.fields, twin.reports = dict(self.fields), dict(self.reports)
        twin.reboot()
        twin.fields["session"], twin.fields["incarnation"] = "twin-session", "twin-boot1"
        return twin
