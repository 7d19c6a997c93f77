"""Orders: what the driver of a host is told of an attempt, and which actor that is."""

from __future__ import annotations

from gpuyard.actors.model import names
from gpuyard.actors.model.attempt import LOCAL_HOST, Attempt, is_worker
from gpuyard.actors.model.cloud_remote import token_of
from gpuyard.actors.model.commands import RunSpec, WantRun
from gpuyard.actors.model.job import Job, JobSpec


def driver_of(host: str) -> str:
    """The actor that makes runs on `host` live and end: this machine's keeper, the registry, the cloud's dispatcher."""
    if host == LOCAL_HOST:
        return names.KEEPER
    return names.WORKERS if is_worker(host) else names.CLOUD


def lease_of(spec: JobSpec, default: float) -> float | None:
    """How long a run on a worker may live without word from us; None for the policy `hold`."""
    return None if spec.partition_policy == "hold" else spec.lease_seconds or default


def want_run(
    job: Job, attempt: Attempt, db_id: str, default_lease: float, cause: str, *, again: bool, started: bool
) -> WantRun:
    """The order for this attempt. On a worker the lease tells how long the run may live without word from us."""
    spec, remote = job.spec, is_worker(attempt.host)
    return WantRun(
        run=_run_spec(job, attempt),
        started=started,
        host=attempt.host,
        lease_seconds=lease_of(spec, default_lease) if remote else None,
        checkpoint_signal=spec.checkpoint_signal if remote else None,
        token=token_of(db_id, attempt.fence),
        asked_at=attempt.assigned_at,
        again=again,
        name=spec.name or "",
        options=spec.provider_options,
        cause=cause,
    )


def _run_spec(job: Job, attempt: Attempt) -> RunSpec:
    """What the keeper needs for this attempt."""
    spec = job.spec
    files = {spec.config_file: spec.config_text} if spec.config_file and spec.config_text is not None else {}
    return RunSpec(
        fence=attempt.fence,
        job_id=job.job_id,
        attempt=attempt.number,
        argv=spec.argv,
        cwd=spec.workdir,
        env=spec.env,
        files=files,
        gpus=attempt.gpus,
        num_processes=spec.num_processes,
        time_limit=spec.time_limit,
        sent=spec.files,
        secrets=spec.secrets,
        owner=job.user_id if spec.secrets else 0,
    )
