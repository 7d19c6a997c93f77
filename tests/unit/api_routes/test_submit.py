"""Submit: commands, configs, refusals, keys, lists."""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.model.job import JobSpec
from tests.unit.api_routes.conftest import Yard

SLEEP = ["sleep", "600"]
EXAMPLE = Path(__file__).parents[3] / "tools" / "examples" / "simpletuner" / "config.json"


def submit(yard: Yard, body: Any, by: str = "owner", **headers: str) -> Any:
    return yard.post("/api/queue/submit", body, by, **headers)


def config(yard: Yard, name: str = "train", text: str = 'command = ["true"]\n') -> Path:
    path = yard.configs / f"{name}.toml"
    path.write_text(text)
    return path


def test_the_requirements_request_gets_the_requirements_response(yard: Yard) -> None:
    config(yard, "my-training-config", 'command = ["sleep", "600"]\nnum_processes = 2\n')
    answer = submit(yard, {"config_name": "my-training-config", "no_wait": False, "any_gpu": False})
    assert (answer["success"], answer["status"]) == (True, "running")
    assert (answer["allocated_gpus"], answer["queue_position"]) == ([0, 1], None)
    assert set(answer) >= {"job_id", "allocated_worker_id", "requires_approval", "reason", "idempotent_hit"}
    assert answer["error"] is None


def test_two_jobs_of_a_config_run_on_gpus_of_their_own(yard: Yard) -> None:
    config(yard, text='command = ["sleep", "600"]\nnum_processes = 2\n')
    first, second = (submit(yard, {"config_name": "train"}) for _ in range(2))
    assert (first["allocated_gpus"], second["allocated_gpus"]) == ([0, 1], [2, 3])
    third = submit(yard, {"config_name": "train"})
    assert (third["status"], third["queue_position"], third["allocated_gpus"]) == ("queued", 1, None)
    assert "GPU" in third["reason"]


def test_a_command_runs_in_the_jobs_own_folder_and_sees_its_gpus(yard: Yard) -> None:
    script = 'pwd; echo "$CUDA_VISIBLE_DEVICES $COLOR $GPUYARD_NUM_PROCESSES"'
    job_id = yard.submit("sh", "-c", script, num_processes=2, env={"COLOR": "blue"})["job_id"]
    assert yard.wait(job_id)["status"] == "completed"
    folder, rest = yard.get(f"/api/jobs/{job_id}/logs")["logs"].splitlines()
    assert folder == str(yard.data / "jobs" / job_id)
    assert rest == "0,1 blue 2"


def test_what_the_body_says_wins_over_the_config(yard: Yard) -> None:
    config(
        yard,
        text='command = ["sh", "-c", "echo $A $B"]\nnum_processes = 3\n'
        '[env]\nA = "a"\nB = "b"\n[metadata]\nx = 1\ny = 2\n',
    )
    body = {"config_name": "train", "num_processes": 0, "env": {"B": "mine"}, "metadata": {"y": 3}, "name": "n"}
    job = yard.wait(submit(yard, body)["job_id"])
    assert (job["num_processes"], job["name"], job["metadata"]) == (0, "n", {"x": 1, "y": 3})
    assert yard.get(f"/api/jobs/{job['job_id']}/logs")["logs"] == "a mine\n"
    assert job["workdir"] == str(yard.configs)


def test_a_queued_job_keeps_the_config_it_was_submitted_with(yard: Yard) -> None:
    yard.submit(*SLEEP, num_processes=4)
    data = json.loads(EXAMPLE.read_text())
    folder = yard.configs / "lora"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(data))
    job_id = submit(yard, {"config_name": "lora"})["job_id"]
    sha = hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
    assert yard.job(job_id)["config_hash"] == sha
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "config.json").write_text("swapped")
    yard.post("/api/jobs/cancel", {"status": ["running"]})
    yard.post("/api/queue/process")
    job = yard.wait(job_id)
    assert job["status"] == "completed", job
    log = yard.get(f"/api/jobs/{job_id}/logs")["logs"]
    assert json.JSONDecoder().raw_decode(log)[0] == data


