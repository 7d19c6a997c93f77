"""What Prometheus reads at /metrics: the present from the actors' answers, the histograms from published events.

The histograms count from the Frontend's start; Prometheus knows how to handle a counter that begins again.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.gpu import GpuState
from gpuyard.actors.model.job import Status
from gpuyard.actors.model.views import ActorStats, GatewayStats, GpuPage, Stats

WAIT_BUCKETS = (0.01, 0.1, 1, 10, 60, 300, 1_800, 3_600, 14_400, 86_400)
RUN_BUCKETS = (1, 10, 60, 300, 1_800, 3_600, 14_400, 43_200, 86_400, 604_800)
ENDINGS = frozenset({"job_completed", "job_failed", "job_cancelled", "job_requeued"})


class Timings:
    """A `Watcher` that counts how long jobs waited and attempts ran, as their events tell."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._waited = Histogram(
            "gpuyard_job_wait_seconds",
            "From submit to the program's first start.",
            buckets=WAIT_BUCKETS,
            registry=self.registry,
        )
        self._ran = Histogram(
            "gpuyard_attempt_run_seconds",
            "From an attempt's start to its end.",
            ["ending"],
            buckets=RUN_BUCKETS,
            registry=self.registry,
        )

    def published(self, events: Sequence[EventRow], revision: int) -> None:
        for row in events:
            waited, ran = row.data.get("waited"), row.data.get("ran")
            if row.kind == "job_started" and waited is not None:
                self._waited.observe(waited)
            elif row.kind in ENDINGS and ran is not None:
                self._ran.labels(row.kind.removeprefix("job_")).observe(ran)

    def interrupted(self) -> None:
        """Nothing to do: what was missed is not counted."""


class Present(Collector):
    """The present, as the actors have just answered it; None where one could not."""

    def __init__(
        self,
        stats: Stats | None,
        gpus: GpuPage | None,
        actors: ActorStats | None,
        streams: int,
        sockets: Mapping[str, GatewayStats] | None = None,
    ) -> None:
        self._stats = stats
        self._gpus = gpus
        self._actors = actors
        self._streams = streams
        self._sockets = sockets or {}

    def collect(self) -> Iterable[Metric]:
        if self._stats is not None:
            yield from _of_jobs(self._stats)
        if self._gpus is not None:
            states = Tally(view.state for view in self._gpus.gpus)
            yield _gauge("gpuyard_gpus", "GPUs by state.", "state", {state: states[state] for state in GpuState})
            there = Tally(view.state for view in self._gpus.remote)
            text = "GPUs of workers by state, as last told."
            yield _gauge("gpuyard_worker_gpus", text, "state", {state: there[state] for state in GpuState})
        if self._actors is not None:
            yield from _of_actors(self._actors)
        if self._sockets:
            yield from _of_sockets(self._sockets)
        yield GaugeMetricFamily("gpuyard_event_streams", "Open event streams.", value=self._streams)


def _gauge(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family


def _of_jobs(stats: Stats) -> Iterable[Metric]:
    by_status = {str(status): stats.by_status.get(status, 0) for status in Status}
    yield _gauge("gpuyard_jobs", "Jobs by status, finished ones too.", "status", by_status)
    yield _gauge("gpuyard_pending_jobs", "Pending jobs by their main reason.", "reason", stats.pending_by_reason)
    states = ("idle", "busy", "draining", "offline", "connecting")
    workers = {state: getattr(stats.workers, f"{state}_workers") for state in states}
    yield _gauge("gpuyard_workers", "Workers by state.", "state", workers)
    yield GaugeMetricFamily(
        "gpuyard_processing_held", "1 while a cancel holds processing back.", value=stats.processing_held
    )
    yield CounterMetricFamily(
        "gpuyard_gpu_idle_seconds",
        "Seconds that a GPU stood idle while a job that could have used it waited.",
        value=stats.gpu_idle_seconds,
    )


def _of_actors(actors: ActorStats) -> Iterable[Metric]:
    yield _gauge("gpuyard_inbox_depth", "Messages that wait in an actor's inbox.", "actor", actors.inboxes)
    yield GaugeMetricFamily("gpuyard_uptime_seconds", "Since the core's start.", value=actors.uptime_seconds)
    yield CounterMetricFamily("gpuyard_restarts", "Restarts of actors and processes.", value=actors.restarts)
    recent = sorted(actors.commit_seconds)
    family = SummaryMetricFamily("gpuyard_commit_seconds", "The last commits (at most 256): how long they took.")
    family.add_metric([], count_value=len(recent), sum_value=sum(recent))
    for quantile in (0.5, 0.9, 0.99) if recent else ():
        value = recent[min(len(recent) - 1, int(quantile * len(recent)))]
        family.add_sample("gpuyard_commit_seconds", {"quantile": str(quantile)}, value)
    yield family


def _of_sockets(sockets: Mapping[str, GatewayStats]) -> Iterable[Metric]:
    """What workers say and are told, by socket; nothing is told while no worker can connect."""
    sessions = GaugeMetricFamily("gpuyard_worker_sessions", "Connections of workers.", labels=["socket"])
    frames = CounterMetricFamily("gpuyard_worker_frames", "Frames from and to workers.", labels=["socket", "way"])
    refused = CounterMetricFamily(
        "gpuyard_worker_refused", "What was refused or ignored, by cause.", labels=["socket", "cause"]
    )
    for name, stats in sockets.items():
        sessions.add_metric([name], stats.sessions)
        frames.add_metric([name, "in"], stats.received)
        frames.add_metric([name, "out"], stats.sent)
        for cause, count in stats.refused.items():
            refused.add_metric([name, cause], count)
    yield from (sessions, frames, refused)


def exposition(timings: Timings, present: Present) -> bytes:
    """The text that Prometheus reads."""
    registry = CollectorRegistry()
    registry.register(present)
    return generate_latest(registry) + generate_latest(timings.registry)
