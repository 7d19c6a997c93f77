"""/healthz, /readyz and /metrics."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetActorStats, GetGatewayStats, GetGpus, GetStats, Ready
from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.errors import Internal
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.limits import Limits
from gpuyard.actors.model.views import ActorStats, GatewayStats, GpuPage, GpuView, LocalStats, Stats, WorkersStats
from gpuyard.api.routes.health import ASKED
from tests.answering import Cast

STATS = Stats(
    queue_depth=0,
    running=0,
    total_pending=2,
    total_running=1,
    by_status={"pending": 2, "running": 1, "completed": 40},
    by_user={"1": 3},
    avg_wait_seconds=None,
    processing_held=True,
    local=LocalStats(
        running_jobs=1,
        pending_jobs=2,
        cpu_running_jobs=0,
        allocated_gpus=[0],
        available_gpus=[1],
        total_gpus=2,
        max_concurrent_gpus=None,
        max_concurrent_jobs=1,
    ),
    workers=WorkersStats(total_workers=1, busy_workers=1),
    limits=Limits(),
    pending_by_reason={"GpusBusy": 2},
    gpu_idle_seconds=12.5,
)
GPUS = GpuPage(
    backend="simulated",
    gpus=[
        GpuView(fact=GpuFact(uuid=f"u{n}", index=n), state=state, job_id=None, reason=None)
        for n, state in enumerate(["held", "free", "free"])
    ],
    running_local_jobs=1,
    remote=[GpuView(fact=GpuFact(uuid="w", index=0), state="held", job_id="j", reason=None, worker_id="w-1")],
)
ACTORS = ActorStats(
    inboxes={"scheduler": 3, "store": 0}, commit_seconds=[0.004, 0.001, 0.002], uptime_seconds=60.0, restarts=1
)


def figures(text: str) -> dict[str, float]:
    """`name{label="value"}` → value, of everything in the exposition."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_alive_without_any_actor(api: TestClient, actors: Cast) -> None:
    actors.close()
    assert api.get("/healthz").json()["status"] == "ok"


def test_ready_when_all_actors_answer_that_they_are(api: TestClient, actors: Cast) -> None:
    for name in ASKED:
        actors.play(name)
    answer = api.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "actors": dict.fromkeys(ASKED, True)}


@pytest.mark.parametrize("state", [False, Internal("broken")])
def test_not_ready_names_who_is_not(api: TestClient, actors: Cast, state: object) -> None:
    for name in ASKED:
        actors.play(name)
    actors.play(names.SCHEDULER, {Ready: state})
    actors.end(names.GPUS)
    answer = api.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["detail"] == "not ready yet: scheduler, gpus"
    assert answer.headers["retry-after"] == "1"


def test_the_metrics_tell_what_the_contract_lists(api: TestClient, actors: Cast) -> None:
    actors.play(names.SCHEDULER, {GetStats: STATS, GetGpus: GPUS})
    actors.play(names.LINK, {GetActorStats: ACTORS})
    answer = api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found = figures(answer.text)
    assert found["gpuyard_jobs{status=completed}"] == 40
    assert found["gpuyard_jobs{status=failed}"] == 0
    assert found["gpuyard_pending_jobs{reason=GpusBusy}"] == 2
    assert found["gpuyard_gpus{state=free}"] == 2
    assert found["gpuyard_gpus{state=quarantined}"] == 0
    assert found["gpuyard_worker_gpus{state=held}"] == 1 and found["gpuyard_workers{state=busy}"] == 1
    assert found["gpuyard_gpu_idle_seconds_total"] == 12.5
    assert found["gpuyard_processing_held"] == 1
    assert found["gpuyard_inbox_depth{actor=scheduler}"] == 3
    assert found["gpuyard_commit_seconds{quantile=0.5}"] == 0.002
    assert found["gpuyard_commit_seconds_count"] == 3
    assert found["gpuyard_restarts_total"] == 1
    assert found["gpuyard_event_streams"] == 0


def test_the_metrics_tell_what_workers_were_refused_where_they_can_connect(api: TestClient, actors: Cast) -> None:
    assert not any(name.startswith("gpuyard_worker_") for name in figures(api.get("/metrics").text))
    told = GatewayStats(endpoint="tcp://h:5", sessions=3, received=40, sent=39, refused={"unknown_key": 7, "parts": 0})
    actors.play(names.GATEWAY, {GetGatewayStats: told})
    found = figures(api.get("/metrics").text)
    assert found["gpuyard_worker_sessions{socket=gateway}"] == 3
    assert found["gpuyard_worker_frames_total{socket=gateway,way=in}"] == 40
    assert found["gpuyard_worker_refused_total{cause=unknown_key,socket=gateway}"] == 7
    assert found["gpuyard_worker_refused_total{cause=parts,socket=gateway}"] == 0
    assert "gpuyard_worker_sessions{socket=bulk}" not in found


def test_the_histograms_count_what_events_tell(api: TestClient, actors: Cast) -> None:
    def told(kind: str, **data: object) -> EventRow:
        return EventRow(id=1, at=1.0, kind=kind, job_id="j", data=data)

    core = api.app.state.core  # type: ignore[attr-defined]
    core.publish([told("job_started", waited=0.05), told("job_started", waited=None), told("job_started")], 1)
    core.publish([told("job_completed", ran=30.0), told("job_failed", ran=5.0), told("job_failed", ran=None)], 2)
    core.publish([told("limits_changed", ran=5.0)], 3)
    found = figures(api.get("/metrics").text)
    assert found["gpuyard_job_wait_seconds_count"] == 1
    assert found["gpuyard_job_wait_seconds_bucket{le=0.1}"] == 1
    assert found["gpuyard_attempt_run_seconds_count{ending=completed}"] == 1
    assert found["gpuyard_attempt_run_seconds_sum{ending=failed}"] == 5


def test_the_metrics_come_without_the_core(api: TestClient, actors: Cast) -> None:
    actors.close()
    found = figures(api.get("/metrics").text)
    assert found["gpuyard_event_streams"] == 0
    assert "gpuyard_uptime_seconds" not in found
