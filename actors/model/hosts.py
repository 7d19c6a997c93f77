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
from gpuyard.actors.model.job import Job
from gpuyard.actors.model.labels import Wanted
from gpuyard.actors.model.ledger import Ledger
from gpuyard.actors.model.outbox import Now

CONNECTING, IDLE, BUSY, DRAINING, OFFLINE = "connecting", "idle", "busy", "draining", "offline"
AT_WORK: Final = frozenset({IDLE, BUSY})
MATCHES_KEPT: Final = 16_384


class Need(NamedTuple):
    """What a job asks of a worker: so many GPUs, each of so many bytes, and these labels."""

    gpus: int
    memory: int
    labels: Wanted


def need_of(job: Job) -> Need:
    return Need(job.spec.num_processes, job.spec.gpu_memory, labels.wanted(job.spec.worker_labels))


class Host:
    """One worker. `runs` are the fences of its live attempts, with their number of GPUs."""

    def __init__(self, worker_id: str) -> None:
        self.id = worker_id
        self.fact = WorkerFact(worker_id=worker_id)
        self.known = False
        self.ledger = Ledger()
        self.runs: dict[int, int] = {}
        self.spent = False
        self.standing: tuple[object, ...] = ()

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
        """It was not heard since the server's start, or ever: nobody knows its GPUs, whatever it is taken for."""
        unheard = self.fact.state == CONNECTING or self.fact.observed_at <= 0.0
        return unheard and not self.fact.facts and not self.fact.gpus

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
        # Those that may take one more GPU job now, or one more CPU job, if they are fresh.
        self._with_gpus: dict[str, Host] = {}
        self._with_cores: dict[str, Host] = {}
        # What is reckoned from who there is and what they have, until that changes.
        self._ordered: tuple[Host, ...] | None = None
        self._matching: dict[Need, dict[str, Host]] = {}
        self._largest: dict[int, int | None] = {}
        self.first_heard = False
        self.revision = -1

    def __len__(self) -> int:
        return len(self.all())

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

    def all(self) -> tuple[Host, ...]:
        """Those that the registry knows, in order of registration."""
        if self._ordered is None:
            self._ordered = tuple(sorted((host for host in self._hosts.values() if host.known), key=_order))
        return self._ordered

    def with_holds(self) -> list[Host]:
        return [host for host in self._hosts.values() if host.ledger.holds]

    @property
    def with_gpus(self) -> Iterable[Host]:
        """Those with free GPUs that may take one more job."""
        return self._with_gpus.values()

    def any_open(self, now: Now) -> bool:
        """May any of them take anything at all?"""
        return any(host.fresh(now) for some in (self._with_gpus, self._with_cores) for host in some.values())

    def candidates(self, need: Need) -> list[Host]:
        """Those that match and may take one more job of this kind, if they are fresh and have enough free."""
        some = self._with_gpus if need.gpus else self._with_cores
        matching = self.matching(need)
        if len(some) < len(matching):
            return [host for id_, host in some.items() if id_ in matching]
        return [host for id_, host in matching.items() if id_ in some]

    def matching(self, need: Need) -> dict[str, Host]:
        """Those that could ever run such a job: labels, GPUs and their memory; by id, in order of registration."""
        found = self._matching.get(need)
        if found is None:
            if len(self._matching) >= MATCHES_KEPT:
                self._matching.clear()
            found = {
                host.id: host
                for host in self.all()
                if host.fits(need.gpus, need.memory) and not labels.misses(need.labels, host.fact.labels)
            }
            self._matching[need] = found
        return found

    def largest(self, memory: int) -> int | None:
        """The most GPUs of that memory that one worker has; None without workers, or when one has never been heard."""
        if memory not in self._largest:
            sizes = [None if host.unmeasured else sum(s >= memory for s in host.sizes()) for host in self.all()]
            known = [size for size in sizes if size is not None]
            self._largest[memory] = max(known) if known and len(known) == len(sizes) else None
        return self._largest[memory]

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
            standing = _standing(fact)
            if host.known and standing == host.standing and host.fresh(now):
                # A beat that tells nothing but newer readings: by far the most of them.
                host.fact = fact
                host.ledger.refresh(fact.facts, facts.revision, fact.observed_at)
                continue
            host.standing = standing
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
            self._forget_reckoned()
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

    def _forget_reckoned(self) -> None:
        self._ordered = None
        self._matching.clear()
        self._largest.clear()

    def _look(self, host: Host) -> None:
        """What may it take now?"""
        takes = host.takes_work
        for some, may in (
            (self._with_gpus, takes and bool(host.ledger.free) and host.has_slot(1)),
            (self._with_cores, takes and host.has_slot(0)),
        ):
            if may:
                some[host.id] = host
            else:
                some.pop(host.id, None)

    def _drop_if_gone(self, host: Host) -> None:
        if not host.known and not host.runs and not host.ledger.holds:
            self._hosts.pop(host.id, None)


def _capacity(host: Host, now: Now) -> tuple[object, ...]:
    """What decides which jobs it could take now."""
    if not host.takes_work or not host.fresh(now):
        return ()
    return host.fact.max_jobs, host.fact.cpu_count, tuple(gpu.uuid for gpu in host.ledger.free)


def _order(host: Host) -> tuple[int, str]:
    return host.fact.order, host.id


def _standing(fact: WorkerFact) -> tuple[object, ...]:
    """All that a placement asks of it, but for readings and times."""
    gpus = [(g.uuid, g.index, g.memory_total, g.foreign, g.fault, g.missing, g.excluded) for g in fact.facts]
    return (
        fact.state, fact.takes_work, fact.labels, fact.max_jobs, fact.cpu_count, fact.gpus, fact.at_once,
        fact.ephemeral, fact.order, gpus,
    )  # fmt: skip


def _shape(fact: WorkerFact) -> tuple[object, ...]:
    """What `matching` depends on."""
    gpus = tuple((gpu.uuid, gpu.memory_total, gpu.excluded) for gpu in fact.facts)
    return fact.labels, gpus, fact.gpus, fact.order, fact.state == CONNECTING
