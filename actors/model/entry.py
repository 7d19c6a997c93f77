"""A job as everybody sees it: the one place that makes an `Entry` from a `Job` (CONTRACT "Entry")."""

from __future__ import annotations

from gpuyard.actors.model import priority
from gpuyard.actors.model.attempt import CLOUD_HOST_PREFIX as CLOUD_HOST_PREFIX, LIVE, LOCAL_HOST, Attempt, is_worker
from gpuyard.actors.model.clock import iso, iso_or_none
from gpuyard.actors.model.job import Job, Status, Target
from gpuyard.actors.model.reasons import Reason
from gpuyard.actors.model.views import AttemptView, Entry

UNREACHABLE = "unreachable"
"""What is shown as the phase of a run whose worker is silent: it may live, or not."""


def job_type(job: Job) -> str:
    """`cloud` or `local` (own GPUs, workers included)."""
    return "cloud" if job.spec.target is Target.CLOUD else "local"


def provider(job: Job, attempt: Attempt | None) -> str:
    """The provider's name; `worker` once a worker has it (or must), `local` otherwise."""
    if job.spec.target is Target.CLOUD:
        return job.spec.provider or "replicate"
    if attempt is not None:
        return "local" if attempt.host == LOCAL_HOST else "worker"
    return "worker" if job.spec.target is Target.WORKER else "local"


def entry_of(
    job: Job,
    attempt: Attempt | None = None,
    *,
    effective: int | None = None,
    position: int | None = None,
    reasons: list[Reason] | None = None,
    unreachable: bool = False,
    worker_name: str | None = None,
    progress: str | None = None,
) -> Entry:
    """The entry of `job`, whose present (or last) attempt is `attempt`.

    `effective`, `position`, `reasons`, `unreachable` (its worker is silent) and `progress` (what its provider says) are
    known only to the Scheduler; without them the entry is as stored.
    """
    live = attempt is not None and attempt.phase in LIVE and job.status is Status.RUNNING
    if effective is None:
        effective = job.priority if job.priority_override is None else job.priority_override
    return Entry(
        id=job.id,
        job_id=job.job_id,
        user_id=job.user_id,
        team_id=job.team_id,
        provider=provider(job, attempt),
        config_name=job.spec.config_name,
        job_type=job_type(job),
        target=job.spec.target,
        priority=job.priority,
        priority_name=priority.name_of(effective),
        priority_override=job.priority_override,
        effective_priority=effective,
        status=job.status,
        phase=_phase(attempt, unreachable) if attempt is not None and live else None,
        position=position,
        queued_at=iso(job.queued_at),
        started_at=iso_or_none(job.started_at),
        completed_at=iso_or_none(job.completed_at),
        estimated_cost=job.spec.estimated_cost,
        requires_approval=job.requires_approval,
        approval_id=job.approval_id,
        attempt=job.attempt,
        max_attempts=job.spec.max_attempts,
        error_message=job.error_message,
        num_processes=job.spec.num_processes,
        allocated_gpus=[gpu.index for gpu in attempt.gpus] if attempt is not None else None,
        worker_id=attempt.host if attempt is not None and is_worker(attempt.host) else None,
        worker_name=worker_name,
        progress=progress,
        reasons=reasons or [],
        metadata=job.spec.metadata,
        name=job.spec.name,
        held=job.held,
        cost_usd=job.cost_usd,
        exit_code=job.exit_code,
        exit_class=job.exit_class,
        retry_of=job.retry_of,
        fence=attempt.fence if attempt is not None else None,
        command=list(job.spec.argv),
        device_ids=list(job.spec.device_ids),
        time_limit=job.spec.time_limit,
        window=str(job.spec.window) if job.spec.window is not None else None,
        secrets=list(job.spec.secrets),
    )


def _phase(attempt: Attempt, unreachable: bool) -> str:
    return UNREACHABLE if unreachable else attempt.phase


def attempt_view(attempt: Attempt) -> AttemptView:
    return AttemptView(
        fence=attempt.fence,
        number=attempt.number,
        phase=attempt.phase,
        host=attempt.host,
        gpus=[gpu.index for gpu in attempt.gpus],
        assigned_at=iso(attempt.assigned_at),
        started_at=iso_or_none(attempt.started_at),
        ended_at=iso_or_none(attempt.ended_at),
        pid=attempt.pid,
        exit_code=attempt.exit_code,
        exit_class=attempt.exit_class,
        error=attempt.error,
        gpu_uuids=[gpu.uuid for gpu in attempt.gpus],
    )
