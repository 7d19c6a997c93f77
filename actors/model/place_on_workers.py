"""Placement on workers: which waiting job goes to which of them, and for which one GPUs are kept (DESIGN 6, 8).

A worker may have a job when all its labels match, its GPUs suffice in number and memory, it was heard lately and takes
work. Among several: an idle one first, then the tightest fit, then the order of registration. `device_ids` are GPUs of
the server and do not count here: which indices a worker has says nothing to whoever submits.

Reservations: at most one a pool of workers. Two jobs are of one pool when a worker could serve both, so a job that
waits for an H100 is not held up by the one that an A100 is kept for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from gpuyard.actors.model.caps import over_user_gpus
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.hosts import Host, Need, need_of
from gpuyard.actors.model.job import Job
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.reserve import Reservation, ends_at
from gpuyard.actors.model.shapes import Lane, Pool, may_go_to_worker
from gpuyard.actors.model.yard import Yard

POOLS = (Pool.WORKER, Pool.GPU, Pool.CPU)
BACKFILL_LOOK_AHEAD = 1_000


class Place(NamedTuple):
    """A job that may start, its rank key, and where."""

    key: tuple[int, int]
    job: Job
    host: str
    gpus: list[GpuFact]


class Kept(NamedTuple):
    """A reservation on a worker: `reservation.kept` are UUIDs of GPUs of `host`."""

    host: str
    reservation: Reservation


def best(yard: Yard, now: Now) -> Place | None:
    """The first job in order that a worker may have now, and which one."""
    if not yard.hosts.any_open(now):
        return None
    kept = Reservations(yard, now)
    found: Place | None = None
    for lane, job, _ in _heads(yard):
        key = yard.rank_key(job, now)
        if (found is None or key < found.key) and _roomy(yard, _need(lane), now):
            found = _place(yard, job, key, kept, now) or found
    return found or _backfill(yard, kept, now)


def place(yard: Yard, job: Job, now: Now) -> Place | None:
    """Where `job` would go this moment, as far as workers decide; it need not be in the yard yet."""
    if not may_go_to_worker(job) or "worker" in yard.paused:
        return None
    return _place(yard, job, yard.rank_key(job, now), Reservations(yard, now), now)


def _need(lane: Lane) -> Need:
    return Need(lane.need, lane.memory, lane.labels)


def _heads(yard: Yard) -> Iterator[tuple[Lane, Job, float]]:
    """The oldest awake job of every lane whose jobs may go to a worker, and since when it is awake."""
    for pool in POOLS:
        for lane in yard.shapes.lanes(pool):
            head = yard.shapes.head(pool, lane) if lane.remote else None
            if head is not None:
                yield lane, *head


def _roomy(yard: Yard, need: Need, now: Now) -> list[tuple[Host, list[GpuFact]]]:
    """The workers that have room for such a job now, with their free GPUs, kept or not."""
    found = []
    for host in yard.hosts.candidates(need):
        if host.fresh(now):
            usable = host.usable(need.memory)
            if len(usable) >= need.gpus:
                found.append((host, usable))
    return found


def _place(yard: Yard, job: Job, key: tuple[int, int], kept: Reservations, now: Now) -> Place | None:
    need = need_of(job)
    found: tuple[tuple[bool, int, int, str], Host, list[GpuFact]] | None = None
    for host, free in _roomy(yard, need, now):
        usable = _left_for(host, free, job, key, kept, now)
        if len(usable) < need.gpus:
            continue
        rank = (bool(host.runs), len(usable) - need.gpus, host.fact.order, host.id)
        if found is None or rank < found[0]:
            found = rank, host, usable
    return Place(key, job, found[1].id, found[2][: need.gpus]) if found is not None else None


def _left_for(
    host: Host, free: list[GpuFact], job: Job, key: tuple[int, int], kept: Reservations, now: Now
) -> list[GpuFact]:
    """Of these free GPUs of a worker those that are not kept for a job before this one."""
    taken: frozenset[str] = frozenset()
    for one in kept.all if free else ():
        if one.host == host.id and one.reservation.binds(key) and not one.reservation.lets_backfill(job, now):
            taken = one.reservation.kept
    return [gpu for gpu in free if gpu.uuid not in taken]


def _backfill(yard: Yard, kept: Reservations, now: Now) -> Place | None:
    """The first job in order that ends, by its own time limit, before kept GPUs could be complete."""
    complete = [one.reservation for one in kept.all if one.reservation.complete_at is not None]
    if not complete:
        return None
    waiting = [
        (yard.rank_key(job, now), job)
        for pool in (Pool.WORKER, Pool.GPU)
        for job in yard.shapes.jobs(pool)
        if may_go_to_worker(job) and any(one.lets_backfill(job, now) for one in complete)
    ]
    for key, job in sorted(waiting, key=lambda pair: pair[0])[:BACKFILL_LOOK_AHEAD]:
        found = _place(yard, job, key, kept, now)
        if found is not None:
            return found
    return None


# --- reservations ----------------------------------------------------------------------------------------------


class Reservations:
    """The reservations that stand on workers now; found when they are first asked for."""

    def __init__(self, yard: Yard, now: Now) -> None:
        self._yard, self._now = yard, now

    @cached_property
    def all(self) -> list[Kept]:
        return reservations(self._yard, self._now)


def reservations(yard: Yard, now: Now) -> list[Kept]:
    """The reservations that stand on workers now."""
    waited = []
    for lane, job, awake_since in _heads(yard):
        if lane.need == 0 or now.wall - max(job.ranked_at, awake_since) < yard.limits.reserve_after_seconds:
            continue
        if over_user_gpus(yard, job):
            continue  # it does not wait for GPUs alone
        need = _need(lane)
        if not _roomy(yard, need, now):
            waited.append((yard.rank_key(job, now), job, need))
    found: list[Kept] = []
    served: set[str] = set()
    for key, job, need in sorted(waited, key=lambda one: one[0]):
        pool = yard.hosts.matching(need)
        if served.isdisjoint(pool):
            at_work = [host for host in pool.values() if host.takes_work and host.fresh(now)]
            kept = _kept(yard, key, job, need, at_work, now)
            if kept is not None:
                found.append(kept)
                served.update(pool)
    return found


def _kept(yard: Yard, key: tuple[int, int], job: Job, need: Need, pool: list[Host], now: Now) -> Kept | None:
    """The worker whose GPUs will be complete soonest, and which ones; None when none could ever give so many."""
    found: tuple[tuple[float, int, int], Host, list[str]] | None = None
    for host in pool:
        candidates = [gpu for gpu in host.ledger.known if gpu.usable and gpu.memory_total >= need.memory]
        if len(candidates) < need.gpus:
            continue
        ends = sorted((_free_at(yard, host, gpu), gpu.index, gpu.uuid) for gpu in candidates)[: need.gpus]
        held = sum(uuid in host.ledger.holds for _, _, uuid in ends)
        rank = (ends[-1][0], held, host.fact.order)
        if found is None or rank < found[0]:
            found = rank, host, [uuid for _, _, uuid in ends]
    if found is None:
        return None
    (complete, _, _), host, uuids = found
    complete_at = None if complete == float("inf") else max(complete, now.wall)
    return Kept(host.id, Reservation(job, key, frozenset(uuids), complete_at))


def _free_at(yard: Yard, host: Host, gpu: GpuFact) -> float:
    """When a GPU is free again: 0 now, without end where nobody knows."""
    hold = host.ledger.holds.get(gpu.uuid)
    if hold is None:
        return 0.0
    end = ends_at(yard, hold)
    return float("inf") if end is None else end
