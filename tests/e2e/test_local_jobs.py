"""One machine, end to end: the cases that the local queue must hold, with real processes."""

from __future__ import annotations

import itertools
import json
import sys
import threading
from pathlib import Path
from typing import Any

from gpuyard.actors.model.clock import epoch
from tests.e2e.conftest import MakeServer
from tests.e2e.server import Server
from tests.support import eventually

SLEEP = ("sleep", "600")


def gpu_sets(server: Server, job_ids: list[str]) -> list[set[int]]:
    return [set(server.job(job_id)["allocated_gpus"] or ()) for job_id in job_ids]


def test_a_job_runs_and_its_true_exit_code_and_log_are_recorded(server: Server) -> None:
    answer = server.submit(sys.executable, "-c", "import os; print('on', os.environ['CUDA_VISIBLE_DEVICES']); exit(7)")
    assert answer["status"] == "running" and answer["allocated_gpus"] == [0]
    job = server.wait(answer["job_id"])
    assert (job["status"], job["exit_code"], job["exit_class"]) == ("failed", 7, "exit:7")
    assert "7" in job["error_message"]
    assert server.get(f"/api/jobs/{answer['job_id']}/logs").body["logs"] == "on 0\n"


def test_two_jobs_of_two_gpus_run_at_once_on_disjoint_gpus(server: Server) -> None:
    ids = [server.submit(*SLEEP, num_processes=2)["job_id"] for _ in range(2)]
    first, second = gpu_sets(server, ids)
    assert first | second == {0, 1, 2, 3} and not first & second


