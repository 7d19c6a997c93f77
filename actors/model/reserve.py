"""Reservation: a big job starts in bounded time although small ones keep coming (DESIGN 6, "Skipping").

At most one per host pool (here the local one; `place_on_workers` has those of the workers): the first job in order
that has waited for GPUs alone longer than `reserve_after_seconds`. Freed GPUs are then kept for it. Only a job whose
time limit ends before the kept GPUs could be complete may use them; a job before it in order is not bound.
"""

from __future__ import annotations

from typing import NamedTuple

from gpuyard.actors.model.caps import over_user_gpus
from gpuyard.actors.model.commit import Hold
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.job import Job
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.shapes import Pool
from gpuyard.actors.model.yard import Yard


class Reservation(NamedTuple):
    """`kept` are the UUIDs kept for `job`; `complete_at` (epoch seconds) when they could all be free, if known."""

    job: Job
    key: tuple[int, int]
    kept: frozenset[str]
    complete_at: float | None

    def binds(self, key: tuple[int, int]) -> bool:
        """Must a job with this rank key leave the kept GPUs alone?"""
        return key > self.key

    def lets_backfill(self, job: Job, now: Now) -> bool:
        limit = job.spec.time_limit
        return self.complete_at is not None and limit is not None and now.wall + limit <= self.complete_at


def among(gpus: list[GpuFact], devices: tuple[int, ...], memory: int = 0) -> list[GpuFact]:
    """The GPUs that a job may use which prefers `devices` and needs `memory` bytes on each."""
    if not devices and not memory:
        return gpus
    return [gpu for gpu in gpus if (not devices or gpu.index in devices) and gpu.memory_total >= memory]


def find(yard: Yard, now: Now) -> Reservation | None:
    """The reservation that stands now, if any."""
    best: tuple[tuple[int, int], Job] | None = None
    free = yard.ledger.free
    for lane in yard.shapes.lanes(Pool.GPU):
        if len(among(free, lane.devices, lane.memory)) >= lane.need:
            continue
        head = yard.shapes.head(Pool.GPU, lane)
        if head is None:
            continue
        job, awake_since = head
        if over_user_gpus(yard, job):
            continue  # it does not wait for GPUs alone
        if now.wall - max(job.ranked_at, awake_since) < yard.limits.reserve_after_seconds:
            continue
        key = yard.rank_key(job, now)
        if (best is None or key < best[0]) and _kept(yard, lane.need, lane.devices, lane.memory) is not None:
            best = key, job
    if best is None:
        return None
    key, job = best
    kept = _kept(yard, job.spec.num_processes, tuple(job.spec.wanted_devices), job.spec.gpu_memory)
    assert kept is not None
    ends = [ends_at(yard, yard.ledger.holds[uuid]) for uuid in kept if uuid in yard.ledger.holds]
    known = [end for end in ends if end is not None]
    return Reservation(job, key, frozenset(kept), max(known, default=now.wall) if len(known) == len(ends) else None)


def _kept(yard: Yard, need: int, devices: tuple[int, ...], memory: int) -> list[str] | None:
    """The GPUs that will be complete soonest: free ones first, then by the known ends of their runs.

    None when the host could not give so many even if all its runs ended: then keeping any would help nobody.
    """
    cap = yard.limits.local_gpu_max_concurrent
    candidates = [gpu for gpu in among(yard.ledger.known, devices, memory) if gpu.usable]
    if len(candidates) < need or (cap is not None and need > cap):
        return None
    forever = float("inf")

    def when(gpu: GpuFact) -> tuple[float, int]:
        if gpu.uuid not in yard.ledger.holds:
            return (0.0, gpu.index)
        end = ends_at(yard, yard.ledger.holds[gpu.uuid])
        return (forever if end is None else end, gpu.index)

    return [gpu.uuid for gpu in sorted(candidates, key=when)[:need]]


def ends_at(yard: Yard, hold: Hold) -> float | None:
    """When the run on a held GPU must have ended, by its time limit (epoch seconds)."""
    attempt = yard.attempts.get(hold.fence)
    job = yard.jobs.get(attempt.job_id) if attempt is not None else None
    if attempt is None or job is None or job.spec.time_limit is None:
        return None
    return (attempt.started_at or attempt.assigned_at) + job.spec.time_limit
