"""What `estimate.py` needs to say when a pending job starts: who runs where it may go, and who stands before it."""

from __future__ import annotations

from collections.abc import Callable

from gpuyard.actors.model.hosts import Host, need_of
from gpuyard.actors.model.job import Job, Target
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.reserve import among
from gpuyard.actors.model.shapes import Pool, may_go_to_worker, pool_of
from gpuyard.actors.model.views import Forecast
from gpuyard.actors.model.yard import Yard

AHEAD = 500

Run = tuple[float, int, str | None, float | None]


def of_pool(yard: Yard, job: Job, place: int, now: Now) -> Forecast | None:
    """Of a job that goes to one place: this machine, or the cloud."""
    pool = pool_of(job)
    if pool is Pool.WORKER:
        return None
    return Forecast(
        running=[_run(yard, other, now) for other in yard.running[pool].values()],
        ahead=_ahead(yard, place, now, lambda other: pool_of(other) is pool),
        need=job.spec.num_processes,
        slots={
            Pool.GPU: yard.limits.local_job_max_concurrent,
            Pool.CPU: yard.limits.local_cpu_job_max_concurrent,
            Pool.CLOUD: yard.limits.max_concurrent,
        }[pool],
        gpus=sum(gpu.usable for gpu in yard.ledger.known) if pool is Pool.GPU else 0,
    )


def of_hosts(yard: Yard, job: Job, place: int, now: Now) -> Forecast | None:
    """Of a job that may go to workers, and maybe to this machine.

    Who stands before it is taken to fit wherever it does, so among workers of many kinds it may start sooner than said.
    """
    need = need_of(job)
    hosts = [host for host in yard.hosts.matching(need).values() if host.takes_work and host.fresh(now)]
    places = [(len([g for g in host.ledger.known if g.usable]), _slots(host, need.gpus)) for host in hosts]
    running = [
        (n, yard.attempts[fence].job_id)
        for n, host in enumerate(hosts)
        for fence, gpus in host.runs.items()
        if need.gpus or not gpus
    ]
    if job.spec.target is Target.AUTO:
        running += [(len(places), other.job_id) for other in yard.running[pool_of(job)].values()]
        places.append(_here(yard, job))
    if not places:
        return None
    theirs = {host.id for host in hosts}

    def competes(other: Job) -> bool:
        if other.spec.target is not Target.WORKER and job.spec.target is Target.AUTO:
            return pool_of(other) is pool_of(job)
        if not may_go_to_worker(other) or other.spec.is_cpu is not job.spec.is_cpu:
            return False
        return not theirs.isdisjoint(yard.hosts.matching(need_of(other)))

    return Forecast(
        running=[_run(yard, yard.jobs[job_id], now) for _, job_id in running],
        ahead=_ahead(yard, place, now, competes),
        need=need.gpus,
        slots=None,
        gpus=max(gpus for gpus, _ in places),
        places=places,
        at=[n for n, _ in running],
    )


def _slots(host: Host, gpus: int) -> int | None:
    """How many jobs a worker runs at once; CPU jobs are counted by its cores."""
    return host.fact.max_jobs if gpus else max(1, host.fact.cpu_count)


def _here(yard: Yard, job: Job) -> tuple[int, int | None]:
    if job.spec.is_cpu:
        return 0, yard.limits.local_cpu_job_max_concurrent
    usable = [gpu for gpu in among(yard.ledger.known, (), job.spec.gpu_memory) if gpu.usable]
    return len(usable), yard.limits.local_job_max_concurrent


def _run(yard: Yard, job: Job, now: Now) -> Run:
    attempt = yard.attempt_of[job.job_id]
    ran = max(0.0, now.wall - (attempt.started_at or attempt.assigned_at))
    return ran, job.spec.num_processes, job.spec.config_name, job.spec.time_limit


def _ahead(
    yard: Yard, place: int, now: Now, competes: Callable[[Job], bool]
) -> list[tuple[int, str | None, float | None]] | None:
    """Those before position `place` that want the same; None when they are too many to look at."""
    if place > AHEAD:
        return None
    before = yard.order.page(0, place - 1, now.wall, yard.limits.starvation_threshold_minutes)
    return [
        (other.spec.num_processes, other.spec.config_name, other.spec.time_limit)
        for other in before
        if not other.held and competes(other)
    ]
