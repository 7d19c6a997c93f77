"""The workers as the deciding core holds them: the newest fact of each, a ledger of its GPUs, and what runs there.

A host is known from the moment that somebody speaks of it: the registry (a fact), or the store (a hold or a live
attempt of before a restart). Only a fact makes it take work.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from gpuyard.actors.model import labels
from gpuyard.actors.model.attempt import Attempt
from gpuyard.actors.model.commit import Hold
from gpuyard.actors.model.events import GpuFacts, WorkerFact, WorkerFacts
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.labels import Wanted
from gpuyard.actors.model.ledger import Ledger
from gpuyard.actors.model.outbox import Now

CONNECTING, IDLE, BUSY, DRAINING, OFFLINE = "connecting", "idle", "busy", "draining", "offline"
AT_WORK: Final = frozenset({IDLE, BUSY})
MATCHES_KEPT: Final = 4_096


class Need(NamedTuple):
    """What a job asks of a worker: so many GPUs, each of so many bytes, and these labels."""

    gpus: int
    memory: int
    labels: Wanted


class Host:
    """One worker. `runs` are the fences of its live attempts, with their number of GPUs."""

    def __init__(self, worker_id: str) -> None:
        self.id = worker_id
        self.fact = WorkerFact(worker_id=worker_id)
        self.known = False
        self.ledger = Ledger()
        self.runs: dict[int, int] = {}
        self.spent = False

    @property
    def name(self) -> str:
        return self.fact.name or self.id

    @property
    def takes_work(self) -> bool:
        """May it be given anything at all? An ephemeral worker only once."""
        return self.known and self.fact.takes_work and self.fact.state in AT_WORK and not self.spent

    def fresh(self, now: Now) -> bool:
        """Was it heard lately enough to be given work?"""
        return now.monotonic - self.fact.observed_at <= self.fact.fresh_seconds

    def has_slot(self, gpus: int) -> bool:
        """Does its number of jobs let one more of `gpus` GPUs in? CPU jobs are also bound by its cores."""
        most = self.fact.max_jobs
        if most is not None and len(self.runs) >= most:
            return False
        return gpus > 0 or sum(n == 0 for n in self.runs.values()) < max(1, self.fact.cpu_count)

    @property
    def unmeasured(self) -> bool:
        """It has never been heard: nobody knows its GPUs yet."""
        return not self.fact.facts and not self.fact.gpus and self.fact.state == CONNECTING

    def sizes(self) -> list[int]:
        """The memory of each of its GPUs that may ever be handed out, in bytes (without end where it is not known)."""
        if self.fact.facts:
            return sorted(gpu.memory_total for gpu in self.fact.facts if not gpu.excluded)
        return [1 << 62] * self.fact.gpus

    def fits(self, gpus: int, memory: int) -> bool:
        """Could it ever give so many GPUs, whatever runs on it now?"""
        return self.unmeasured or sum(size >= memory for size in self.sizes()) >= gpus

    def usable(self, memory: int) -> list[GpuFact]:
        """Its free GPUs of at least `memory` bytes, by index."""
        return [gpu for gpu in self.ledger.free if gpu.memory_total >= memory]


class Learned(NamedTuple):
    """What new facts changed.

    `arrived` take work now and did not before, `gone` are no more, `turned` have another state (with the one before,
    "" at first). `changed`: some can be given other jobs than before; `reshaped`: others match than before.
    """

    arrived: list[Host]
    gone: list[Host]
    turned: list[tuple[Host, str]]
    changed: bool = False
    reshaped: bool = False


class Hosts:
    """All workers by id. `first_heard` tells that the registry has spoken at all."""

    def __init__(self) -> None:
        self._hosts: dict[str, Host] = {}
        self._open: dict[str, Host] = {}
        self._matching: dict[Need, tuple[Host, ...]] = {}
        self.first_heard = False
        self.revision = -1

    def __len__(self) -> int:
        return sum(host.known for host in self._hosts.values())

    def get(self, worker_id: str) -> Host:
        """The host of that id, from now on known by it."""
        host = self._hosts.get(worker_id)
        if host is None:
            host = self._hosts[worker_id] = Host(worker_id)
        return host

    def find(self, worker_id: str) -> Host | None:
        return self._hosts.get(worker_id)

    def is_gone(self, worker_id: str) -> bool:
        """Has the registry spoken, and does it not know this worker (any more)?"""
        host = self._hosts.get(worker_id)
        return self.first_heard and (host is None or not host.known)

    def all(self) -> list[Host]:
        """Those that the registry knows, in order of registration."""
        return sorted((host for host in self._hosts.values() if host.known), key=_order)

    def with_holds(self) -> list[Host]:
        return [host for host in self._hosts.values() if host.ledger.holds]

    @property
    def open(self) -> Iterable[Host]:
        """Those that may take one more job of some kind now, if they are fresh."""
        return self._open.values()

    def is_open(self, host: Host) -> bool:
        return host.id in self._open

    def matching(self, need: Need) -> tuple[Host, ...]:
        """Those that could ever run such a job: labels, GPUs and their memory; in order of registration."""
        found = self._matching.get(need)
        if found is None:
            if len(self._matching) >= MATCHES_KEPT:
                self._matching.clear()
            found = tuple(
                host
                for host in self.all()
                if host.fits(need.gpus, need.memory) and not labels.misses(need.labels, host.fact.labels)
            )
            self._matching[need] = found
        return found

    # --- changes -----------------------------------------------------------------------------------------------

    def hold(self, hold: Hold) -> None:
        host = self.get(hold.host)
        host.ledger.hold(hold)
        self._look(host)

    def begin(self, attempt: Attempt) -> None:
        """A run of this attempt belongs to its host now."""
        host = self.get(attempt.host)
        host.runs[attempt.fence] = len(attempt.gpus)
        host.spent = host.spent or host.fact.ephemeral
        self._look(host)

    def end(self, attempt: Attempt) -> None:
        host = self.get(attempt.host)
        host.runs.pop(attempt.fence, None)
        self._drop_if_gone(host)
        self._look(host)

    def release(self, worker_id: str, fence: int, uuids: tuple[str, ...]) -> tuple[str, ...]:
        """Close the holds of a fence there; which ones there were."""
        host = self.get(worker_id)
        released = host.ledger.release(fence, uuids)
        self._drop_if_gone(host)
        self._look(host)
        return released

    def learn(self, facts: WorkerFacts, now: Now) -> Learned:
        """Take in newer facts."""
        learned = Learned([], [], [])
        if facts.revision < self.revision:
            return learned
        self.revision, self.first_heard = facts.revision, True
        changed = reshaped = False
        for fact in facts.workers:
            host = self.get(fact.worker_id)
            before, took, capacity = host.fact.state if host.known else "", host.takes_work, _capacity(host, now)
            reshaped |= not host.known or _shape(host.fact) != _shape(fact)
            self._update(host, fact, facts.revision)
            if host.takes_work and not took:
                learned.arrived.append(host)
            if before != fact.state:
                learned.turned.append((host, before))
            changed |= _capacity(host, now) != capacity
        named = {fact.worker_id for fact in facts.workers}
        leaving = facts.gone if facts.partial else [h.id for h in self.all() if h.id not in named]
        for worker_id in leaving:
            host = self.get(worker_id)
            if host.known:
                host.known, reshaped = False, True
                learned.gone.append(host)
                self._look(host)
            self._drop_if_gone(host)
        if reshaped:
            self._matching.clear()
        return learned._replace(changed=changed, reshaped=reshaped)

    def _update(self, host: Host, fact: WorkerFact, revision: int) -> None:
        came_back = host.fact.state not in AT_WORK and fact.state in AT_WORK
        host.fact, host.known = fact, True
        if fact.ephemeral and (host.runs or came_back):
            host.spent = bool(host.runs)
        gpus = GpuFacts(
            revision=revision,
            observed_at=fact.observed_at,
            backend="worker",
            gpus=fact.facts,
            at_once=fact.at_once,
        )
        host.ledger.learn(gpus)
        self._look(host)

    def _look(self, host: Host) -> None:
        """Is it open now?"""
        if host.takes_work and (host.has_slot(0) or (host.ledger.free and host.has_slot(1))):
            self._open[host.id] = host
        else:
            self._open.pop(host.id, None)

    def _drop_if_gone(self, host: Host) -> None:
        if not host.known and not host.runs and not host.ledger.holds:
            self._hosts.pop(host.id, None)
            self._open.pop(host.id, None)


def _capacity(host: Host, now: Now) -> tuple[object, ...]:
    """What decides which jobs it could take now."""
    if not host.takes_work or not host.fresh(now):
        return ()
    return host.fact.max_jobs, host.fact.cpu_count, tuple(gpu.uuid for gpu in host.ledger.free)


def _order(host: Host) -> tuple[int, str]:
    return host.fact.order, host.id


def _shape(fact: WorkerFact) -> tuple[object, ...]:
    """What `matching` depends on."""
    gpus = tuple((gpu.uuid, gpu.memory_total, gpu.excluded) for gpu in fact.facts)
    return fact.labels, gpus, fact.gpus, fact.order, fact.state == CONNECTING