def test_a_simpletuner_config_finds_itself(yard: Yard) -> None:
    """The launch command here prints the file at CONFIG_PATH and the environment, as SimpleTuner would read them."""
    folder = yard.configs / "lora"
    folder.mkdir()
    shutil.copy(EXAMPLE, folder / "config.json")
    answer = submit(yard, {"config_name": "lora"})
    job = yard.wait(answer["job_id"])
    assert job["status"] == "completed", job
    assert answer["allocated_gpus"] == [0, 1]
    assert job["metadata"] == {"run_name": "example-training-run"}
    log = yard.get(f"/api/jobs/{job['job_id']}/logs")["logs"]
    assert log.startswith(EXAMPLE.read_text())
    environ = dict(line.split("=", 1) for line in log.splitlines() if "=" in line and not line.startswith(" "))
    assert environ["ENV"] == "lora"
    assert environ["CONFIG_BACKEND"] == "json"
    assert environ["TRAINING_NUM_PROCESSES"] == "2"
    assert environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert environ["CONFIG_PATH"] == str(yard.data / "jobs" / job["job_id"] / "config.json")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"config_name": "unknown"}, "unknown_config"),
        ({"config_name": "broken"}, "invalid_config"),
        ({"config_name": "typo"}, "invalid_config"),
        ({"command": ["true"], "target": "cloud"}, "provider_not_configured"),
        ({"command": ["true"], "target": "cloud", "provider": "slurm"}, "provider_not_configured"),
        ({"command": ["true"], "num_processes": 5}, "too_big"),
        ({"command": ["true"], "device_ids": [7], "num_processes": 1}, "unknown_device"),
    ],
)
def test_business_refusals_are_200_and_leave_no_job(yard: Yard, body: dict[str, Any], error: str) -> None:
    config(yard, "broken", "command = [")
    config(yard, "typo", 'comand = ["true"]')
    answer = submit(yard, body)
    assert (answer["success"], answer["job_id"], answer["status"]) == (False, None, "rejected")
    assert answer["error"] == error
    assert isinstance(answer["reason"], str) and answer["reason"]
    assert str(yard.configs) not in answer["reason"]
    assert yard.get("/api/jobs")["total"] == 0


def test_no_wait_is_rejected_when_it_cannot_start_now(yard: Yard) -> None:
    yard.submit(*SLEEP, num_processes=3)
    answer = submit(yard, {"command": SLEEP, "num_processes": 2, "no_wait": True})
    assert (answer["success"], answer["status"], answer["error"]) == (False, "rejected", "no_capacity")
    assert submit(yard, {"command": SLEEP, "num_processes": 1, "no_wait": True})["status"] == "running"
    assert yard.get("/api/jobs")["total"] == 2


def test_a_dry_run_says_what_would_happen_and_stores_nothing(yard: Yard) -> None:
    answer = submit(yard, {"command": SLEEP, "num_processes": 2, "dry_run": True})
    assert (answer["success"], answer["job_id"], answer["status"]) == (True, None, "running")
    assert (answer["allocated_gpus"], answer["dry_run"]) == ([0, 1], True)
    yard.submit(*SLEEP, num_processes=4)
    answer = submit(yard, {"command": SLEEP, "dry_run": True})
    assert (answer["status"], answer["queue_position"]) == ("queued", 1)
    assert answer["reasons"][0]["code"] == "GpusBusy"
    assert yard.get("/api/jobs")["total"] == 1


def test_a_missing_program_fails_at_the_start(yard: Yard) -> None:
    job = yard.wait(yard.submit("/no/such/program")["job_id"])
    assert (job["status"], job["exit_class"], job["exit_code"]) == ("failed", "start_failed", None)
    assert job["error_message"]


def test_any_gpu_forgets_the_preferred_ones(yard: Yard) -> None:
    yard.submit(*SLEEP, device_ids=[2])
    assert submit(yard, {"command": SLEEP, "device_ids": [2]})["status"] == "queued"
    assert submit(yard, {"command": SLEEP, "device_ids": [2, 2], "any_gpu": True})["status"] == "running"


