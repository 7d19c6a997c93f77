"""Crash cycles: kill -9 of the supervisor, and of keepers, under load; then every promise is counted."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from gpuyard.actors.store import admin
from tests.e2e.server import Server
from tests.fire import keepers
from tests.fire.load import Load
from tests.fire.marks import Marks, judge
from tests.fire.report import Report
from tests.support import eventually

GPUS = 8
READY_SECONDS = 3.0


@dataclass(frozen=True)
class Plan:
    """`cycles` crashes, or as many as fit into `minutes`; jobs of 0.1 to `longest` seconds; keepers are shot too."""

    cycles: int = 50
    minutes: float | None = None
    longest: float = 5.0
    shoot_keepers: bool = True
    between: tuple[float, float] = (0.3, 3.0)
    threads: int = 4
    pace: float = 0.5
    seed: int = 1

    def more(self, done: int, began: float) -> bool:
        if self.minutes is not None:
            return time.monotonic() - began < self.minutes * 60
        return done < self.cycles


class Trial:
    """One server that is killed again and again in `folder`."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._marks = folder / "marks"
        self._marks.mkdir()
        self._server = Server(folder, gpus=str(GPUS))
        self._load = Load(
            self._server, self._marks, threads=plan.threads, pace=plan.pace, longest=plan.longest, seed=plan.seed
        )
        self._shot: set[int] = set()
        self._ready: list[float] = []

    def run(self) -> Report:
        """Everything, in order; nothing of it is left afterwards."""
        report = Report("crash cycles: kill -9 of the supervisor under load")
        began = time.monotonic()
        try:
            self._server.start().limits(local_job_max_concurrent=GPUS)
            self._load.start()
            try:
                while self._plan.more(len(self._ready), began):
                    self._cycle()
            except BaseException:
                self._load.give_up()
                raise
            self._load.end()
            self._settle()
            self._count(report)
            self._leave(report)
        except (AssertionError, RuntimeError, OSError) as error:
            # What comes after it would only repeat that the server is not well.
            report.broken(f"the trial could not go on: {type(error).__name__}: {error}")
        finally:
            self._server.close()
        report.figure("minutes", round((time.monotonic() - began) / 60, 1))
        return report

    def _cycle(self) -> None:
        self._let_live()
        if self._plan.shoot_keepers:
            self._shoot()
        url, self._server.url = self._server.url, ""
        assert url
        self._server.kill()
        if self._plan.shoot_keepers and self._chance.random() < 0.5:
            self._shoot()
        began = time.monotonic()
        self._server.start()
        self._ready.append(time.monotonic() - began)

    def _let_live(self) -> None:
        """Any moment may be the last one: how long the server lives is drawn by lot."""
        threading.Event().wait(self._chance.uniform(*self._plan.between))

    def _shoot(self) -> None:
        fence = keepers.shoot(self._server.data / "runs", self._chance)
        if fence is not None:
            self._shot.add(fence)

    def _settle(self) -> None:
        """Until every job has ended; retries of lost ones wait for up to 15 s."""

        def ended() -> bool:
            stats = self._server.stats()
            return stats["total_pending"] == 0 and stats["total_running"] == 0

        eventually(ended, timeout=300, message="the queue did not become empty")

    def _count(self, report: Report) -> None:
        marks = Marks(self._marks)
        report.problems += self._load.wrong
        for clash in marks.clashes:
            report.broken(f"two live runs had {clash['what']} at once; the later one was {clash['by']}")
        lost = requeued = 0
        for promise in self._load.promises:
            answer = self._server.get(f"/api/jobs/{promise.job_id}")
            if answer.status != 200:
                report.broken(f"acknowledged job {promise.job_id} ({promise.key}) is gone: {answer.status}")
                continue
            job = answer.body["job"]
            report.problems += judge(promise, job, marks, self._shot)
            lost += sum(attempt["exit_class"] == "lost" for attempt in job["attempts"])
            requeued += len(job["attempts"]) - 1
        known = {promise.job_id for promise in self._load.promises}
        if len(known) != len(self._load.promises):
            report.broken("two submits with different keys were acknowledged as one job")
        for stranger in marks.jobs - known:
            report.broken(f"job {stranger} ran, but was acknowledged to nobody")
        stats = self._server.stats()
        total = sum(stats["by_status"].values())
        if total != len(known):
            report.broken(f"{len(known)} jobs were acknowledged, but {total} are known to the server")
        if stats["local"]["allocated_gpus"] or len(stats["local"]["available_gpus"]) != GPUS:
            report.broken(f"GPUs leaked: {stats['local']}")
        report.figure("crashes of the supervisor", len(self._ready))
        report.figure("keepers killed", f"{len(self._shot)}, {lost} runs lost of them, {requeued} retries")
        report.figure("jobs acknowledged", len(known))
        report.figure("what clients saw", dict(self._load.seen.most_common()))
        times = sorted(self._ready)
        if times:
            middle, last = times[len(times) // 2], times[-1]
            report.figure("ready again", f"median {middle:.2f} s, longest {last:.2f} s", f"{READY_SECONDS:g} s")

    def _leave(self, report: Report) -> None:
        """Stop in order: no process is left, and the database is whole."""
        code = self._server.stop()
        if code != 0:
            report.broken(f"the server's orderly end had exit code {code}: {self._server.stderr()[-300:]}")
        try:
            eventually(lambda: not self._server.processes(), timeout=10)
        except AssertionError:
            report.broken(f"processes are left: {self._server.processes()}")
        report.problems += admin.check(self._server.data / "jobs.db")
