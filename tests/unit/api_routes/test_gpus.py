"""GPUs set aside by hand, and what a waiting job says of those that are out of service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import eventually
from tests.unit.api_routes.conftest import Yard

UUID = "GPU-51111111-0000-4000-8000-00000000000"
ACTIONS = ("exclude", "include", "clear")


def device(yard: Yard, index: int) -> dict[str, Any]:
    found: dict[str, Any] = yard.get("/api/system/status")["gpus"][index]
    return found


def inject(yard: Yard, faults: dict[str, Any]) -> None:
    (yard.data / "gpu_faults.json").write_text(json.dumps(faults))


def reason(yard: Yard, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = yard.job(job_id)["reasons"][0]
    return found


def test_an_excluded_gpu_is_not_handed_out_until_it_is_included(yard: Yard) -> None:
    answer = yard.post("/api/gpus/0/exclude")
    assert answer == {"success": True, "uuid": f"{UUID}0", "index": 0, "state": "excluded", "worker": None}
    assert "gpuyard gpus include 0" in device(yard, 0)["reason"]
    assert yard.submit("sleep", "600")["allocated_gpus"] == [1]
    assert yard.post("/api/gpus/0/include")["state"] == "free"
    assert yard.submit("sleep", "600")["allocated_gpus"] == [0]


def test_a_repeat_changes_nothing(yard: Yard) -> None:
    for _ in range(2):
        assert yard.post("/api/gpus/1/exclude")["state"] == "excluded"
    for _ in range(2):
        assert yard.post("/api/gpus/1/include")["state"] == "free"
        assert yard.post("/api/gpus/1/clear")["state"] == "free"


def test_a_run_goes_on_when_its_gpu_is_excluded(yard: Yard) -> None:
    job_id = yard.running(yard.submit("sleep", "600")["job_id"])["job_id"]
    assert yard.post("/api/gpus/0/exclude")["state"] == "held"
    assert yard.job(job_id)["status"] == "running"
    yard.post(f"/api/jobs/{job_id}/cancel")
    yard.wait(job_id, "cancelled")
    assert device(yard, 0)["state"] == "excluded"


@pytest.mark.parametrize("name", ["2", f"{UUID}2", f"{UUID}2".lower()])
def test_a_gpu_is_named_by_index_or_uuid(yard: Yard, name: str) -> None:
    assert yard.post(f"/api/gpus/{name}/exclude")["index"] == 2


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("name", ["4", "-1", "99999999999", "GPU-5", "GPU-9", "x", "%C2%B2", "0%20", "..", "a" * 100])
def test_an_unknown_or_ambiguous_gpu_is_404_and_changes_nothing(calm: Yard, action: str, name: str) -> None:
    response = calm.ask("POST", f"/api/gpus/{name}/{action}")
    assert response.status_code == 404
    assert [gpu["state"] for gpu in calm.get("/api/system/status")["gpus"]] == ["free"] * 4


def test_ambiguity_is_said(calm: Yard) -> None:
    assert "4 GPUs are named so" in calm.ask("POST", "/api/gpus/GPU-/exclude").json()["detail"]


@pytest.mark.parametrize("action", ACTIONS)
def test_gpus_are_an_admins(calm: Yard, action: str) -> None:
    assert calm.ask("POST", f"/api/gpus/0/{action}", by="lead").status_code == 403
    assert device(calm, 0)["state"] == "free"


def test_a_quarantine_names_the_command_that_clears_it(yard: Yard) -> None:
    inject(yard, {"0": {"xid": 79}})
    eventually(lambda: device(yard, 0)["state"] == "quarantined")
    assert "Xid 79" in device(yard, 0)["reason"] and "gpuyard gpus clear 0" in device(yard, 0)["reason"]
    waiting = yard.submit("sleep", "600", num_processes=4)["job_id"]
    why = reason(yard, waiting)
    assert why["code"] == "GpusBusy"
    assert "GPU 0 is quarantined: Xid 79" in why["text"]
    assert why["detail"]["out_of_service"][0]["state"] == "quarantined"
    assert (why["unblock"], why["never"]) == ("gpuyard gpus clear 0", True)
    assert yard.post("/api/gpus/0/clear")["state"] in ("free", "held")
    assert yard.running(waiting)


def test_a_run_that_ends_on_a_broken_gpu_is_tried_again_on_another(yard: Yard) -> None:
    wait_and_fail = "test -e again && exit 0; touch again; until test -e go; do sleep 0.05; done; exit 3"
    job_id = yard.running(yard.submit("sh", "-c", wait_and_fail)["job_id"])["job_id"]
    inject(yard, {"0": {"xid": 79}})
    eventually(lambda: "Xid 79" in (device(yard, 0)["reason"] or ""))
    (yard.data / "jobs" / job_id / "go").touch()
    job = yard.wait(job_id, "completed")
    first, second = job["attempts"]
    assert (first["exit_class"], first["exit_code"], first["gpus"]) == ("gpu_fault", 3, [0])
    assert first["error"].startswith("GPU 0: Xid 79")
    assert (second["exit_class"], second["gpus"]) == ("completed", [1])


def test_a_lost_gpu_is_named_but_no_command_helps(yard: Yard) -> None:
    inject(yard, {"3": {"lost": True}})
    eventually(lambda: device(yard, 3)["state"] == "missing")
    why = reason(yard, yard.submit("sleep", "600", num_processes=4)["job_id"])
    assert "GPU 3 is missing: GPU is lost" in why["text"]
    assert (why["unblock"], why["never"]) == ("gpuyard gpus", False)
    assert yard.post("/api/gpus/3/clear")["state"] == "missing"


def test_a_job_that_wants_an_excluded_gpu_says_so(yard: Yard) -> None:
    holder = yard.submit("sleep", "600", device_ids=[1])["job_id"]
    waiting = yard.submit("sleep", "600", device_ids=[1])["job_id"]
    yard.post("/api/gpus/1/exclude")
    yard.post(f"/api/jobs/{holder}/cancel")
    yard.wait(holder, "cancelled")
    yard.post("/api/queue/process")
    why = reason(yard, waiting)
    assert why["code"] == "DeviceIdsBusy"
    assert "GPU 1 is excluded" in why["text"]
    assert why["unblock"] == "gpuyard gpus include 1"
    yard.post("/api/gpus/1/include")
    assert yard.running(waiting)["allocated_gpus"] == [1]


def test_a_submit_for_an_excluded_gpu_is_refused_with_the_command(yard: Yard) -> None:
    yard.post("/api/gpus/1/exclude")
    answer = yard.post("/api/queue/submit", {"command": ["true"], "device_ids": [1]})
    assert answer["error"] == "unknown_device"
    assert "GPU 1 is excluded" in answer["reason"] and "gpuyard gpus include 1" in answer["reason"]


def test_a_job_that_became_too_big_says_how_many_are_excluded(yard: Yard) -> None:
    yard.submit("sleep", "600")
    waiting = yard.submit("sleep", "600", num_processes=4)["job_id"]
    yard.post("/api/gpus/2/exclude")
    why = reason(yard, waiting)
    assert why["code"] == "TooBig"
    assert why["text"] == "It asks for 4 GPUs; this host has 3. 1 more is excluded."
    assert why["unblock"] == "gpuyard gpus include 2"


def test_the_runs_that_hold_gpus_come_after_the_cure(yard: Yard) -> None:
    holder = yard.submit("sleep", "600")["job_id"]
    inject(yard, {"1": {"ecc": 2}})
    eventually(lambda: device(yard, 1)["state"] == "quarantined")
    why = reason(yard, yard.submit("sleep", "600", num_processes=4)["job_id"])
    assert why["unblock"] == f"gpuyard gpus clear 1 && gpuyard jobs cancel {holder} && gpuyard queue process"
