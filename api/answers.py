"""What routes answer, as typed structs: the JSON and the OpenAPI schemas are made from the same classes.

A view of the core that goes out as it is (Entry, MyQueue, …) is not repeated here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gpuyard.actors.model.limits import Limits
from gpuyard.actors.model.reasons import Reason
from gpuyard.actors.model.views import AttemptView, Entry, LocalStats, WorkersStats


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all that is made here."""


class QueueList(Answer, frozen=True, kw_only=True):
    """`total` counts what matches the filter, the others all jobs that the viewer may see."""

    entries: list[Entry]
    total: int
    total_pending: int
    total_running: int


class StoryLine(Answer, frozen=True, kw_only=True):
    """One event of a job: who did what, when. `by` is empty for what gpuyard did by itself."""

    id: int
    at: str
    kind: str
    job_id: str | None
    user_id: int | None
    by: str
    data: dict[str, Any]
    cause: str


class Job(Entry, frozen=True, kw_only=True, tag="Job"):
    """An Entry and what has become of it. `duration_seconds` of a running job is its age."""

    created_at: str
    finished_at: str | None
    duration_seconds: float | None
    is_active: bool
    is_terminal: bool
    queue_position: int | None
    attempts: list[AttemptView]


class JobWithStory(Job, frozen=True, kw_only=True, tag="JobWithStory"):
    events: list[StoryLine]
    config_hash: str | None = None
    workdir: str | None = None


class JobList(Answer, frozen=True, kw_only=True):
    jobs: list[Job]
    total: int


class OneJob(Answer, frozen=True, kw_only=True):
    job: JobWithStory


class Story(Answer, frozen=True, kw_only=True):
    job_id: str
    events: list[StoryLine]


class QueueStats(Limits, frozen=True, kw_only=True):
    """`queue_depth` and `running` count cloud jobs, `local` and `workers` the others; with all limits.

    `gpu_idle_seconds`: how long GPUs stood idle, since the start, while a job that could have used them waited.
    `store_error`: why the database cannot be written (null: it can); what is shown is then the last durable state.
    """

    queue_depth: int
    running: int
    total_pending: int
    total_running: int
    by_status: dict[str, int]
    by_user: dict[str, int]
    avg_wait_seconds: float | None
    processing_held: bool
    local: LocalStats
    workers: WorkersStats
    pending_by_reason: dict[str, int]
    gpu_idle_seconds: float
    paused: list[str]
    store_error: str | None


class Position(Answer, frozen=True, kw_only=True):
    """The estimates are seconds until the start; null when there is nothing to estimate from."""

    job_id: str
    position: int | None
    status: str
    priority: int
    queued_at: str
    estimated_wait_seconds: float | None
    estimated_wait_low: float | None
    estimated_wait_high: float | None
    reasons: list[Reason]


class Submitted(Answer, frozen=True, kw_only=True):
    """`status` is running, queued, blocked or rejected; for a repeated Idempotency-Key the job's present one."""

    success: bool
    job_id: str | None
    status: str | None
    allocated_gpus: list[int] | None = None
    allocated_worker_id: str | None = None
    queue_position: int | None = None
    requires_approval: bool = False
    error: str | None = None
    reason: str | None = None
    reasons: list[Reason] = []
    idempotent_hit: bool = False
    approval_id: int | None = None
    dry_run: bool = False
    estimated_cost: float | None = None


class Changed(Answer, frozen=True, kw_only=True):
    """`processing_held`: the cancel holds the queue until something asks for work to start."""

    job_id: str
    status: str
    phase: str | None = None
    processing_held: bool = False
    success: bool = True


class NotCancelled(Answer, frozen=True, kw_only=True):
    job_id: str
    detail: str


class BulkCancelled(Answer, frozen=True, kw_only=True):
    cancelled: list[str]
    failed: list[NotCancelled]
    still_pending: int
    processing_held: bool
    success: bool = True


class Reprioritised(Answer, frozen=True, kw_only=True):
    job_id: str
    previous_effective_priority: int
    new_effective_priority: int
    priority_override: int | None
    success: bool = True


class Processed(Answer, frozen=True, kw_only=True):
    dispatched: int
    job_ids: list[str]
    success: bool = True


class Pauses(Answer, frozen=True, kw_only=True):
    """`paused` are all targets at which nothing starts now; `job_ids` are the jobs that a resume started."""

    paused: list[str]
    dispatched: int
    job_ids: list[str]
    success: bool = True


class CleanedUp(Answer, frozen=True, kw_only=True):
    deleted: int
    days: int
    success: bool = True


class Removed(Answer, frozen=True, kw_only=True):
    job_id: str
    success: bool = True


class LimitsSet(Limits, frozen=True, kw_only=True):
    success: bool = True


class Logs(Answer, frozen=True, kw_only=True):
    """`logs` is a piece of the log of one attempt, from byte `offset` on; `size` is the whole log's."""

    job_id: str
    logs: str
    attempt: int | None
    offset: int
    size: int


class JobProgress(Answer, frozen=True, kw_only=True):
    """How far a job says it is: `share` from 0 to 1 and `loss` as printed, null where its log tells none; `text` is
    the line that said so."""

    job_id: str
    share: float | None
    text: str | None
    loss: str | None


class ConfigEntry(Answer, frozen=True, kw_only=True):
    name: str
    format: str
    file: str
    size: int
    modified_at: str


class ConfigList(Answer, frozen=True, kw_only=True):
    configs: list[ConfigEntry]
    count: int


class OneConfig(Answer, frozen=True, kw_only=True):
    """`kind` is gpuyard or simpletuner; `config` the file's content."""

    name: str
    config: dict[str, Any]
    kind: str
    format: str
    sha256: str


class Validated(Answer, frozen=True, kw_only=True):
    valid: bool
    is_valid: bool
    errors: list[str]
    warnings: list[str]


class Device(Answer, frozen=True, kw_only=True):
    """`allocated`: a job of the queue holds it. `state` and `reason` say why a GPU is not available.

    `worker_id` and `worker` (its name) are None for the server's own.
    """

    index: int
    name: str
    memory_gb: float
    allocated: bool
    job_id: str | None
    uuid: str
    state: str
    reason: str | None
    memory_used_gb: float
    utilization: int | None
    temperature_c: int | None
    power_w: float | None
    worker_id: str | None = None
    worker: str | None = None


class GpuAside(Answer, frozen=True, kw_only=True):
    """`state` is the one after the change; a GPU whose run goes on, or that is lost, says so. `worker` is the name of
    the worker whose it is; null for the server's own."""

    success: bool = True
    uuid: str
    index: int
    state: str
    worker: str | None = None


class Inventory(Answer, frozen=True, kw_only=True):
    """`backend` is cuda, simulated or none; `capabilities` what this server can do with GPUs."""

    backend: str
    count: int
    capabilities: dict[str, Any]
    error: str | None = None


class Allocation(Answer, frozen=True, kw_only=True):
    """`devices` are the server's own, `worker_devices` those of its workers as last told; the numbers are indices of
    the server's own."""

    allocated_gpus: list[int]
    available_gpus: list[int]
    running_local_jobs: int
    devices: list[Device]
    worker_devices: list[Device] = []


class SystemStatus(Answer, frozen=True, kw_only=True):
    """`timestamp` is epoch seconds; `gpu_allocation` is there with include_allocation=true."""

    timestamp: float
    load_avg_5min: float
    memory_percent: float
    gpus: list[Device]
    gpu_inventory: Inventory
    uptime_seconds: float
    gpu_allocation: Allocation | msgspec.UnsetType = msgspec.UNSET
