"""Crash cycles with jobs at a provider that answers late: kill -9 of the supervisor, then both sides are counted.

Some calls have their effect only after the one who made them is dead. Which provider it is, `cloud_sides` says.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from gpuyard.actors.store import admin
from tests.e2e.server import TERMINAL, Server
from tests.fire.cloud_sides import Side
from tests.fire.report import Report
from tests.support import eventually


@dataclass(frozen=True)
class CloudPlan:
    """`cycles` crashes with `jobs` new jobs each; the rest as in `Side.behave`."""

    cycles: int = 50
    jobs: int = 4
    latency: tuple[float, float] = (0.0, 1.0)
    late: bool = True
    between: tuple[float, float] = (0.0, 1.5)
    troubles: bool = True
    seed: int = 1


class CloudTrial:
    """One server in `folder`, which is killed again and again, and the other side, which lives on."""

    def __init__(self, folder: Path, plan: CloudPlan, side: Side) -> None:
        self._plan, self._side = plan, side
        self._chance = random.Random(plan.seed)
        settings = {"GPUYARD_PROVIDERS": json.dumps({side.name: side.settings}), **side.environ}
        self._server = Server(folder, gpus="1", **settings)
        self._numbers: dict[str, int] = {}
        self._cancelled: set[str] = set()
        self._crashes = 0

    def run(self) -> Report:
        report = Report(f"crash cycles with jobs at a provider that answers late: {self._side.name}")
        began = time.monotonic()
        try:
            self._side.behave(self._plan.latency, self._plan.late, self._plan.troubles)
            self._server.start().limits(max_concurrent=100, user_max_concurrent=20)
            for _ in range(self._plan.cycles):
                self._cycle()
            self._side.behave((0.0, 0.0), True, False)
            self._settle()
            self._count(report)
        except (AssertionError, RuntimeError, OSError) as error:
            report.broken(f"the trial could not go on: {type(error).__name__}: {error}")
        finally:
            self._server.close()
            self._side.close()
        report.figure("minutes", round((time.monotonic() - began) / 60, 1))
        return report

    def _cycle(self) -> None:
        plan, chance = self._plan, self._chance
        for _ in range(plan.jobs):
            self._submit()
        if chance.random() < 0.5:
            self._cancel(chance.choice(list(self._numbers)))
        # Any moment may be the last one.
        threading.Event().wait(chance.uniform(*plan.between))
        self._server.kill()
        self._crashes += 1
        self._server.start()

    def _submit(self) -> None:
        number = len(self._numbers)
        order = self._side.order(number, round(self._chance.uniform(0.1, 2.0), 2))
        body = {"command": ["true"], "target": "cloud", "provider": self._side.name, "max_attempts": 10, **order}
        answer = self._server.post("/api/queue/submit", body)
        assert answer.status == 200 and answer.body["success"], (answer.status, answer.body)
        self._numbers[answer.body["job_id"]] = number

    def _cancel(self, job_id: str) -> None:
        if self._server.post(f"/api/jobs/{job_id}/cancel").status == 200:
            self._cancelled.add(job_id)

    def _settle(self) -> None:
        def ended() -> bool:
            stats = self._server.stats()
            return stats["total_pending"] == 0 and stats["total_running"] == 0

        eventually(ended, timeout=300, message="the queue did not become empty")

    def _count(self, report: Report) -> None:
        made = self._side.made()
        went: Counter[str] = Counter()
        for job_id, number in self._numbers.items():
            job = self._server.job(job_id)
            went[job["status"]] += 1
            attempts = len(job["attempts"])
            if job["status"] not in TERMINAL:
                report.broken(f"job {job_id} is {job['status']}")
            elif job["status"] == "failed":
                report.broken(f"job {job_id} failed: {job['exit_class']} {job['error_message']}")
            elif job["status"] == "cancelled" and job_id not in self._cancelled:
                report.broken(f"nobody cancelled job {job_id}")
            if job["status"] == "completed" and made[number] != 1:
                report.broken(f"job {job_id} was made {made[number]} times there in {attempts} attempts")
            elif made[number] > 1:
                report.broken(f"job {job_id} ({job['status']}) was made {made[number]} times there")
        for words in self._side.alive():
            report.broken(f"there {words}, and nobody knows of it")
        for number in set(made) - set(self._numbers.values()):
            report.broken(f"{number} was asked for by nobody")
        self._server.stop()
        for problem in admin.check(self._server.data / "jobs.db"):
            report.broken(f"the database: {problem}")
        report.figure("crashes of the supervisor", self._crashes)
        report.figure("jobs", f"{len(self._numbers)}: {dict(went)}")
        report.figure("remote jobs", sum(made.values()))
