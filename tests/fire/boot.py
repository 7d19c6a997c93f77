"""Faults while a server starts: kill, EIO and ENOSPC at its opens, writes, syncs and renames in the data folder.

It becomes ready all the same, or ends with a clear sentence; the next start finds everything, and runs live on.
"""

from __future__ import annotations

import http.client
import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from gpuyard.actors.store import admin
from tests.e2e.server import Server
from tests.fire.report import Report
from tests.fire.strace import ACTIONS, BOOT_CALLS, Point, counts, from_the_start
from tests.support import eventually

# What a start may end with: refused, given up, or a configuration that cannot be; and killed.
ENDS = {1, 70, 78, -9}
FILES = (
    "jobs.db",
    "jobs.db-wal",
    "jobs.db-shm",
    "jobs.db-journal",
    "jobs.db.new",
    "jobs.db.new-journal",
    "jobs.db.lock",
)
MORE = ("server.json", "server.json.new", "server.log", "gpus.json", "runs", "jobs", "sockets", "")
SECONDS = 60


class Trial:
    """`points` faults, one a start; every third one on an empty folder."""

    def __init__(self, folder: Path, points: int, seed: int = 1) -> None:
        self._folder = folder
        self._points = points
        self._chance = random.Random(seed)
        self._report = Report("faults while a server starts")
        self._outcomes: Counter[str] = Counter()
        self._exits: Counter[str] = Counter()
        self._known: dict[str, str] = {}
        self._stays: dict[str, Any] = {}
        self._server = Server(folder, gpus="4", GPUYARD_STOP_GRACE_SECONDS="0.2")

    def run(self) -> Report:
        """Everything, in order; nothing of it is left afterwards."""
        report = self._report
        try:
            self._settle()
            old, new = self._counts(self._server), self._counts(self._fresh("scout"))
            for number in range(self._points):
                if number % 3 == 2:
                    server = self._fresh(f"fresh-{number}")
                    self._try(server, self._draw(new), {})
                    server.close()
                    shutil.rmtree(server.folder)
                else:
                    self._try(self._server, self._draw(old), self._known)
        finally:
            self._server.close()
        report.figure("calls of a start", old)
        report.figure("calls of the first start", new)
        report.figure("points", sum(self._outcomes.values()))
        for outcome, number in sorted(self._outcomes.items()):
            report.figure(f"  {outcome}", number)
        for sentence, number in self._exits.most_common(8):
            report.figure(f"it ended {number} x with", sentence)
        return report

    def _fresh(self, name: str) -> Server:
        """A server on an empty folder, not started."""
        folder = self._folder / name
        folder.mkdir()
        return Server(folder, gpus="4", GPUYARD_STOP_GRACE_SECONDS="0.2")

    def _settle(self) -> None:
        """A queue with a past, and a run that shall outlive everything."""
        self._server.start().limits(local_job_max_concurrent=4)
        for code in (0, 3):
            job = self._server.wait(self._server.submit("sh", "-c", f"exit {code}")["job_id"])
            self._known[job["job_id"]] = job["status"]
        for number in range(20):
            job_id = self._server.submit("true", requires_approval=True, name=f"waits-{number}")["job_id"]
            self._known[job_id] = "blocked"
        self._stays = self._server.wait_phase(self._server.submit("sleep", "3600")["job_id"])
        self._known[self._stays["job_id"]] = "running"
        self._server.kill()

    def _counts(self, server: Server) -> dict[str, int]:
        """How many calls of each kind one start makes when nothing fails."""
        server.prefix = from_the_start(server.folder / "trace", self._paths(server))
        server.start()
        server.kill()
        server.prefix = []
        found = counts(server.folder / "trace", BOOT_CALLS)
        if server is not self._server:
            server.close()
        return found

    def _paths(self, server: Server) -> list[Path]:
        return [server.data / name if name else server.data for name in (*FILES, *MORE)]

    def _draw(self, calls: dict[str, int]) -> Point:
        call = self._chance.choice([call for call, number in calls.items() if number])
        action = self._chance.choice(list(ACTIONS))
        lasting = action != "KILL" and self._chance.random() < 0.5
        # Writes are many, nearly all of them to fill the log: the first ones are drawn as often as all others.
        last = self._chance.choice((calls[call], min(calls[call], 40)))
        return Point(call, action, self._chance.randint(1, last), lasting)

    # --- one point ---

    def _try(self, server: Server, point: Point, known: dict[str, str]) -> None:
        server.prefix = from_the_start(server.folder / "trace", self._paths(server), point)
        server.launch()
        server.prefix = []
        try:
            outcome = eventually(lambda: self._outcome(server), timeout=SECONDS, message="neither ready nor ended")
        except AssertionError as error:
            self._broken(point, str(error))
            outcome = "stuck"
        self._outcomes[f"{point.call}, {point.action}{'+' if point.lasting else ''}: {outcome}"] += 1
        if outcome == "ready":
            server.kill()
        elif outcome != "stuck":
            self._judge_end(server, point)
        else:
            server.kill()
        self._check(server, point, known)

    def _outcome(self, server: Server) -> str | None:
        assert server.process is not None
        code = server.process.poll()
        if code is not None:
            return f"exit {code}"
        return "ready" if _is_ready(server) else None

    def _judge_end(self, server: Server, point: Point) -> None:
        assert server.process is not None
        code, said = server.process.returncode, server.stderr()
        if code not in ENDS:
            self._broken(point, f"exit code {code}: {said[-300:]}")
        if code in (-9, None):
            return
        why = [line for line in said.splitlines() if "why:" in line or "giving up" in line]
        self._exits[why[-1].strip().replace(str(server.data), "…")[-110:] if why else "nothing"] += 1
        if not why or "rollback" in why[-1]:
            self._broken(point, f"exit code {code} without a word: {said[-300:]}")
        if code == 1 and "Traceback" in said:
            self._broken(point, f"a traceback instead of a sentence: {said[-600:]}")

    def _check(self, server: Server, point: Point, known: dict[str, str]) -> None:
        """The next start finds everything."""
        try:
            server.start()
        except (AssertionError, RuntimeError) as error:
            self._broken(point, f"the next start failed: {str(error)[-400:]}")
            return
        for job_id, status in known.items():
            answer = server.get(f"/api/jobs/{job_id}")
            if answer.status != 200 or answer.body["job"]["status"] != status:
                self._broken(point, f"job {job_id} was {status}, now {answer.status} {str(answer.body)[:100]}")
        if known:
            attempts = server.job(self._stays["job_id"])["attempts"]
            if [attempt["pid"] for attempt in attempts] != [self._stays["attempts"][0]["pid"]]:
                self._broken(point, f"the run that stays is another: {attempts}")
            job_id = server.submit("true", requires_approval=True)["job_id"]
            known[job_id] = "blocked"
        else:
            job_id = server.submit("sh", "-c", "exit 3")["job_id"]
            if server.wait(job_id)["exit_code"] != 3:
                self._broken(point, "a job does not run")
        server.kill()
        for problem in admin.check(server.data / "jobs.db"):
            self._broken(point, problem)

    def _broken(self, point: Point, text: str) -> None:
        self._report.broken(f"{point}: {text}")


def _is_ready(server: Server) -> bool:
    try:
        server.url = json.loads((server.data / "server.json").read_text())["url"]
        return server.get("/readyz").status == 200
    except (OSError, ValueError, http.client.HTTPException):
        return False
