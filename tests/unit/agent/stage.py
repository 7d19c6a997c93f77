"""An agent on a host made by hand: what it is told, and what it writes and says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gpuyard.actors.model import names
from gpuyard.actors.model.agent import Agent, AgentOutbox, AgentSettings, Entry
from gpuyard.actors.model.attempt import GpuRef
from gpuyard.actors.model.commands import RunSpec, SendHeartbeat
from gpuyard.actors.model.events import AttemptExited, AttemptStarted, GpuEmptied, GpuFacts, RunsAdopted
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.ids import make_fence
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.wire import STOP, Heartbeat, Sync, Want

M = TypeVar("M", bound=Message)
EPOCH = 3


def fence(n: int, epoch: int = EPOCH) -> int:
    return make_fence(epoch, n)


def want(n: int = 1, lease: float | None = 100.0, gpus: int = 1, **more: Any) -> Want:
    """A run on GPU `n - 1`; its order is in it."""
    refs = tuple(GpuRef(f"g{n - 1}", n - 1) for _ in range(gpus))
    spec = RunSpec(fence=fence(n), job_id=f"job{n}", attempt=1, argv=("train",), gpus=refs, num_processes=gpus)
    return Want(**{"spec": spec, "spec_hash": f"hash{n}", "lease_seconds": lease, **more})


def stop(reason: str = "cancelled by ann") -> Want:
    return Want(action=STOP, reason=reason)


class Stage:
    """`journal` is the disk. Each life of the process begins with `begin`."""

    def __init__(self, **settings: Any) -> None:
        self.settings = AgentSettings(**settings)
        self.wall, self.boottime = 1_000_000.0, 500.0
        self.incarnation = "boot1"
        self.journal: list[Entry] = []
        self.written: list[Entry] = []
        self.told: list[tuple[str, Message]] = []
        self.lives = 0
        self.seq = 0
        self.first: list[tuple[str, Message]] = []
        self.last: Heartbeat | None = None

    def begin(self, live: tuple[int, ...] = (), ended: tuple[int, ...] = (), *, adopt: bool = True) -> None:
        """A new life, on a host where these runs live or have ended."""
        self.lives += 1
        out = AgentOutbox()
        self.agent = Agent(
            self.settings, f"session{self.lives}", self.incarnation, list(self.journal), "journal1", self.now(), out
        )
        self._take(out)
        self.first = self.told
        self.facts()
        if adopt:
            self.do(self.agent.adopted, RunsAdopted(live=live, ended=ended))

    def now(self) -> Now:
        return Now(self.wall, self.boottime)

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.boottime += seconds
        self.do(lambda _, now, out: self.agent.tick(now, out), None)

    def do(self, handle: Callable[[Any, Now, AgentOutbox], None], message: Any) -> None:
        """`written` and `told` are what followed."""
        out = AgentOutbox()
        handle(message, self.now(), out)
        self._take(out)

    def _take(self, out: AgentOutbox) -> None:
        self.written, self.told = out.journal, out.tells
        self.journal += out.journal
        for beat in self.said(SendHeartbeat):
            self.last = beat.said

    def said(self, kind: type[M], to: str | None = None) -> list[M]:
        return [message for name, message in self.told if isinstance(message, kind) and to in (None, name)]

    # --- what the server says ---

    def sync(self, wants: dict[int, Want] | None = None, *, late: float = 0.0, **fields: Any) -> None:
        """The answer to the newest heartbeat, which was sent `late` seconds ago."""
        assert self.last is not None
        self.seq += 1
        base = {
            "db_id": "db",
            "db_epoch": EPOCH,
            "session": f"session{self.lives}",
            "n": self.last.n,
            "sent_at": self.boottime - late,
            "want": wants or {},
            "seq": self.seq,
        }
        self.do(self.agent.synced, Sync(**{**base, **fields}))

    # --- what the host says ---

    def facts(self, revision: int = 1, *usable: int) -> None:
        gpus = tuple(GpuFact(uuid=f"g{i}", index=i, excluded=bool(usable) and i not in usable) for i in range(3))
        event = GpuFacts(revision=revision, observed_at=self.boottime, backend="simulated", gpus=gpus)
        self.do(self.agent.gpu_facts, event)

    def lives_on(self, n: int = 1) -> None:
        self.do(self.agent.started, AttemptStarted(fence=fence(n), pid=40 + n, at=self.wall))

    def ends(self, n: int = 1, exit_class: str = "completed") -> None:
        code = 0 if exit_class == "completed" else None
        event = AttemptExited(fence=fence(n), exit_class=exit_class, exit_code=code, started_at=5.0, ended_at=9.0)
        self.do(self.agent.exited, event)

    def empties(self, n: int = 1) -> None:
        self.do(self.agent.emptied, GpuEmptied(fence=fence(n), uuids=(f"g{n - 1}",)))

    def runs(self, n: int = 1, **more: Any) -> None:
        """Wanted, started, alive."""
        self.sync({fence(n): want(n, **more)})
        self.lives_on(n)

    def to_the_keeper(self) -> list[Message]:
        return [message for to, message in self.told if to == names.KEEPER]
