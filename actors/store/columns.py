"""Jobs and attempts as rows, and back. Times become ISO text with milliseconds; all else is kept exactly."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gpuyard.actors.model import entry
from gpuyard.actors.model.attempt import Attempt, GpuRef, Phase
from gpuyard.actors.model.clock import epoch, iso, iso_or_none
from gpuyard.actors.model.job import Job, JobSpec, Status

# Columns of `queue` in the order of `job_row`; `allocated_gpus` is kept by the attempts' rows.
JOB_COLUMNS: Final = (
    "id", "job_id", "user_id", "team_id", "provider", "config_name", "priority", "priority_override", "status",
    "position", "queued_at", "started_at", "completed_at", "estimated_cost", "requires_approval", "approval_id",
    "attempt", "max_attempts", "error_message", "metadata", "job_type", "num_processes", "name", "target",
    "ranked_at", "wait_until", "held", "cancel_requested", "exit_code", "exit_class", "cost_usd", "retry_of",
)  # fmt: skip

# Columns in the order that `job_from` reads; the spec comes from its own table.
JOB_READ: Final = (
    "id", "job_id", "user_id", "position", "queued_at", "ranked_at", "status", "team_id", "priority",
    "priority_override", "started_at", "completed_at", "requires_approval", "approval_id", "attempt",
    "error_message", "exit_code", "exit_class", "held", "wait_until", "cancel_requested", "cost_usd", "retry_of",
)  # fmt: skip

ATTEMPT_COLUMNS: Final = (
    "fence", "job_id", "number", "phase", "host", "gpus", "assigned_at", "started_at", "ended_at", "pid",
    "exit_code", "exit_class", "error", "stop_reason",
)  # fmt: skip

_JOB_TIMES: Final = frozenset({"queued_at", "ranked_at", "started_at", "completed_at", "wait_until"})
_ATTEMPT_TIMES: Final = frozenset({"assigned_at", "started_at", "ended_at"})
_JOB_CHANGES: Final = frozenset(Job.__struct_fields__) - {"id", "job_id", "spec"}
_ATTEMPT_CHANGES: Final = frozenset(Attempt.__struct_fields__) - {"fence", "job_id"}

# A look-up costs a quarter of the enum's call: a boot may read a hundred thousand jobs.
_STATUSES: Final = {str(status): status for status in Status}

_encode = msgspec.json.Encoder().encode
_decode_spec = msgspec.json.Decoder(JobSpec).decode
_decode_gpus = msgspec.json.Decoder(tuple[GpuRef, ...]).decode
_decode_any = msgspec.json.Decoder().decode

Value = str | int | float | bytes | None


def to_json(value: Any) -> str:
    """Compact JSON. Lone surrogates (a path or log line that is not UTF-8) become `?`: no encoding has them."""
    try:
        return _encode(value).decode()
    except UnicodeEncodeError:
        return _encode(_tame(msgspec.to_builtins(value))).decode()


def from_json(text: str | None) -> Any:
    return None if text is None else _decode_any(text)


def tame_text(value: Value) -> Value:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _tame(value: Any) -> Any:
    if isinstance(value, dict):
        return {_tame(key): _tame(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tame(item) for item in value]
    return tame_text(value)


def spec_json(spec: JobSpec) -> str:
    """`spec` as stored. Raises ValueError for one that could not be read again (a NaN where a number must be)."""
    text = to_json(spec)
    try:
        _decode_spec(text)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    return text


def job_row(job: Job) -> tuple[Value, ...]:
    """`job` in the order of JOB_COLUMNS."""
    spec = job.spec
    return (
        job.id,
        job.job_id,
        job.user_id,
        job.team_id,
        entry.provider(job, None),
        spec.config_name,
        job.priority,
        job.priority_override,
        str(job.status),
        job.seq,
        iso(job.queued_at),
        iso_or_none(job.started_at),
        iso_or_none(job.completed_at),
        spec.estimated_cost,
        job.requires_approval,
        job.approval_id,
        job.attempt,
        spec.max_attempts,
        job.error_message,
        to_json(spec.metadata),
        entry.job_type(job),
        spec.num_processes,
        spec.name,
        str(spec.target),
        iso(job.ranked_at),
        iso_or_none(job.wait_until),
        job.held,
        job.cancel_requested,
        job.exit_code,
        job.exit_class,
        job.cost_usd,
        job.retry_of,
    )


def job_from(row: tuple[Any, ...]) -> Job:
    """A job from JOB_READ and its spec, in this order. Raises ValueError for a row that no program of ours wrote."""
    (id_, job_id, user_id, seq, queued, ranked, status, team_id, priority, override, started, completed,
     requires_approval, approval_id, attempt, error, exit_code, exit_class, held, wait_until, cancel,
     cost, retry_of, spec) = row  # fmt: skip
    return Job(
        id=id_,
        job_id=job_id,
        user_id=user_id,
        spec=_decode_spec(spec),
        seq=seq,
        queued_at=epoch(queued),
        ranked_at=epoch(ranked),
        status=_STATUSES.get(status) or Status(status),
        team_id=team_id,
        priority=priority,
        priority_override=override,
        started_at=None if started is None else epoch(started),
        completed_at=None if completed is None else epoch(completed),
        requires_approval=bool(requires_approval),
        approval_id=approval_id,
        attempt=attempt,
        error_message=error,
        exit_code=exit_code,
        exit_class=exit_class,
        held=bool(held),
        wait_until=None if wait_until is None else epoch(wait_until),
        cancel_requested=bool(cancel),
        cost_usd=cost,
        retry_of=retry_of,
    )


def attempt_row(attempt: Attempt) -> tuple[Value, ...]:
    """`attempt` in the order of ATTEMPT_COLUMNS."""
    return (
        attempt.fence,
        attempt.job_id,
        attempt.number,
        str(attempt.phase),
        attempt.host,
        to_json(attempt.gpus),
        iso(attempt.assigned_at),
        iso_or_none(attempt.started_at),
        iso_or_none(attempt.ended_at),
        attempt.pid,
        attempt.exit_code,
        attempt.exit_class,
        attempt.error,
        attempt.stop_reason,
    )


def attempt_from(row: tuple[Any, ...]) -> Attempt:
    """An attempt from ATTEMPT_COLUMNS. Raises ValueError as `job_from` does."""
    fence, job_id, number, phase, host, gpus, assigned, started, ended, pid, code, class_, error, stop = row
    return Attempt(
        fence=fence,
        job_id=job_id,
        number=number,
        phase=Phase(phase),
        host=host,
        gpus=_decode_gpus(gpus),
        assigned_at=epoch(assigned),
        started_at=None if started is None else epoch(started),
        ended_at=None if ended is None else epoch(ended),
        pid=pid,
        exit_code=code,
        exit_class=class_,
        error=error,
        stop_reason=stop,
    )


def job_change(field: str, value: Any) -> tuple[str, Value]:
    """A changed field of a Job as (column, value). Raises ValueError for a field that never changes."""
    if field not in _JOB_CHANGES:
        raise ValueError(f"a job's {field} cannot be changed")
    if field in _JOB_TIMES:
        value = iso_or_none(value)
    elif field == "status":
        value = str(value)
    return ("position" if field == "seq" else field), value


def attempt_change(field: str, value: Any) -> tuple[str, Value]:
    """A changed field of an Attempt as (column, value). Raises ValueError as `job_change` does."""
    if field not in _ATTEMPT_CHANGES:
        raise ValueError(f"an attempt's {field} cannot be changed")
    if field in _ATTEMPT_TIMES:
        value = iso_or_none(value)
    elif field == "phase":
        value = str(value)
    elif field == "gpus":
        value = to_json(value)
    return field, value
