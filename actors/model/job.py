"""Job: what a user submitted, one id for life; its states as a table.

blocked    Waits for an approval. In: submit with `requires_approval` (T1). Out: approve or reject (T2), cancel.
pending    Waits for its turn and its GPUs; has at least one reason. In: submit, approval, a retryable end (T11).
           Out: the Scheduler starts it (T3), or cancel.
running    Has a live attempt (see its phase). In: T3. Out: the attempt's end (T7, T11, T12) or its cancel (T10).
completed  The program ended with code 0. Final. Removed by delete or cleanup.
failed     It ended otherwise with no retry left, could not start, or was rejected. Final.
cancelled  A cancel was committed before the end arrived and no process is left. Final.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from gpuyard.actors.model.errors import InvalidTransition
from gpuyard.actors.model.sent_file import SentFile
from gpuyard.actors.model.windows import Window


class Status(StrEnum):
    BLOCKED = "blocked"
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobEvent(StrEnum):
    APPROVED = "approved"
    REJECTED = "rejected"
    ASSIGNED = "assigned"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REQUEUED = "requeued"


S, E = Status, JobEvent

TRANSITIONS: dict[tuple[Status, JobEvent], Status] = {
    (S.BLOCKED, E.APPROVED): S.PENDING,
    (S.BLOCKED, E.REJECTED): S.FAILED,
    (S.BLOCKED, E.CANCELLED): S.CANCELLED,
    (S.PENDING, E.ASSIGNED): S.RUNNING,
    (S.PENDING, E.CANCELLED): S.CANCELLED,
    (S.RUNNING, E.COMPLETED): S.COMPLETED,
    (S.RUNNING, E.FAILED): S.FAILED,
    (S.RUNNING, E.CANCELLED): S.CANCELLED,
    (S.RUNNING, E.REQUEUED): S.PENDING,
}

ACTIVE = frozenset({S.BLOCKED, S.PENDING, S.RUNNING})
TERMINAL = frozenset({S.COMPLETED, S.FAILED, S.CANCELLED})
ALIASES = {"queued": S.PENDING}


class Target(StrEnum):
    """Where a job may run (requirement "Job Targets")."""

    AUTO = "auto"
    WORKER = "worker"
    LOCAL = "local"
    CLOUD = "cloud"


# In a value of `JobSpec.env` it stands for the job's own folder, whose path is known only where the run starts.
JOB_DIR: Final = "${GPUYARD_JOB_DIR}"


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the user asked for; never changes after submit. Stored as JSON in `queue.spec`.

    `argv` is the resolved command (a list, never a shell line); `workdir` is absolute, or None for the job's own
    folder. `device_ids` are the preferred GPU indices, already without duplicates; empty means any.
    `gpu_memory_gb` is what each GPU must have at least, in 10^9 bytes as on the card's box; `device_ids` and their
    order mean GPUs of the server and say nothing about those of a worker.
    `window` are the hours of the day in which it may start, `secrets` names secrets of its owner that the run gets.
    `time_limit` and `lease_seconds` are seconds, `not_before` epoch seconds, `config_hash` the SHA-256 of the
    config file at submit and `config_text` its content, which the run gets to see whatever happens to the file:
    under the name `config_file` in the job's own folder (RunSpec.files). `JOB_DIR` in a value of `env` names it.
    `files` are copied into the job's own folder first (name → file), which then is the folder that it runs in.
    `provider_options` are for the cloud provider: `hardware` (for its price), and what it alone understands.
    """

    argv: tuple[str, ...] = ()
    workdir: str | None = None
    env: dict[str, str] = {}
    config_name: str | None = None
    config_hash: str | None = None
    config_file: str | None = None
    config_text: str | None = None
    name: str | None = None
    target: Target = Target.AUTO
    provider: str | None = None
    worker_labels: dict[str, str] = {}
    num_processes: int = 1
    device_ids: tuple[int, ...] = ()
    any_gpu: bool = False
    estimated_cost: float = 0.0
    time_limit: float | None = None
    not_before: float | None = None
    max_attempts: int = 3
    retry_on: tuple[str, ...] = ()
    partition_policy: str = "lease"
    lease_seconds: float | None = None
    checkpoint_signal: str | None = None
    metadata: dict[str, Any] = {}
    provider_options: dict[str, Any] = {}
    gpu_memory_gb: float | None = None
    files: dict[str, SentFile] = {}
    window: Window | None = None
    secrets: tuple[str, ...] = ()

    @property
    def gpu_memory(self) -> int:
        """Bytes that each of its GPUs must have."""
        return int((self.gpu_memory_gb or 0.0) * 1e9)

    @property
    def is_cpu(self) -> bool:
        """A CPU job: no GPU limit holds it back."""
        return self.num_processes == 0

    @property
    def wanted_devices(self) -> tuple[int, ...]:
        """The GPU indices that this job insists on; empty when any will do.

        Preferring fewer than it needs falls back to any (DESIGN 6, "Device ids").
        """
        if self.any_gpu or len(self.device_ids) < max(1, self.num_processes):
            return ()
        return self.device_ids


class Job(msgspec.Struct, kw_only=True, gc=False):
    """A job as the Scheduler holds it and `queue` stores it. Times are epoch seconds.

    `id` is the row's number, `seq` the FIFO sequence (column `position`), `priority` the level's value.
    `ranked_at` is when it took its place (never before that of a smaller `seq`): the boost counts from there.
    `wait_until` holds a job back after a retryable end (back-off), `held` by hand. It holds no cycle, so the
    collector need not look at it: with 100,000 of them a full collection would stop every actor for long.
    """

    id: int
    job_id: str
    user_id: int
    spec: JobSpec
    seq: int
    queued_at: float
    ranked_at: float
    status: Status = Status.PENDING
    team_id: str | None = None
    priority: int = 30
    priority_override: int | None = None
    started_at: float | None = None
    completed_at: float | None = None
    requires_approval: bool = False
    approval_id: int | None = None
    attempt: int = 1
    error_message: str | None = None
    exit_code: int | None = None
    exit_class: str | None = None
    held: bool = False
    wait_until: float | None = None
    cancel_requested: bool = False
    cost_usd: float | None = None
    retry_of: str | None = None


def step(job: Job, event: JobEvent) -> Status:
    """Move `job` along the table; the only place that sets a status. Raises InvalidTransition."""
    try:
        job.status = TRANSITIONS[job.status, event]
    except KeyError:
        raise InvalidTransition(f"job {job.job_id} is {job.status}: it cannot be {event}", job_id=job.job_id) from None
    return job.status
