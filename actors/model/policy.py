"""Policy: which pending jobs start now, and where (DESIGN 6). Pure: (yard, now) → assignments in the outbox.

A pass merges the heads of the lanes that fit the free capacity, best rank first, so its cost does not grow with the
number of jobs that wait. A job that may not start never hides the ones behind it.
"""

from __future__ import annotations

from gpuyard.actors.model import place_on_workers, reserve
from gpuyard.actors.model.attempt import LOCAL_HOST
from gpuyard.actors.model.caps import cloud_block, gpu_allowance, gpu_slots, over_user_gpus
from gpuyard.actors.model.entry import CLOUD_HOST_PREFIX
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.job import Job
from gpuyard.actors.model.outbox import Now, Outbox
from gpuyard.actors.model.place_on_workers import Place
from gpuyard.actors.model.reserve import Reservation, among
from gpuyard.actors.model.shapes import Pool
from gpuyard.actors.model.yard import Yard

BACKFILL_LOOK_AHEAD = 1_000


def start_what_may(yard: Yard, now: Now, out: Outbox) -> list[str]:
    """Start every pending job that may start; their ids in the order of starting.

    While `processing_held` stands, local and worker jobs stay (DESIGN 6, "A cancel of a running …").
    """
    if yard.wake_due(now):
        lift_hold(yard)  # a time rule asks for work to start
    started: list[str] = []
    if not yard.processing_held:
        started += _start_on_hosts(yard, now, out)
    return started + _start_cloud_jobs(yard, now, out)


def process(yard: Yard, now: Now, out: Outbox) -> list[str]:
    """Something asks for work to start: lift `processing_held`, then start what may; the ids that started."""
    lift_hold(yard)
    return start_what_may(yard, now, out)


def lift_hold(yard: Yard) -> None:
    """The next event that asks for work to start ends `processing_held`."""
    yard.processing_held = False


def place(yard: Yard, job: Job, now: Now) -> list[GpuFact] | None:
    """The GPUs that `job` would get this moment on this host, as far as GPUs decide; None when there are too few.

    `job` need not be in the yard yet.
    """
    if not yard.ledger.fresh(now.monotonic):
        return None
    return _chosen(yard, job, reserve.find(yard, now), now)


def _chosen(yard: Yard, job: Job, reservation: Reservation | None, now: Now) -> list[GpuFact] | None:
    """The free GPUs for `job`, with respect to the reservation that stands; None when there are too few."""
    usable = yard.ledger.free
    if (
        reservation is not None
        and reservation.binds(yard.rank_key(job, now))
        and not reservation.lets_backfill(job, now)
    ):
        usable = [gpu for gpu in usable if gpu.uuid not in reservation.kept]
    chosen = among(usable, tuple(job.spec.wanted_devices), job.spec.gpu_memory)[: job.spec.num_processes]
    return chosen if len(chosen) == job.spec.num_processes else None


def _start_on_hosts(yard: Yard, now: Now, out: Outbox) -> list[str]:
    """Local and worker jobs in one order; a job that may go either way goes to a worker."""
    started: list[str] = []
    while True:
        places = (_best_on_workers(yard, now), _best_gpu_place(yard, now), _best_cpu_place(yard, now))
        place = min((place for place in places if place is not None), key=lambda place: place.key, default=None)
        if place is None:
            return started
        if over_user_gpus(yard, place.job):
            yard.shapes.park(place.job, ("user", str(place.job.user_id)))
            continue
        yard.assign(place.job, place.host, place.gpus, now, out)
        started.append(place.job.job_id)


def _best_on_workers(yard: Yard, now: Now) -> Place | None:
    return None if "worker" in yard.paused else place_on_workers.best(yard, now)


def _best_gpu_place(yard: Yard, now: Now) -> Place | None:
    """The first job in order that local GPUs may have."""
    if "local" in yard.paused or gpu_slots(yard) <= 0 or not yard.ledger.free or not yard.ledger.fresh(now.monotonic):
        return None
    reservation = reserve.find(yard, now)
    job = _best_gpu_job(yard, reservation, now)
    if job is None:
        return None
    gpus = _chosen(yard, job, reservation, now)
    assert gpus is not None, "a job that fits its lane can be placed"
    return Place(yard.rank_key(job, now), job, LOCAL_HOST, gpus)


def _best_gpu_job(yard: Yard, reservation: Reservation | None, now: Now) -> Job | None:
    """The first job in order that fits the free GPUs, the GPU limit and the reservation."""
    allowance = gpu_allowance(yard)
    free = yard.ledger.free
    unkept = free if reservation is None else [gpu for gpu in free if gpu.uuid not in reservation.kept]
    best: tuple[tuple[int, int], Job] | None = None
    for lane in yard.shapes.lanes(Pool.GPU):
        if lane.need > allowance or len(among(free, lane.devices, lane.memory)) < lane.need:
            continue
        head = yard.shapes.head(Pool.GPU, lane)
        if head is None:
            continue
        key = yard.rank_key(head[0], now)
        bound = reservation is not None and reservation.binds(key)
        if bound and len(among(unkept, lane.devices, lane.memory)) < lane.need:
            continue
        if best is None or key < best[0]:
            best = key, head[0]
    if best is not None or reservation is None or reservation.complete_at is None:
        return best[1] if best else None
    return _backfill(yard, reservation, allowance, now)


def _backfill(yard: Yard, reservation: Reservation, allowance: float, now: Now) -> Job | None:
    """The first job in order that ends, by its own time limit, before the kept GPUs could be complete."""
    free = yard.ledger.free
    waiting = [job for job in yard.shapes.jobs(Pool.GPU) if reservation.lets_backfill(job, now)]
    waiting.sort(key=lambda job: yard.rank_key(job, now))
    for job in waiting[:BACKFILL_LOOK_AHEAD]:
        need = job.spec.num_processes
        spec = job.spec
        if need <= allowance and len(among(free, tuple(spec.wanted_devices), spec.gpu_memory)) >= need:
            return job
    return None


def _best_cpu_place(yard: Yard, now: Now) -> Place | None:
    """The first job in order that this machine's cores may have."""
    if "local" in yard.paused or len(yard.running[Pool.CPU]) >= yard.limits.local_cpu_job_max_concurrent:
        return None
    job = _first(yard, Pool.CPU, now)
    return Place(yard.rank_key(job, now), job, LOCAL_HOST, []) if job is not None else None


def _start_cloud_jobs(yard: Yard, now: Now, out: Outbox) -> list[str]:
    started: list[str] = []
    if "cloud" in yard.paused:
        return started
    while yard.clouds.available and len(yard.running[Pool.CLOUD]) < yard.limits.max_concurrent:
        job = _first(yard, Pool.CLOUD, now)
        if job is None:
            break
        cause = cloud_block(yard, job)
        if cause is not None:
            yard.shapes.park(job, cause)
            continue
        yard.assign(job, f"{CLOUD_HOST_PREFIX}{job.spec.provider}", [], now, out)
        started.append(job.job_id)
    return started


def _first(yard: Yard, pool: Pool, now: Now) -> Job | None:
    """The first job in order of a pool whose lanes differ only in rank (and provider)."""
    best: tuple[tuple[int, int], Job] | None = None
    for lane in yard.shapes.lanes(pool):
        if pool is Pool.CLOUD and lane.provider not in yard.clouds.available:
            continue
        head = yard.shapes.head(pool, lane)
        if head is not None:
            key = yard.rank_key(head[0], now)
            if best is None or key < best[0]:
                best = key, head[0]
    return best[1] if best else None