def test_sixty_submits_at_the_same_instant_each_run_exactly_once(server: Server, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    script = (
        "import os, pathlib, sys\n"
        "gpu = os.environ['CUDA_VISIBLE_DEVICES']\n"
        f"mark = pathlib.Path({str(marks)!r})\n"
        "os.close(os.open(mark / f'gpu-{gpu}', os.O_CREAT | os.O_EXCL))\n"
        "os.close(os.open(mark / os.environ['GPUYARD_JOB_ID'], os.O_CREAT | os.O_EXCL))\n"
        "(mark / f'gpu-{gpu}').unlink()\n"
    )
    ids: list[str] = []
    start = threading.Barrier(60)

    def submit() -> None:
        start.wait()
        ids.append(server.submit(sys.executable, "-S", "-c", script)["job_id"])

    threads = [threading.Thread(target=submit) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    jobs = [server.wait(job_id, timeout=90) for job_id in ids]
    assert [job["status"] for job in jobs] == ["completed"] * 60
    assert sorted(path.name for path in marks.iterdir()) == sorted(ids), "each ran exactly once, no two on one GPU"


def test_every_end_frees_its_gpus_and_starts_the_next_by_itself(server: Server) -> None:
    server.limits(local_job_max_concurrent=1)
    ends = [
        (("true",), "completed", None),
        ((sys.executable, "-S", "-c", "import os; os.kill(os.getpid(), 9)"), "failed", "SIGKILL"),
        (("no-such-program-anywhere",), "failed", "no-such-program-anywhere"),
    ]
    ids = [server.submit(*command)["job_id"] for command, _, _ in ends]
    after = server.submit("true")["job_id"]
    for job_id, (_, status, words) in zip(ids, ends, strict=True):
        job = server.wait(job_id)
        assert job["status"] == status
        assert words is None or words in job["error_message"]
    assert server.wait(after)["status"] == "completed"
    local = server.stats()["local"]
    assert local["allocated_gpus"] == [] and local["available_gpus"] == [0, 1, 2, 3]


def test_the_next_job_starts_at_the_end_not_at_the_next_tick(server: Server) -> None:
    server.limits(local_job_max_concurrent=1)
    ids = [server.submit("true")["job_id"] for _ in range(10)]
    jobs = [server.wait(job_id) for job_id in ids]
    stamps = [(job["started_at"], job["completed_at"]) for job in jobs]
    gaps = sorted(epoch(later[0]) - epoch(earlier[1]) for earlier, later in itertools.pairwise(stamps))
    assert gaps[len(gaps) // 2] < 2.5, "half a tick: it cannot have been the tick"


class TestCancel:
    def test_cancelling_a_run_starts_nothing_until_the_queue_is_processed(self, server: Server) -> None:
        server.limits(local_job_max_concurrent=1)
        first = server.submit(*SLEEP)["job_id"]
        second = server.submit(*SLEEP)["job_id"]
        server.wait_phase(first)
        answer = server.post(f"/api/jobs/{first}/cancel").body
        assert answer["success"] and answer["status"] == "running" and answer["phase"] == "stopping"
        assert server.wait(first)["status"] == "cancelled"
        assert server.stats()["processing_held"] is True
        job = server.job(second)
        assert job["status"] == "pending" and job["reasons"][0]["code"] == "ProcessingHeld"
        answer = server.post("/api/queue/process").body
        assert answer == {"success": True, "dispatched": 1, "job_ids": [second]}
        server.wait(second, "running")

    def test_bulk_cancel_of_a_hundred_lets_none_slip_through(self, server: Server) -> None:
        ids = [server.submit(*SLEEP)["job_id"] for _ in range(100)]
        answer = server.post("/api/jobs/cancel", {"all": True}).body
        assert sorted(answer["cancelled"]) == sorted(ids) and answer["still_pending"] == 0
        jobs = [server.wait(job_id) for job_id in ids]
        assert {job["status"] for job in jobs} == {"cancelled"}
        assert sum(bool(job["attempts"]) for job in jobs) == 4

    def test_a_run_that_ignores_term_slows_nobody_and_leaves_no_process(self, server: Server, tmp_path: Path) -> None:
        pid_file = tmp_path / "pids"
        script = (
            "import os, signal, sys, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "if os.fork() == 0:\n"
            "    os.setsid()\n"
            "    if os.fork():\n"
            "        os._exit(0)\n"
            f"with open({str(pid_file)!r}, 'a') as f:\n"
            "    f.write(f'{os.getpid()}\\n')\n"
            "time.sleep(600)\n"
        )
        stubborn = server.submit(sys.executable, "-c", script)["job_id"]
        eventually(lambda: pid_file.exists() and len(pid_file.read_text().splitlines()) == 2)
        server.post(f"/api/jobs/{stubborn}/cancel")
        other = server.submit("true")["job_id"]
        assert server.wait(other)["status"] == "completed"
        assert server.wait(stubborn)["status"] == "cancelled"
        for pid in map(int, pid_file.read_text().split()):
            assert not Path(f"/proc/{pid}").exists()


class TestCrash:
    def test_runs_survive_kill_9_of_the_supervisor_and_end_with_their_true_codes(
        self, server: Server, tmp_path: Path
    ) -> None:
        wait = (
            "import pathlib, sys, time\n"
            "while not pathlib.Path(sys.argv[1]).exists():\n"
            "    time.sleep(0.01)\n"
            "exit(int(sys.argv[2]))"
        )
        away, later = tmp_path / "away", tmp_path / "later"
        ends_away = server.submit(sys.executable, "-c", wait, str(away), "3")["job_id"]
        ends_later = server.submit(sys.executable, "-c", wait, str(later), "4")["job_id"]
        pids = [server.wait_phase(job_id)["attempts"][-1]["pid"] for job_id in (ends_away, ends_later)]
        server.kill()
        assert Path(f"/proc/{pids[1]}").exists(), "the run lives on"
        away.touch()
        eventually(lambda: not Path(f"/proc/{pids[0]}").exists())
        server.start()
        job = server.wait(ends_away)
        assert (job["status"], job["exit_code"]) == ("failed", 3)
        job = server.wait_phase(ends_later)
        assert (job["status"], job["attempts"][-1]["pid"]) == ("running", pids[1])
        assert job["allocated_gpus"] == [1]
        later.touch()
        job = server.wait(ends_later)
        assert (job["exit_code"], job["attempt"]) == (4, 1)

    def test_queue_limits_holds_and_history_survive_a_restart_and_pending_jobs_start(self, server: Server) -> None:
        server.limits(local_job_max_concurrent=1, local_gpu_max_concurrent=3)
        done = server.submit("true")["job_id"]
        server.wait(done)
        running = server.submit(*SLEEP, num_processes=2)["job_id"]
        pending = server.submit("true")["job_id"]
        blocked = server.submit("true", requires_approval=True)["job_id"]
        server.wait_phase(running)
        assert server.stop() == 0
        server.start()
        assert server.get("/api/queue/concurrency").body["local_gpu_max_concurrent"] == 3
        assert server.job(done)["status"] == "completed"
        assert server.job(running)["allocated_gpus"] == [0, 1]
        assert server.job(pending)["status"] == "pending"
        server.kill()
        server.environ["GPUYARD_LOG_LEVEL"] = "debug"
        server.start()
        server.post(f"/api/jobs/{running}/cancel")
        server.wait(running)
        server.kill()
        server.start()
        assert server.wait(pending)["status"] == "completed", "a restart processes what is pending"
        assert server.job(blocked)["status"] == "blocked"
        assert server.post(f"/api/queue/{blocked}/approve").status == 200
        assert server.wait(blocked)["status"] == "completed"

    def test_a_second_server_on_the_same_data_is_refused(self, server: Server, make_server: MakeServer) -> None:
        second = make_server()
        second.data = server.data
        assert second.launch().wait(timeout=60) == 1
        assert "pid" in second.stderr()
        second.data = second.folder / "data"
        assert server.get("/healthz").status == 200


def test_the_lines_that_people_grep_for_are_in_the_log(server: Server) -> None:
    (server.data / "gpu_faults.json").write_text(json.dumps({"0": {"foreign": [{"pid": 4711}]}}))
    eventually(lambda: server.stats()["local"]["available_gpus"] == [1, 2, 3])
    waiting = server.submit("true", device_ids=[0])["job_id"]
    for text in (server.stderr(), (server.data / "server.log").read_text()):
        assert "Queue scheduler started with 5s processing interval" in text
        assert f"Failed to allocate GPUs [0] to job {waiting}: " in text


def test_positions_are_1_to_n_and_agree_everywhere(server: Server) -> None:
    server.limits(local_job_max_concurrent=1)
    server.submit(*SLEEP)
    answers = [server.submit("true") for _ in range(5)]
    by_submit = {a["job_id"]: a["queue_position"] for a in answers}
    assert sorted(by_submit.values()) == [1, 2, 3, 4, 5]
    entries = server.get("/api/queue?status=pending").body["entries"]
    assert {e["job_id"]: e["position"] for e in entries} == by_submit
    assert [e["position"] for e in entries] == [1, 2, 3, 4, 5]
    for job_id, position in by_submit.items():
        answer = server.get(f"/api/queue/position/{job_id}").body
        assert answer["position"] == position and answer["reasons"]
        assert server.job(job_id)["queue_position"] == position
    mine = server.get("/api/queue/me").body
    assert mine["best_position"] == 1 and mine["pending_count"] == 5 and mine["running_count"] == 1


def test_an_idempotency_key_makes_a_repeat_harmless(server: Server) -> None:
    body = {"command": ["true"], "name": "once"}
    first = server.post("/api/queue/submit", body, **{"Idempotency-Key": "abc"}).body
    again = server.post("/api/queue/submit", body, **{"Idempotency-Key": "abc"}).body
    assert again["job_id"] == first["job_id"] and again["idempotent_hit"] is True
    server.wait(first["job_id"])
    server.kill()
    server.start()
    again = server.post("/api/queue/submit", body, **{"Idempotency-Key": "abc"}).body
    assert (again["job_id"], again["status"]) == (first["job_id"], "completed")
    assert server.post("/api/queue/submit", {"command": ["false"]}, **{"Idempotency-Key": "abc"}).status == 409


def test_a_run_gets_exactly_the_environment_that_is_promised(server: Server) -> None:
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    answer = server.submit(sys.executable, "-c", script, num_processes=2, env={"LR": "1e-4", "NAME": "Ü ö"})
    server.wait(answer["job_id"])
    environ: dict[str, Any] = json.loads(server.get(f"/api/jobs/{answer['job_id']}/logs").body["logs"])
    assert environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert environ["GPUYARD_JOB_ID"] == answer["job_id"] and environ["GPUYARD_ATTEMPT"] == "1"
    assert environ["GPUYARD_NUM_PROCESSES"] == "2" and environ["PYTHONUNBUFFERED"] == "1"
    assert environ["LR"] == "1e-4" and environ["NAME"] == "Ü ö"
    assert environ["MASTER_ADDR"] == "127.0.0.1" and int(environ["MASTER_PORT"]) > 1024
    assert Path(environ["GPUYARD_JOB_DIR"]).is_dir()
