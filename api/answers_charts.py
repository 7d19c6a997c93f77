"""What the routes of charts answer. Times are ISO-8601 UTC."""

from __future__ import annotations

from gpuyard.api.answers import Answer


class QueueMoment(Answer, frozen=True, kw_only=True):
    at: str
    pending: int
    running: int
    gpus_used: int
    gpus_total: int


class QueueHistory(Answer, frozen=True, kw_only=True):
    """Oldest first."""

    every_seconds: float
    samples: list[QueueMoment]


class GpuMoment(Answer, frozen=True, kw_only=True):
    """`utilization` in percent; null where the driver does not tell."""

    at: str
    utilization: int | None
    memory_used_gb: float


class GpuSeries(Answer, frozen=True, kw_only=True):
    """`host` is `local` or a worker's id."""

    uuid: str
    samples: list[GpuMoment]
    host: str = "local"


class GpuHistory(Answer, frozen=True, kw_only=True):
    every_seconds: float
    gpus: list[GpuSeries]


class Span(Answer, frozen=True, kw_only=True):
    """One GPU in the hands of one attempt. `host` is `local` or a worker's id; `ended_at` null while it lives."""

    host: str
    uuid: str
    index: int
    job_id: str | None
    title: str | None
    started_at: str
    ended_at: str | None
    exit_class: str | None


class Timeline(Answer, frozen=True, kw_only=True):
    """The newest attempts first."""

    since: str
    until: str
    spans: list[Span]


class WaitBucket(Answer, frozen=True, kw_only=True):
    """Jobs that waited at most `up_to_seconds` and longer than the bucket before; null: longer than all."""

    up_to_seconds: float | None
    jobs: int


class Waits(Answer, frozen=True, kw_only=True):
    """Seconds from submit to start of the `jobs` that started among the last 1,000; null without any."""

    jobs: int
    p50_seconds: float | None
    p95_seconds: float | None
    longest_seconds: float | None
    buckets: list[WaitBucket]
