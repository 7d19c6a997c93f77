"""How long GPUs stood idle, here and on workers, while a job that could have used them waited."""

from __future__ import annotations

from gpuyard.actors.model.hosts import Need
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.shapes import Lane, Pool
from gpuyard.actors.model.yard import Yard

POOLS = (Pool.WORKER, Pool.GPU)


def note(yard: Yard, now: Now) -> None:
    """Count on; after each decision. Each GPU counts."""
    count, since = yard.idle
    yard.gpu_idle_seconds += count * max(0.0, now.monotonic - since)
    yard.idle = (_here(yard) + _there(yard, now), now.monotonic)


def _here(yard: Yard) -> int:
    free = [] if "local" in yard.paused else yard.ledger.free
    wanted = any(lane.need <= len(free) for lane in yard.shapes.lanes(Pool.GPU)) if free else False
    return len(free) if wanted else 0


def _there(yard: Yard, now: Now) -> int:
    open_ = [] if "worker" in yard.paused else [host for host in yard.hosts.with_gpus if host.fresh(now)]
    if not open_:
        return 0
    needs = {_need(lane) for pool in POOLS for lane in yard.shapes.lanes(pool) if lane.remote and lane.need}
    wanting = [(need, yard.hosts.matching(need)) for need in needs]
    return sum(
        len(host.ledger.free)
        for host in open_
        if any(host.id in ids and len(host.usable(need.memory)) >= need.gpus for need, ids in wanting)
    )


def _need(lane: Lane) -> Need:
    return Need(lane.need, lane.memory, lane.labels)
