"""Workers over HTTP, over the real registry, store and gateway; a whole worker takes part in the end-to-end tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.model import names
from gpuyard.actors.model.fleet import FleetSettings
from gpuyard.actors.supervisor import Child
from gpuyard.actors.worker_registry import WorkerRegistry
from gpuyard.transport.bulk import Bulk
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.gateway import Gateway
from gpuyard.transport.keys import KeyPair
from gpuyard.transport.peer_server import PeerServerSettings
from gpuyard.transport.token import WorkerToken
from tests.support import eventually
from tests.unit.api_routes.conftest import Yard, opened

PATH = "/api/admin/workers"
SHAPE = {
    "id", "name", "status", "worker_type", "gpu_count", "gpu_name", "gpu_vram_gb", "labels", "current_job_id",
    "current_job_ids", "last_heartbeat", "connected_at",
}  # fmt: skip


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Yard]:
    """A yard where workers may connect."""
    sockets = PeerServerSettings(bind=Endpoint("127.0.0.1", 0), keys=KeyPair.new())
    workers = [
        Child(names.WORKERS, WorkerRegistry, lambda: (FleetSettings(), True)),
        Child(names.BULK, Bulk, lambda: (sockets,)),
        Child(names.GATEWAY, Gateway, lambda: (sockets,)),
    ]
    with opened(tmp_path, workers) as found:
        yield found


def add(fleet: Yard, name: str = "box", **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = fleet.post(PATH, {"name": name, **more})
    return answer


def test_enrolment_answers_an_id_a_token_that_opens_and_the_line_that_starts_it(fleet: Yard) -> None:
    made = add(fleet, labels={"gpu_type": "a100"}, worker_type="ephemeral")
    assert made["connection_command"] == f"GPUYARD_WORKER_TOKEN={made['token']} gpuyard worker"
    token = WorkerToken.decode(made["token"])
    assert str(token.endpoints[0]) == made["endpoint"]
    (listed,) = fleet.get(PATH)["workers"]
    assert listed.keys() >= SHAPE and made["token"] not in str(listed)
    assert (listed["id"], listed["name"], listed["status"]) == (made["worker_id"], "box", "connecting")
    assert (listed["worker_type"], listed["labels"]) == ("ephemeral", {"gpu_type": "a100"})
    assert fleet.get(f"{PATH}/box") == fleet.get(f"{PATH}/{made['worker_id']}") == listed


def test_drain_undrain_rotate_and_delete(fleet: Yard) -> None:
    made = add(fleet)
    assert fleet.post(f"{PATH}/box/drain")["drained"] is True
    assert fleet.post(f"{PATH}/box/undrain")["drained"] is False
    again = fleet.post(f"{PATH}/box/token", {"now": True})
    assert again["worker_id"] == made["worker_id"] and again["token"] != made["token"]
    assert fleet.post(f"{PATH}/box/token")["token"] not in (made["token"], again["token"]), "the body may be left out"
    gone = fleet.ask("DELETE", f"{PATH}/box")
    assert gone.json() == {"success": True, "worker_id": made["worker_id"], "name": "box"}
    assert fleet.get(PATH) == {"workers": []}
    actions = [line["action"] for line in fleet.get("/api/audit")["entries"] if line["action"].startswith("worker_")]
    assert sorted(set(actions)) == [
        "worker_added",
        "worker_drained",
        "worker_removed",
        "worker_token_rotated",
        "worker_undrained",
    ]
    assert made["token"] not in fleet.ask("GET", "/api/audit").text


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "a b"},
        {"name": "x" * 65},
        {"name": "x", "worker_type": "eternal"},
        {"name": "x", "labels": {"a b": "c"}},
        {"name": "x", "labels": {"a": 1}},
        {"name": "x", "labels": {f"k{i}": "v" for i in range(33)}},
        {"name": "x", "what": 1},
    ],
)
def test_a_malformed_enrolment_is_422_and_enrols_nobody(fleet: Yard, body: dict[str, Any]) -> None:
    answer = fleet.ask("POST", PATH, body)
    assert answer.status_code == 422 and answer.json()["errors"], answer.text
    assert fleet.get(PATH) == {"workers": []}


def test_a_taken_name_is_422_and_an_unknown_worker_404(fleet: Yard) -> None:
    add(fleet)
    assert "there is a worker box already" in fleet.ask("POST", PATH, {"name": "box"}).json()["detail"]
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/drain"), ("POST", "/undrain"), ("POST", "/token")):
        assert fleet.ask(method, f"{PATH}/nobody{path}").status_code == 404


def test_an_orphan_that_nobody_reports_is_404_and_its_number_is_checked(fleet: Yard) -> None:
    add(fleet)
    for where in ("box", "local", "nobody"):
        assert fleet.ask("POST", f"{PATH}/{where}/orphans/5/stop").status_code == 404
    assert "no orphan 5 is reported there" in fleet.ask("POST", f"{PATH}/local/orphans/5/stop").json()["detail"]
    for number in ("0", "x", str(1 << 63)):
        assert fleet.ask("POST", f"{PATH}/box/orphans/{number}/stop").status_code == 422


def test_without_zeromq_enrolment_is_409_and_names_the_flag(yard: Yard) -> None:
    answer = yard.ask("POST", PATH, {"name": "box"})
    assert answer.status_code == 409 and "--zmq-bind" in answer.json()["detail"]
    assert yard.get(PATH) == {"workers": []}


@pytest.mark.parametrize("who", ["lead", "ann", "eve"])
def test_only_admins_change_workers_and_leads_see_them(fleet: Yard, who: str) -> None:
    add(fleet)
    assert fleet.ask("GET", PATH, by=who).status_code == (200 if who == "lead" else 403)
    assert fleet.ask("GET", f"{PATH}/box", by=who).status_code == (200 if who == "lead" else 403)
    for method, path in (("POST", ""), ("DELETE", "/box"), ("POST", "/box/drain"), ("POST", "/box/token")):
        body = {"name": "y"} if path == "" else None
        assert fleet.ask(method, PATH + path, body, by=who).status_code == 403
    assert [worker["name"] for worker in fleet.get(PATH)["workers"]] == ["box"]


def test_a_job_for_a_worker_that_never_came_waits_with_its_reason_and_counts(fleet: Yard) -> None:
    add(fleet, labels={"gpu_type": "a100"})
    waiting = fleet.submit("true", target="worker", worker_labels={"gpu_type": "a*"})
    assert waiting["status"] == "queued" and waiting["reasons"][0]["code"] == "WorkersOffline"
    other = fleet.submit("true", target="worker", worker_labels={"gpu_type": "h*"})
    assert other["reasons"][0]["code"] == "NoMatchingWorker"
    assert "its gpu_type is a100, not h*" in other["reason"]
    workers = fleet.get("/api/queue/stats")["workers"]
    assert (workers["total_workers"], workers["connecting_workers"], workers["pending_jobs"]) == (1, 1, 2)


def test_a_job_that_asks_for_more_memory_than_any_gpu_has_is_refused_here_and_waits_for_a_worker(fleet: Yard) -> None:
    refused = fleet.post("/api/queue/submit", {"command": ["true"], "target": "local", "gpu_memory_gb": 96})
    assert (refused["success"], refused["error"]) == (False, "too_big") and "at least 96 GB" in refused["reason"]
    add(fleet)
    assert fleet.submit("true", gpu_memory_gb=96)["status"] == "queued"
    assert fleet.submit("true", gpu_memory_gb=40)["status"] == "running"
    for wrong in (-1, "40", float("1e9")):
        body = {"command": ["true"], "gpu_memory_gb": wrong}
        assert fleet.ask("POST", "/api/queue/submit", body).status_code == 422


def test_enrolment_and_deletion_are_events(fleet: Yard) -> None:
    made = add(fleet)
    fleet.ask("DELETE", f"{PATH}/box")

    def told() -> list[str]:
        with sqlite3.connect(fleet.data / "jobs.db") as connection:
            rows = connection.execute(
                "SELECT kind FROM event WHERE data LIKE ? ORDER BY id", (f"%{made['worker_id']}%",)
            )
            return [kind for (kind,) in rows]

    eventually(lambda: told() == ["worker_added", "worker_removed"])
