"""Orphans: runs that live on some host and that this database did not order; and who may have more of them.

After an older copy of the database came back, a job that waits in it may have been started since, in a state that is
gone. Starting it again would be a second copy beside the first, so it is kept back

- while a host reports a run of it that we did not order;
- while a worker has not yet been heard to obey this state of the database: until then it may have such a run, or may
  still begin one, by an order that was long on its way. Jobs that were submitted since need not wait for that.

Time ends both where a lease does: whoever is not heard stops its runs when that has lapsed. What is left is for people:
to stop the orphan, to delete the worker, or to say that the job does not run there (`clear`).

A worker that is enrolled in the lost state alone is unknown here, so nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from gpuyard.actors.model.attempt import LOCAL_HOST
from gpuyard.actors.model.events import WorkerFacts
from gpuyard.actors.model.job import Job, JobSpec
from gpuyard.actors.model.shapes import may_go_to_worker

SETTING: Final = "orphans"
NEVER: Final = float("inf")


class Obstacle(NamedTuple):
    """Why a job must not start: `fence` lives on `host` (None: it may have a run of it; "" for the host: nobody knows
    yet which workers there are). `over_at` is when (monotonic) that is over by itself at the latest."""

    host: str
    name: str
    fence: int | None
    over_at: float


class _Host:
    """`runs` are its orphans, fence → job id; `since` (monotonic) is when their leases may have been renewed last."""

    __slots__ = ("departed", "name", "runs", "settled", "since")

    def __init__(self, name: str, since: float) -> None:
        self.name, self.since = name, since
        self.runs: dict[int, str] = {}
        self.settled = self.departed = False


class Orphans:
    """`stored` is what the setting says, `next_job` the smallest unused number of a job; `lease_of` how long a run of
    that job may live without word from us (None: for ever). `kept` are the waiting jobs that must not start now."""

    def __init__(self, db_epoch: int, stored: Any, next_job: int, lease_of: Callable[[JobSpec], float | None]) -> None:
        self.kept: dict[str, Job] = {}
        self._first_heard = False
        self._epoch = db_epoch
        self._lease_of = lease_of
        # Jobs with a smaller number may have been started in a state that is gone.
        self.before = 0
        self._cleared: set[str] = set()
        self.unwritten = False
        if isinstance(stored, dict) and stored.get("epoch") == db_epoch:
            self.before, self._cleared = stored["before"], set(stored["cleared"])
        elif db_epoch > 1:
            self.before, self.unwritten = next_job, True
        here = _Host("this machine", NEVER)
        here.settled = True
        self._hosts: dict[str, _Host] = {LOCAL_HOST: here}
        self._of_job: dict[str, set[str]] = {}
        self._drift = self._margin = self._now = 0.0
        # The answers of `_unheard` at this moment.
        self._waits: dict[float | None, Obstacle | None] = {}

    def setting(self) -> dict[str, Any]:
        """What must outlive a restart."""
        self.unwritten = False
        return {"epoch": self._epoch, "before": self.before, "cleared": sorted(self._cleared)}

    # --- what hosts say ----------------------------------------------------------------------------------------

    def learn(self, facts: WorkerFacts, ours: Callable[[int], bool], now: float) -> bool:
        """True when orphans came or went. `ours` tells of a fence that it is a live run of this database."""
        self._first_heard = True
        self._drift, self._margin = facts.drift, facts.lease_margin
        changed = False
        for fact in facts.workers:
            host = self._hosts.get(fact.worker_id)
            if host is None:
                host = self._hosts[fact.worker_id] = _Host(fact.name, now)
            host.name, host.departed = fact.name, False
            host.settled = host.settled or fact.settled
            if fact.orphans is not None:
                host.since = now
                changed |= self._set(fact.worker_id, fact.orphans, ours)
        named = {fact.worker_id for fact in facts.workers}
        for worker_id in facts.gone if facts.partial else [w for w in self._hosts if w not in named]:
            host = self._hosts.get(worker_id)
            if host is not None and worker_id != LOCAL_HOST:
                host.departed = True
                if host.settled and not host.runs:
                    del self._hosts[worker_id]
        self.at(now)
        return changed

    def seen_here(self, runs: dict[int, str], ours: Callable[[int], bool]) -> bool:
        """All runs that live on this machine. True when it may matter."""
        return self._set(LOCAL_HOST, runs, ours)

    def ended_here(self, fence: int) -> bool:
        """One on this machine is over. True when it was an orphan."""
        runs = self._hosts[LOCAL_HOST].runs
        return fence in runs and self._set(LOCAL_HOST, {f: j for f, j in runs.items() if f != fence}, lambda _: False)

    def _set(self, host_id: str, runs: dict[int, str], ours: Callable[[int], bool]) -> bool:
        host = self._hosts[host_id]
        if not runs and not host.runs:
            return False
        orphans = {fence: job_id for fence, job_id in runs.items() if not ours(fence)}
        if orphans == host.runs:
            return False
        for job_id in host.runs.values():
            self._of_job.get(job_id, set()).discard(host_id)
        host.runs = orphans
        for job_id in orphans.values():
            self._of_job.setdefault(job_id, set()).add(host_id)
        self._of_job = {job_id: hosts for job_id, hosts in self._of_job.items() if hosts}
        return True

    # --- what people say ---------------------------------------------------------------------------------------

    def clear(self, job_id: str) -> None:
        """Somebody knows that it does not run on any worker that is not heard."""
        self._cleared.add(job_id)

    def settle(self) -> None:
        """Nobody need wait any more for workers that have not been heard."""
        self.before = 0
        self._cleared.clear()

    # --- questions ---------------------------------------------------------------------------------------------

    def at(self, now: float) -> None:
        """What is asked from here on is asked at this moment (monotonic)."""
        self._now = max(self._now, now)
        self._waits.clear()

    def lives(self, fence: int, host_id: str) -> bool:
        """Does this host report that orphan?"""
        host = self._hosts.get(host_id)
        return host is not None and fence in host.runs

    def jobs(self) -> Iterable[str]:
        """Those of which orphans are reported."""
        return self._of_job.keys()

    def keeps(self, job: Job) -> bool:
        """Must it not start now? Then it is one of `kept`."""
        if self.obstacle(job) is None:
            return False
        self.kept[job.job_id] = job
        return True

    def obstacle(self, job: Job) -> Obstacle | None:
        """What keeps this waiting job back now; None when it may start."""
        of_job = self._of_job.get(job.job_id, ())
        doubtful = job.id < self.before and may_go_to_worker(job) and job.job_id not in self._cleared
        if not of_job and not doubtful:
            return None
        lease = self._lease_of(job.spec)
        for host_id in of_job:
            host = self._hosts[host_id]
            over_at = self._over_at(host_id, host, lease)
            if over_at > self._now:
                fence = next(fence for fence, job_id in host.runs.items() if job_id == job.job_id)
                return Obstacle(host_id, host.name, fence, over_at)
        return self._unheard(lease) if doubtful else None

    def standing(self) -> tuple[object, ...]:
        """Changes whenever time, or a worker that was heard, may have let some job go."""
        leases = {self._lease_of(job.spec) for job in self.kept.values()}
        free = {lease for lease in leases if self._unheard(lease) is None}
        over = {
            (host_id, lease)
            for host_id, host in self._hosts.items()
            for lease in leases
            if host.runs and self._over_at(host_id, host, lease) <= self._now
        }
        return frozenset(free), frozenset(over)

    def _unheard(self, lease: float | None) -> Obstacle | None:
        """The worker that has to be waited for longest by a job of this lease."""
        if lease not in self._waits:
            waits = [
                Obstacle(host_id, host.name, None, over_at)
                for host_id, host in self._hosts.items()
                if not host.settled and (over_at := self._over_at(host_id, host, lease)) > self._now
            ]
            longest = max(waits, key=lambda one: one.over_at, default=None)
            self._waits[lease] = longest if self._first_heard else Obstacle("", "", None, NEVER)
        return self._waits[lease]

    def _over_at(self, host_id: str, host: _Host, lease: float | None) -> float:
        """When nothing of this lease lives there any more, if it is not heard again."""
        if host_id == LOCAL_HOST:
            return NEVER
        if lease is None:
            return host.since if host.departed else NEVER
        return host.since + lease * (1 + self._drift) + self._margin