# --- Idempotency-Key ---


def test_a_key_answers_the_first_job_again(yard: Yard) -> None:
    body = {"command": SLEEP, "num_processes": 1}
    first = submit(yard, body, Idempotency_Key="k1")
    again = submit(yard, dict(reversed(body.items())), Idempotency_Key="k1")
    assert (first["idempotent_hit"], again["idempotent_hit"]) == (False, True)
    assert again["job_id"] == first["job_id"]
    assert again["allocated_gpus"] == first["allocated_gpus"]
    assert yard.get("/api/jobs")["total"] == 1


def test_a_key_with_another_body_is_409_and_is_per_user(yard: Yard) -> None:
    first = submit(yard, {"command": SLEEP}, Idempotency_Key="k")
    other = yard.ask("POST", "/api/queue/submit", {"command": SLEEP, "no_wait": True}, Idempotency_Key="k")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert submit(yard, {"command": SLEEP}, by="ann", Idempotency_Key="k")["job_id"] != first["job_id"]


def test_a_key_tells_how_a_job_ended(yard: Yard) -> None:
    first = submit(yard, {"command": ["false"]}, Idempotency_Key="k")
    yard.wait(first["job_id"])
    again = submit(yard, {"command": ["false"]}, Idempotency_Key="k")
    assert (again["job_id"], again["status"], again["idempotent_hit"]) == (first["job_id"], "failed", True)


def test_a_key_outlives_its_config_and_its_job(yard: Yard) -> None:
    path = config(yard)
    first = submit(yard, {"config_name": "train"}, Idempotency_Key="k")
    yard.wait(first["job_id"])
    path.unlink()
    again = submit(yard, {"config_name": "train"}, Idempotency_Key="k")
    assert (again["job_id"], again["status"], again["idempotent_hit"]) == (first["job_id"], "completed", True)
    assert yard.ask("DELETE", f"/api/jobs/{first['job_id']}").status_code == 200
    gone = submit(yard, {"config_name": "train"}, Idempotency_Key="k")
    assert (gone["job_id"], gone["status"], gone["idempotent_hit"]) == (first["job_id"], None, True)


def test_refusals_are_not_remembered(yard: Yard) -> None:
    yard.submit(*SLEEP, num_processes=4)
    body = {"command": ["true"], "no_wait": True}
    assert submit(yard, body, Idempotency_Key="k")["status"] == "rejected"
    yard.post("/api/jobs/cancel", {"all": True})
    answer = submit(yard, {"config_name": "later"}, Idempotency_Key="k2")
    assert answer["error"] == "unknown_config"
    config(yard, "later")
    assert submit(yard, {"config_name": "later"}, Idempotency_Key="k2")["success"]


@pytest.mark.parametrize("key", ["", " ", "a b", "a\tb", "x" * 256, "ü"])
def test_a_malformed_key_is_422(calm: Yard, key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1"), "Content-Type": "application/json"}
    response = calm.client.post("/api/queue/submit", content=b'{"command": ["true"]}', headers=headers)
    assert response.status_code in (400, 422)
    assert calm.get("/api/jobs")["total"] == 0


def test_sixty_submits_with_one_key_are_one_job(yard: Yard) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: submit(yard, {"command": SLEEP}, Idempotency_Key="once"), range(60)))
    assert len({answer["job_id"] for answer in answers}) == 1
    assert sum(not answer["idempotent_hit"] for answer in answers) == 1
    assert yard.get("/api/jobs")["total"] == 1


# --- lists ---


def test_a_list_answers_a_list_with_refusals_beside_the_accepted(yard: Yard) -> None:
    config(yard)
    bodies = [
        {"command": SLEEP, "num_processes": 4},
        {"config_name": "none"},
        {"command": ["true"], "num_processes": 9},
        {"config_name": "train"},
    ]
    answers = submit(yard, bodies)
    assert [answer["status"] for answer in answers] == ["running", "rejected", "rejected", "queued"]
    assert [answer["error"] for answer in answers] == [None, "unknown_config", "too_big", None]
    assert yard.get("/api/jobs")["total"] == 2


