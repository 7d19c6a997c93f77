"""Power loss at the moment of each acknowledgement: is everything there that a client was told?

A real server works while all that it does to its database is recorded. For each answer that a client got, the files
are built as a power loss at that moment would leave them, and opened again by the store.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpuyard.actors.model.errors import DatabaseRefused
from gpuyard.actors.store import admin
from gpuyard.actors.store.database import Database
from tests.e2e.server import Server
from tests.fire import disk
from tests.fire.disk import Disk
from tests.fire.report import Report

# Rows enough that the log is brought into the database and begun anew, again and again.
MANY = 120
RESTART_EVERY = 25


@dataclass(frozen=True)
class Claim:
    """After `end` bytes of the record a client knew: this job exists, and if it has ended, so."""

    end: int
    job_id: str
    status: str | None = None
    exit_code: int | None = None


class Trial:
    """`images` power losses, half of them with a lottery over what was not yet durable."""

    def __init__(self, folder: Path, recorder: Path, images: int, seed: int = 1) -> None:
        self._folder = folder
        self._images = images
        self._chance = random.Random(seed)
        self._log = folder / "record"
        self._server = Server(folder, gpus="4", GPUYARD_STOP_GRACE_SECONDS="0.2")
        self._server.environ |= {
            "LD_PRELOAD": str(recorder),
            "FIRE_LOG": str(self._log),
            "FIRE_PREFIX": str(self._server.data / "jobs.db"),
        }
        self._claims: list[Claim] = []
        self._restarts: Counter[str] = Counter()
        self._pending: list[str] = []

    def run(self) -> Report:
        """Work, then lose power at each acknowledgement; nothing is left running."""
        report = Report("power loss at the moment of each acknowledgement")
        try:
            self._server.start().limits(local_job_max_concurrent=4)
            while self._moments < self._images:
                self._work()
                if self._moments // RESTART_EVERY > sum(self._restarts.values()):
                    self._restart()
        finally:
            self._server.close()
        self._lose_power(report)
        return report

    @property
    def _moments(self) -> int:
        return len({claim.end for claim in self._claims})

    # --- work ---

    def _work(self) -> None:
        match self._chance.randrange(10):
            case 0:
                bodies = [{"command": ["true"], "requires_approval": True}] * MANY
                self._pending += self._accepted(self._server.post("/api/queue/submit", bodies).body)
            case 1 if self._pending:
                job_ids, self._pending = self._pending, []
                assert self._server.post("/api/jobs/cancel", {"job_ids": job_ids}).status == 200
                for job_id in job_ids:
                    assert self._server.job(job_id)["status"] == "cancelled"
                self._claim(job_ids[0], "cancelled")
            case 2:
                job_id = self._server.submit("sleep", "600")["job_id"]
                self._claim(job_id)
                assert self._server.post(f"/api/jobs/{job_id}/cancel").status == 200
                self._claim_end(job_id)
                self._server.post("/api/queue/process")
            case _:
                job_id = self._server.submit("sh", "-c", f"exit {self._chance.randrange(3)}")["job_id"]
                self._claim(job_id)
                self._claim_end(job_id)

    def _accepted(self, answers: list[dict[str, Any]]) -> list[str]:
        job_ids = [answer["job_id"] for answer in answers]
        for job_id in job_ids:
            self._claims.append(Claim(self._now(), job_id))
        return job_ids

    def _claim_end(self, job_id: str) -> None:
        job = self._server.wait(job_id)
        self._claim(job_id, job["status"], job["exit_code"])

    def _claim(self, job_id: str, status: str | None = None, exit_code: int | None = None) -> None:
        self._claims.append(Claim(self._now(), job_id, status, exit_code))

    def _now(self) -> int:
        return self._log.stat().st_size

    def _restart(self) -> None:
        """By turns in order and by kill -9: closing moves the log into the database and deletes it."""
        if sum(self._restarts.values()) % 2:
            self._restarts["kill -9"] += 1
            self._server.kill()
        else:
            self._restarts["in order"] += 1
            assert self._server.stop() == 0
        self._server.start()

    # --- losses ---

    def _lose_power(self, report: Report) -> None:
        cuts = sorted({claim.end for claim in self._claims})
        cuts = sorted(self._chance.sample(cuts, min(len(cuts), (self._images + 1) // 2)))
        # A lottery a cut, then more of them at the same cuts until there are enough.
        rounds = -(-(self._images - len(cuts)) // len(cuts))
        image, made = Disk(), 0
        records = disk.read(self._log)
        known: dict[str, Claim] = {}
        claims = iter(self._claims)
        claim = next(claims, None)
        for cut in cuts:
            for record in records:
                image.follow(record)
                if record.end >= cut:
                    break
            while claim is not None and claim.end <= cut:
                known[claim.job_id] = claim
                claim = next(claims, None)
            for number in range(1 + rounds):
                if made == self._images:
                    break
                made += 1
                folder = self._folder / "image"
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                image.image(folder, self._chance if number else None)
                self._check(folder / "jobs.db", known, f"image {made} (byte {cut})", report)
        report.figure("acknowledgements", f"{len(self._claims)}, at {self._moments} moments")
        report.figure("restarts on the way", dict(self._restarts))
        report.figure("images", made)
        report.figure("jobs known in the last image", len(known))

    @staticmethod
    def _check(path: Path, known: dict[str, Claim], name: str, report: Report) -> None:
        """Open the image as the server would, and look for all that was known."""
        try:
            database = Database.open(path)
        except DatabaseRefused as error:
            report.broken(f"{name} is refused: {error.detail}")
            return
        try:
            database.snapshot(0.0)
            query = "SELECT job_id, status, exit_code FROM queue"
            rows = {job_id: (status, code) for job_id, status, code in database.connection.execute(query)}
        finally:
            database.close()
        for job_id, claim in known.items():
            if job_id not in rows:
                report.broken(f"{name}: acknowledged job {job_id} is gone")
            elif claim.status is not None and rows[job_id] != (claim.status, claim.exit_code):
                report.broken(f"{name}: job {job_id} had ended as {claim.status}, but is {rows[job_id]}")
        for problem in admin.check(path):
            report.broken(f"{name}: {problem}")
