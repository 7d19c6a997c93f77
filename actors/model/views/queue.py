"""Answers about the queue and its jobs."""

from __future__ import annotations

from typing import Any

from gpuyard.actors.model.limits import Limits
from gpuyard.actors.model.reasons import Reason
from gpuyard.actors.model.views.base import View


class Entry(View, frozen=True, kw_only=True, tag="Entry"):
    """A queue entry (CONTRACT "Entry"). `progress`: how far a cloud provider says that it is, files that are brought
    there included."""

    id: int
    job_id: str
    user_id: int
    team_id: str | None
    provider: str
    config_name: str | None
    job_type: str
    target: str
    priority: int
    priority_name: str
    priority_override: int | None
    effective_priority: int
    status: str
    phase: str | None
    position: int | None
    queued_at: str
    started_at: str | None
    completed_at: str | None
    estimated_cost: float
    requires_approval: bool
    approval_id: int | None
    attempt: int
    max_attempts: int
    error_message: str | None
    num_processes: int
    allocated_gpus: list[int] | None
    worker_id: str | None
    reasons: list[Reason]
    metadata: dict[str, Any]
    name: str | None = None
    held: bool = False
    cost_usd: float | None = None
    exit_code: int | None = None
    exit_class: str | None = None
    retry_of: str | None = None
    fence: int | None = None
    command: list[str] | None = None
    device_ids: list[int] | None = None
    time_limit: float | None = None
    worker_name: str | None = None
    progress: str | None = None
    window: str | None = None
    secrets: list[str] = []


class QueuePage(View, frozen=True, kw_only=True):
    entries: list[Entry]
    total: int
    total_pending: int
    total_running: int
    revision: int = 0


class MyQueue(View, frozen=True, kw_only=True):
    pending_count: int
    running_count: int
    blocked_count: int
    best_position: int | None
    pending_jobs: list[Entry]
    running_jobs: list[Entry]


class Forecast(View, frozen=True, kw_only=True):
    """What `model/estimate.py` needs to run the policy forward, off the Scheduler's thread.

    `running` are (seconds run so far, GPUs, config name, time limit) of the runs in the job's pool, `ahead` the
    (GPUs, config name, time limit) of the pending jobs before it in order (at most 500, else None = too many),
    `slots` how many may run at once (None = no cap), `gpus` how many there are. Where the job may go to several hosts,
    `places` are their (GPUs, slots) instead, and `at` says in which of them each of `running` is.
    """

    running: list[tuple[float, int, str | None, float | None]]
    ahead: list[tuple[int, str | None, float | None]] | None
    need: int
    slots: int | None
    gpus: int
    places: list[tuple[int, int | None]] = []
    at: list[int] = []


class PositionView(View, frozen=True, kw_only=True):
    job_id: str
    position: int | None
    status: str
    priority: int
    queued_at: str
    reasons: list[Reason]
    user_id: int
    forecast: Forecast | None = None


class LocalStats(View, frozen=True, kw_only=True):
    running_jobs: int
    pending_jobs: int
    cpu_running_jobs: int
    allocated_gpus: list[int]
    available_gpus: list[int]
    total_gpus: int
    max_concurrent_gpus: int | None
    max_concurrent_jobs: int


class WorkersStats(View, frozen=True, kw_only=True):
    total_workers: int = 0
    idle_workers: int = 0
    busy_workers: int = 0
    offline_workers: int = 0
    draining_workers: int = 0
    connecting_workers: int = 0
    running_jobs: int = 0
    pending_jobs: int = 0


class Stats(View, frozen=True, kw_only=True):
    """Both examples of the requirement in one (CONTRACT `GET /api/queue/stats`).

    `gpu_idle_seconds` (since the start): how long free GPUs stood idle, each counted, while a job that could have
    used them waited. `store_error`: the database cannot be written, and why; then all that is shown is the last
    durable state.
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
    limits: Limits
    pending_by_reason: dict[str, int] = {}
    gpu_idle_seconds: float = 0.0
    paused: list[str] = []
    store_error: str | None = None


class JobAccepted(View, frozen=True, kw_only=True):
    """`status` is queued, running or blocked; for a repeated idempotency key the job's present one, or None when
    it has ended (history knows). With `dry_run` nothing was stored and `job_id` is None. `estimated_cost` (USD) is what
    was said, or what the price table says of a cloud job."""

    job_id: str | None
    status: str | None
    allocated_gpus: list[int] | None = None
    allocated_worker_id: str | None = None
    queue_position: int | None = None
    requires_approval: bool = False
    reason: str | None = None
    reasons: list[Reason] = []
    idempotent_hit: bool = False
    approval_id: int | None = None
    estimated_cost: float | None = None


class JobRefused(View, frozen=True, kw_only=True):
    """A business refusal: nothing was stored. `error` is a snake_case code, `reason` a sentence."""

    error: str
    reason: str
    reasons: list[Reason] = []


class JobChanged(View, frozen=True, kw_only=True):
    job_id: str
    status: str
    phase: str | None = None
    processing_held: bool = False


class JobsCancelled(View, frozen=True, kw_only=True):
    """`failed` holds (job id, detail); `still_pending` how many jobs of any kind still wait."""

    cancelled: list[str]
    failed: list[tuple[str, str]]
    still_pending: int
    processing_held: bool = False


class PriorityChanged(View, frozen=True, kw_only=True):
    job_id: str
    previous_effective_priority: int
    new_effective_priority: int
    priority_override: int | None


class QueuePauses(View, frozen=True, kw_only=True):
    """`paused` are the targets at which nothing starts; `job_ids` what a resume started."""

    paused: list[str]
    job_ids: list[str] = []


class QueueProcessed(View, frozen=True, kw_only=True):
    job_ids: list[str]


class JobsDeleted(View, frozen=True, kw_only=True):
    job_ids: list[str]