def test_one_malformed_body_refuses_the_whole_list_and_names_its_index(yard: Yard) -> None:
    bodies: list[Any] = [{"command": ["true"]}, {"command": ["true"]}, {"command": ["true"], "num_processes": -1}]
    response = yard.ask("POST", "/api/queue/submit", bodies)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "2.num_processes"
    assert response.json()["detail"].startswith("2.num_processes: ")
    assert yard.get("/api/jobs")["total"] == 0


def test_a_thousand_at_once_and_no_more(yard: Yard) -> None:
    many = [{"command": ["true"], "not_before": "2999-01-01T00:00:00Z"}] * 1_000
    answers = submit(yard, many)
    assert [answer["queue_position"] for answer in answers] == list(range(1, 1_001))
    assert yard.ask("POST", "/api/queue/submit", [*many, many[0]]).status_code == 422
    assert yard.ask("POST", "/api/queue/submit", []).status_code == 422
    assert yard.get("/api/jobs?limit=1")["total"] == 1_000


def test_a_list_with_a_key_is_replayed(yard: Yard) -> None:
    bodies = [{"command": SLEEP}, {"config_name": "none"}, {"command": SLEEP}]
    first = submit(yard, bodies, Idempotency_Key="k")
    again = submit(yard, bodies, Idempotency_Key="k")
    assert [answer["job_id"] for answer in again] == [answer["job_id"] for answer in first if answer["job_id"]]
    assert all(answer["idempotent_hit"] for answer in again)
    assert yard.get("/api/jobs")["total"] == 2


# --- malformed bodies ---

MALFORMED: list[Any] = [
    {},
    {"config_name": "a", "command": ["true"]},
    {"config_name": ["a"]},
    {"config_name": "../../etc/passwd"},
    {"config_name": "/etc/passwd"},
    {"config_name": ".hidden"},
    {"config_name": "a/b"},
    {"config_name": "x" * 129},
    {"command": "rm -rf /"},
    {"command": []},
    {"command": [1]},
    {"command": ["a"] * 5_000},
    {"command": ["true"], "workdir": "relative"},
    {"command": ["true"], "workdir": ""},
    {"command": ["true"], "env": {"A-B": "1"}},
    {"command": ["true"], "env": {"CUDA_VISIBLE_DEVICES": "0"}},
    {"command": ["true"], "env": {f"A{i}": "x" for i in range(300)}},
    {"command": ["true"], "num_processes": 1025},
    {"command": ["true"], "num_processes": "2"},
    {"command": ["true"], "num_processes": 2.0},
    {"command": ["true"], "num_processes": True},
    {"command": ["true"], "num_processes": 2**63},
    {"command": ["true"], "num_processes": 10**20},
    {"command": ["true"], "estimated_cost": -1},
    {"command": ["true"], "estimated_cost": 1e300},
    {"command": ["true"], "priority_override": 51},
    {"command": ["true"], "device_ids": ["0"]},
    {"command": ["true"], "device_ids": [-1]},
    {"command": ["true"], "target": "AUTO"},
    {"command": ["true"], "no_wait": "yes"},
    {"command": ["true"], "dry_run": 1},
    {"command": ["true"], "max_attempts": 0},
    {"command": ["true"], "retry_on": ["everything"]},
    {"command": ["true"], "time_limit": "soon"},
    {"command": ["true"], "not_before": "2026-13-45"},
    {"command": ["true"], "worker_labels": {"a": 1}},
    {"command": ["true"], "metadata": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": 1}}}}}}}}}},
    {"command": ["true"], "metadata": []},
    {"command": ["true"], "name": "a\nb"},
    {"command": ["true"], "user_id": 1},
    {"command": ["true"], "status": "completed"},
    {"command": ["true"], "priority": 50},
    "text",
    5,
    None,
    [[]],
    [None],
]


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: json.dumps(body)[:60])
def test_a_malformed_body_is_422_names_its_field_and_stores_nothing(calm: Yard, body: Any) -> None:
    response = calm.ask("POST", "/api/queue/submit", json.dumps(body).encode())
    assert response.status_code == 422, response.text
    answer = response.json()
    assert isinstance(answer["detail"], str) and answer["detail"]
    assert answer["errors"]
    assert calm.get("/api/jobs")["total"] == 0


