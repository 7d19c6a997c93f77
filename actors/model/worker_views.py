"""A worker as everybody sees it: the one place that makes a `WorkerView` from what the fleet knows."""

from __future__ import annotations

from gpuyard.actors.model.clock import iso, iso_or_none
from gpuyard.actors.model.fleet import Worker
from gpuyard.actors.model.fleet.facts import why_not
from gpuyard.actors.model.fleet.worker import has_ended
from gpuyard.actors.model.gpu import GIB
from gpuyard.actors.model.views import OrphanView, WorkerView

PERSISTENT, EPHEMERAL = "persistent", "ephemeral"


def view_of(worker: Worker, unreachable: tuple[int, ...] = ()) -> WorkerView:
    """`unreachable` are the fences of its runs that may live or not."""
    record, beat, jobs = worker.record, worker.beat, worker.jobs
    gpus = [gpu for gpu in beat.gpus if not gpu.excluded] if beat is not None else []
    named = (want.order.run.job_id for f in unreachable if (want := worker.wants.get(f)) is not None and want.order)
    return WorkerView(
        id=record.id,
        name=record.name,
        status=worker.state,
        worker_type=EPHEMERAL if record.ephemeral else PERSISTENT,
        gpu_count=len(gpus) if beat is not None else None,
        gpu_name=gpus[0].name if gpus else None,
        gpu_vram_gb=round(min(gpu.memory_total for gpu in gpus) / GIB, 1) if gpus else None,
        labels={**record.labels, **(beat.labels if beat is not None else {})},
        current_job_id=jobs[0] if jobs else None,
        current_job_ids=jobs,
        last_heartbeat=iso_or_none(record.heard_at),
        connected_at=iso_or_none(record.connected_at),
        enrolled_at=iso(record.created_at),
        drained=record.drained,
        max_jobs=beat.max_jobs if beat is not None else None,
        cpu_count=beat.cpu_count if beat is not None else None,
        version=beat.version or None if beat is not None else None,
        address=worker.session.address or None if worker.session is not None else None,
        why=why_not(worker) or None,
        unreachable=list(named),
        orphans=_orphans(worker),
        clock_ahead_seconds=round(worker.session.clock.ahead, 1) or None if worker.session is not None else None,
    )


def _orphans(worker: Worker) -> list[OrphanView]:
    return [
        OrphanView(fence=fence, job_id=stray.report.job_id, pid=stray.report.pid)
        for fence, stray in sorted(worker.strays.items())
        if not has_ended(stray.report)
    ]
