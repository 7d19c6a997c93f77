"""Why no worker takes a job now: none fits (with the nearest miss), those that fit are away, or they are busy.

The same questions as in `place_on_workers` are asked, so a job without a reason here is placed by the next pass.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Any

from gpuyard.actors.model import gpu_words, labels
from gpuyard.actors.model.clock import iso
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.hosts import CONNECTING, DRAINING, OFFLINE, Host, Need, need_of
from gpuyard.actors.model.job import Job
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.place_on_workers import Kept, place, reservations
from gpuyard.actors.model.reasons import BLOCKING_SHOWN, Reason, ReasonCode
from gpuyard.actors.model.yard import Yard

WORKERS_SHOWN = 4
WORKERS_LOOKED_AT = 8


def why(yard: Yard, job: Job, now: Now) -> Iterator[Reason]:
    """Nothing when a worker may have it now. `job` need not be in the yard yet."""
    if place(yard, job, now) is not None:
        return
    need = need_of(job)
    fitting = list(yard.hosts.matching(need).values())
    at_work = [host for host in fitting if host.takes_work and host.fresh(now)]
    roomy = [h for h in yard.hosts.candidates(need) if h.fresh(now) and len(h.usable(need.memory)) >= need.gpus]
    if not fitting:
        yield _too_big(yard, job) or _no_match(yard, job, need)
    elif not at_work:
        yield _away(fitting, now)
    elif roomy:
        yield _kept(yard, job, roomy, now)
    else:
        yield _busy(yard, need, at_work)


def _too_big(yard: Yard, job: Job) -> Reason | None:
    most = yard.hosts.largest(job.spec.gpu_memory)
    if most is None or job.spec.num_processes <= most:
        return None
    return Reason(
        code=ReasonCode.TOO_BIG,
        text=f"It asks for {gpu_words.asked(job.spec)}; no worker has more than {most}.",
        detail={"need": job.spec.num_processes, "most": most},
        unblock="submit it with fewer GPUs",
        never=True,
    )


def _no_match(yard: Yard, job: Job, need: Need) -> Reason:
    hosts = yard.hosts.all()
    detail: dict[str, Any] = {"worker_labels": job.spec.worker_labels, "need": need.gpus}
    if not hosts:
        text = "No worker is registered."
    else:
        misses, nearest = min(((_misses(job, need, host), host) for host in hosts), key=lambda pair: len(pair[0]))
        text = f"No worker fits it; the nearest is {nearest.name}: {'; '.join(misses)}."
        detail |= {"nearest": {"worker_id": nearest.id, "name": nearest.name, "misses": misses}}
    wanted = "".join(f" --label {name}={pattern}" for name, pattern in need.labels)
    return Reason(
        code=ReasonCode.NO_MATCHING_WORKER,
        text=text,
        detail=detail,
        unblock=f"gpuyard workers add NAME{wanted}",
        never=True,
    )


def _misses(job: Job, need: Need, host: Host) -> list[str]:
    """What this worker lacks, in words, one a label (and one for its GPUs)."""
    found = []
    for miss in labels.misses(need.labels, host.fact.labels):
        has = f"its {miss.name} is {miss.has}, not" if miss.has is not None else f"it has no label {miss.name} for"
        found.append(f"{has} {miss.pattern}")
    if not host.fits(need.gpus, need.memory):
        count = sum(size >= need.memory for size in host.sizes())
        found.append(f"it has {count} of the {gpu_words.asked(job.spec)}")
    return found


def _away(fitting: Sequence[Host], now: Now) -> Reason:
    """None of those that fit is there to take work."""
    shown = fitting[:WORKERS_SHOWN]
    more = f"; {len(fitting) - len(shown)} more" if len(fitting) > len(shown) else ""
    drained = [host for host in fitting if host.fact.state == DRAINING]
    refused = [host for host in fitting if host.fact.state not in (DRAINING, OFFLINE, CONNECTING) and host.fact.why]
    if drained:
        unblock = f"gpuyard workers undrain {drained[0].id}"
    elif refused:
        unblock = f"gpuyard workers get {refused[0].id}"
    else:
        unblock = f"start `gpuyard worker` on {fitting[0].name}"
    return Reason(
        code=ReasonCode.WORKERS_OFFLINE,
        text=f"No worker that fits it takes work now: {'; '.join(_absence(host, now) for host in shown)}{more}.",
        detail={"workers": [{"worker_id": h.id, "name": h.name, "state": h.fact.state} for h in shown]},
        unblock=unblock,
        never=len(drained) + len(refused) == len(fitting),
    )


def _absence(host: Host, now: Now) -> str:
    fact = host.fact
    if fact.state == DRAINING:
        return f"{host.name} is being drained"
    if fact.state in (OFFLINE, CONNECTING):
        heard = f", last heard at {iso(fact.heard_at)}" if fact.heard_at is not None else ", never heard yet"
        return f"{host.name} is {fact.state}{heard}"
    if fact.why:
        return f"{host.name}: {fact.why}"
    if host.spent or not fact.takes_work:
        return f"{host.name} has had its one job" if host.spent else f"{host.name} is leaving"
    return f"{host.name} has not been heard for {now.monotonic - fact.observed_at:.0f} s"


def _kept(yard: Yard, job: Job, roomy: Sequence[Host], now: Now) -> Reason:
    key = yard.rank_key(job, now)
    kept: Kept = next(
        k for k in reservations(yard, now) if k.reservation.binds(key) and k.host in {h.id for h in roomy}
    )
    host, other = yard.hosts.get(kept.host), kept.reservation.job.job_id
    return Reason(
        code=ReasonCode.RESERVED_FOR_JOB,
        text=f"The free GPUs of {host.name} are kept for job {other}, which has waited longer.",
        detail={
            "worker_id": host.id,
            "kept": sorted(gpu.index for gpu in host.fact.facts if gpu.uuid in kept.reservation.kept),
        },
        blocking_jobs=(other,),
        unblock=f"gpuyard jobs hold {other}",
    )


def _busy(yard: Yard, need: Need, at_work: Sequence[Host]) -> Reason:
    emptiest = heapq.nlargest(WORKERS_LOOKED_AT, at_work, key=lambda host: len(host.ledger.free))
    shown = emptiest[:WORKERS_SHOWN]
    more = f"; {len(at_work) - len(shown)} more" if len(at_work) > len(shown) else ""
    ways = [way for host in emptiest if (way := _way_in(yard, host, need)) is not None]
    cancel = min(ways, key=len, default=())[:BLOCKING_SHOWN]
    cure = next((found for host in emptiest if (found := _cure(host, need))), "")
    unblock = f"gpuyard jobs cancel {' '.join(cancel)} && gpuyard queue process" if cancel else cure or "gpuyard gpus"
    broken = [words for host in shown for words in _out_of_service(host, need)][:WORKERS_SHOWN]
    loads = f"The workers that fit it are busy: {'; '.join(_load(host, need) for host in shown)}{more}."
    return Reason(
        code=ReasonCode.WORKERS_BUSY,
        text=" ".join([loads, *broken]),
        detail={
            "need": need.gpus,
            "workers": [
                {"worker_id": h.id, "name": h.name, "free": len(h.usable(need.memory)), "running": len(h.runs)}
                for h in shown
            ],
        },
        blocking_jobs=cancel,
        unblock=unblock,
        never=not cancel and bool(cure),
    )


def _broken(host: Host, need: Need) -> list[GpuFact]:
    """Its GPUs that would do for such a job, were they not out of service."""
    return [gpu for gpu in host.fact.facts if gpu_words.standing(gpu) and gpu.memory_total >= need.memory]


def _out_of_service(host: Host, need: Need) -> Iterator[str]:
    for gpu in _broken(host, need):
        name = gpu_words.named(gpu, host.name)
        yield f"GPU {name} is {gpu_words.standing(gpu)}: {gpu_words.trouble(gpu, host.name)}."


def _cure(host: Host, need: Need) -> str:
    """The commands that let the job in although every run here goes on; "" where none does."""
    curable = [gpu for gpu in _broken(host, need) if gpu_words.curable(gpu) and gpu.uuid not in host.ledger.holds]
    short = need.gpus - len(host.usable(need.memory))
    if not host.has_slot(need.gpus) or not 0 < short <= len(curable):
        return ""
    return gpu_words.cure(curable[:short], host.name)


def _load(host: Host, need: Need) -> str:
    if not host.has_slot(need.gpus):
        most = host.fact.max_jobs if host.fact.max_jobs is not None else host.fact.cpu_count
        return f"{host.name} runs {len(host.runs)} of at most {most} jobs"
    return f"{host.name} has {len(host.usable(need.memory))} of {len(host.sizes())} GPUs free"


def _way_in(yard: Yard, host: Host, need: Need) -> tuple[str, ...] | None:
    """The jobs of a worker whose end would let this one in, as few as possible; None when that would not help."""
    jobs = {fence: yard.attempts[fence].job_id for fence in host.runs}
    if not host.has_slot(need.gpus) and not need.gpus:
        light = [jobs[fence] for fence, gpus in host.runs.items() if not gpus] or list(jobs.values())
        return tuple(light[:1])
    freed = dict.fromkeys(jobs, 0)
    for gpu in host.ledger.known:
        hold = host.ledger.holds.get(gpu.uuid)
        if hold is not None and hold.fence in freed and gpu.usable and gpu.memory_total >= need.memory:
            freed[hold.fence] += 1
    short = need.gpus - len(host.usable(need.memory))
    ending: list[str] = []
    for fence in sorted(freed, key=lambda fence: (-freed[fence], fence)):
        if short <= 0 and (ending or host.has_slot(need.gpus)):
            break
        ending.append(jobs[fence])
        short -= freed[fence]
    return tuple(ending) if short <= 0 else None