RAW = [
    (b"{", 400),
    (b"", 422),
    (b"\xff", 400),
    (b'{"command": ["true"], "estimated_cost": NaN}', 400),
    (b'{"command": ["true"], "estimated_cost": Infinity}', 400),
    (b'{"command": ["true"], "estimated_cost": 1e999}', 400),
    (b'{"command": ["\\ud800"]}', 400),
    (b'{"\\ud800": 1}', 400),
    (b'{"command": ["a\\u0000b"]}', 422),
    (b'{"metadata": {"a\\u0000": 1}, "command": ["a"]}', 422),
    (b'{"command": ["true"], "num_processes": ' + b"9" * 5_000 + b"}", 400),
    (b"[" * 100_000, 400),
    (b'{"command": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400),
    (b'{"command": ["' + b"x" * 300_000 + b'"]}', 413),
]


@pytest.mark.parametrize(("body", "status"), RAW, ids=lambda value: str(value)[:40])
def test_what_is_hardly_json_never_gets_far(calm: Yard, body: bytes, status: int) -> None:
    response = calm.ask("POST", "/api/queue/submit", body)
    assert response.status_code in (400, 413, 422), response.text
    assert status == response.status_code or {status, response.status_code} == {400, 422}
    assert isinstance(response.json()["detail"], str)
    assert calm.get("/api/jobs")["total"] == 0


# --- the second name ---


def test_cloud_submit_sets_the_target(yard: Yard) -> None:
    answer = yard.post("/api/cloud/jobs/submit?provider=slurm", {"command": ["true"]})
    assert (answer["success"], answer["error"]) == (False, "provider_not_configured")
    assert "slurm" in answer["reason"]
    assert "replicate" in yard.post("/api/cloud/jobs/submit", {"command": ["true"]})["reason"]
    assert yard.ask("POST", "/api/cloud/jobs/submit", {"command": ["a"], "target": "local"}).status_code == 422
    assert yard.ask("POST", "/api/cloud/jobs/submit?provider=%2e%2e", {"command": ["a"]}).status_code == 422


def test_every_key_of_the_contract_is_taken(yard: Yard) -> None:
    body = {
        "command": ["true"],
        "workdir": "/tmp",
        "env": {"A": "1"},
        "no_wait": False,
        "any_gpu": False,
        "target": "local",
        "provider": None,
        "worker_labels": {"gpu_type": "a100*", "location": "us-*"},
        "num_processes": 1,
        "device_ids": [3, 1],
        "name": "night run",
        "priority_override": 35,
        "team_id": "red",
        "estimated_cost": 0.5,
        "requires_approval": False,
        "for_approval": False,
        "max_attempts": 2,
        "retry_on": ["oom", "exit:1", "signal:KILL"],
        "time_limit": "1h30m",
        "not_before": "2020-01-01T00:00:00Z",
        "partition_policy": "hold",
        "lease_seconds": 600,
        "checkpoint_signal": "USR1",
        "metadata": {"run_name": "x"},
        "dry_run": False,
    }
    answer = submit(yard, body)
    assert answer["success"], answer
    job = yard.wait(answer["job_id"])
    assert (job["name"], job["priority_override"], job["team_id"], job["max_attempts"]) == ("night run", 35, "red", 2)
    assert (job["time_limit"], job["estimated_cost"], job["device_ids"]) == (5_400.0, 0.5, [3, 1])
    assert job["metadata"] == {"run_name": "x"}
    assert set(JobSpec.__struct_fields__) >= {"partition_policy", "lease_seconds", "checkpoint_signal", "retry_on"}
