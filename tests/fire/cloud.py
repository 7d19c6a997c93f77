"""Crash cycles with jobs at a provider that answers late: kill -9 of the supervisor, then both sides are counted.

The provider is a process of its own that speaks Replicate's API. It keeps no token of ours, so everything hangs on what
was written ahead and on finding jobs again; some calls have their effect only after the one who made them is dead.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpuyard.actors.store import admin
from tests.clusters.fake_replicate import VERSIONS
from tests.e2e.server import TERMINAL, Server
from tests.fire.report import Report
from tests.support import eventually

TOKEN = "r8_test"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class CloudPlan:
    """`cycles` crashes with `jobs` new jobs each; the provider takes `latency` seconds to answer. `late`: a submit has
    its effect at once and is answered late; else the effect is late too."""

    cycles: int = 50
    jobs: int = 4
    latency: tuple[float, float] = (0.0, 1.0)
    late: bool = True
    between: tuple[float, float] = (0.0, 1.5)
    settle_seconds: float = 3.0
    troubles: bool = True
    seed: int = 1


class Provider:
    """The other side, in its own process."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "tests.clusters.fake_replicate", "--port", str(self.port), "--token", TOKEN]
        with (folder / "provider.log").open("wb") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(self._answers, timeout=60, message="the provider did not start")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def behave(self, **how: Any) -> None:
        self.ask("POST", "/_script", how)

    def jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", "/_jobs")["jobs"]
        return found

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)

    def _answers(self) -> bool:
        try:
            return "jobs" in self.ask("GET", "/_jobs")
        except (OSError, http.client.HTTPException, ValueError):
            return False


class CloudTrial:
    """One server and one provider in `folder`; the server is killed again and again."""

    def __init__(self, folder: Path, plan: CloudPlan) -> None:
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._provider = Provider(folder)
        settings = {
            "replicate": {
                "base_url": self._provider.url,
                "settle_seconds": plan.settle_seconds,
                "poll_seconds": 0.5,
                "call_seconds": 5.0,
            }
        }
        environ = {"GPUYARD_PROVIDERS": json.dumps(settings), "REPLICATE_API_TOKEN": TOKEN}
        self._server = Server(folder, gpus="1", **environ)
        self._seeds: dict[str, int] = {}
        self._cancelled: set[str] = set()
        self._crashes = 0

    def run(self) -> Report:
        report = Report("crash cycles with jobs at a provider that answers late")
        began = time.monotonic()
        try:
            self._server.start().limits(max_concurrent=100, user_max_concurrent=20)
            for _ in range(self._plan.cycles):
                self._cycle()
            self._provider.behave()
            self._settle()
            self._count(report)
        except (AssertionError, RuntimeError, OSError) as error:
            report.broken(f"the trial could not go on: {type(error).__name__}: {error}")
        finally:
            self._server.close()
            self._provider.close()
        report.figure("minutes", round((time.monotonic() - began) / 60, 1))
        return report

    def _cycle(self) -> None:
        plan, chance = self._plan, self._chance
        troubles = {"busy": 0.05, "broken": 0.05, "half": 0.1} if plan.troubles else {}
        self._provider.behave(latency=plan.latency, late=plan.late, **troubles)
        for _ in range(plan.jobs):
            self._submit()
        if self._seeds and chance.random() < 0.5:
            self._cancel(chance.choice(list(self._seeds)))
        # Any moment may be the last one.
        threading.Event().wait(chance.uniform(*plan.between))
        self._server.kill()
        self._crashes += 1
        self._server.start()

    def _submit(self) -> None:
        seed = len(self._seeds)
        given = {"seed": seed, "seconds": round(self._chance.uniform(0.1, 2.0), 2), "text": "hello"}
        options = {"model": "test/model", "version": VERSIONS["test/model"], "input": given}
        job_id = self._server.submit(
            "true", target="cloud", provider="replicate", provider_options=options, max_attempts=10
        )["job_id"]
        self._seeds[job_id] = seed

    def _cancel(self, job_id: str) -> None:
        if self._server.post(f"/api/jobs/{job_id}/cancel").status == 200:
            self._cancelled.add(job_id)

    def _settle(self) -> None:
        def ended() -> bool:
            stats = self._server.stats()
            return stats["total_pending"] == 0 and stats["total_running"] == 0

        eventually(ended, timeout=300, message="the queue did not become empty")

    def _count(self, report: Report) -> None:
        remote = Counter(job["input"]["seed"] for job in self._provider.jobs())
        went_well: Counter[str] = Counter()
        for job_id, seed in self._seeds.items():
            job = self._server.job(job_id)
            went_well[job["status"]] += 1
            attempts = len(job["attempts"])
            if job["status"] not in TERMINAL:
                report.broken(f"job {job_id} is {job['status']}")
            elif job["status"] == "failed":
                report.broken(f"job {job_id} failed: {job['exit_class']} {job['error_message']}")
            elif job["status"] == "cancelled" and job_id not in self._cancelled:
                report.broken(f"nobody cancelled job {job_id}")
            if job["status"] == "completed" and remote[seed] != 1:
                report.broken(f"job {job_id} was made {remote[seed]} times there in {attempts} attempts")
            elif remote[seed] > 1:
                report.broken(f"job {job_id} ({job['status']}) was made {remote[seed]} times there")
        for job in self._provider.jobs():
            if job["state"] in ("starting", "processing"):
                report.broken(f"{job['id']} is {job['state']} there, and nobody knows of it")
            if job["input"]["seed"] not in self._seeds.values():
                report.broken(f"{job['id']} was asked for by nobody")
        self._server.stop()
        for problem in admin.check(self._server.data / "jobs.db"):
            report.broken(f"the database: {problem}")
        report.figure("crashes of the supervisor", self._crashes)
        report.figure("jobs", f"{len(self._seeds)}: {dict(went_well)}")
        report.figure("remote jobs", sum(remote.values()))
