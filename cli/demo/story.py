"""The story that the demonstration tells: seven trainings on four GPUs, step by step as the queue really moves."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gpuyard.cli.demo import train_tiny
from gpuyard.cli.exits import Failure
from gpuyard.cli.http import Client, segment
from gpuyard.cli.jobs import TERMINAL, reason_lines
from gpuyard.cli.text import epoch, span

MOST_SECONDS = 120.0
PAUSE = 0.1

Job = dict[str, Any]
Say = Callable[[str], None]


class Part(NamedTuple):
    """A training of the story: its name, GPUs, and options for train_tiny."""

    name: str
    gpus: int
    options: tuple[str, ...]


PARTS = (
    Part("anna", 1, ("--seconds", "4", "--seed", "1")),
    Part("ben", 2, ("--seconds", "9", "--seed", "2")),
    Part("cora", 1, ("--seconds", "60", "--seed", "3")),
    Part("big-one", 4, ("--seconds", "3", "--seed", "4")),
    Part("dora", 1, ("--seconds", "5", "--seed", "5")),
    Part("emil", 1, ("--seconds", "3", "--seed", "6")),
    Part("unlucky", 0, ("--seconds", "20", "--seed", "7", "--fail-at", "25")),
)
EXPECTED = {part.name: "completed" for part in PARTS} | {"cora": "cancelled", "unlucky": "failed"}


class Story:
    """Tells the story against a server. `jobs` by name, as they were last seen."""

    def __init__(self, client: Client, say: Say) -> None:
        self.client = client
        self.jobs: dict[str, Job] = {}
        self._ids: dict[str, str] = {}
        self._say = say

    def run(self, look: Callable[[], None]) -> None:
        """From the first submit to the last end; `look` is called at every turn.

        Raises Failure when it takes too long.
        """
        deadline = time.monotonic() + MOST_SECONDS
        for done in self._chapters():
            while True:
                self.refresh()
                look()
                if done():
                    break
                if time.monotonic() > deadline:
                    raise Failure("the demo takes too long", f"still {', '.join(self._unfinished())}", "gpuyard doctor")
                time.sleep(PAUSE)

    def refresh(self) -> None:
        """Look at all jobs again."""
        found = self.client.get("/api/jobs", query={"limit": 100})["jobs"]
        self.jobs = {job["name"]: job for job in found if job.get("name") in self._ids}

    def _chapters(self) -> Iterator[Callable[[], bool]]:
        """Each chapter acts, then yields what the next one waits for."""
        self._say("Four GPUs; up to four trainings at once. Seven are submitted:")
        self.client.post("/api/queue/concurrency", {"local_job_max_concurrent": 4})
        for part in PARTS:
            self._submit(part)
        yield lambda: all(self._is(name, "running", *TERMINAL) for name in ("anna", "ben", "cora"))

        self._say("Why does big-one wait? gpuyard jobs why " + self._ids["big-one"])
        self._explain("big-one")
        yield lambda: self._is("dora", "running", *TERMINAL) and self._is("unlucky", *TERMINAL)

        self._tell_handover("anna", "dora")
        self._say(f"unlucky broke down: {self.jobs['unlucky'].get('error_message')}")
        self._say("Changed your mind? gpuyard jobs cancel " + self._ids["cora"])
        self.client.post(f"/api/jobs/{segment(self._ids['cora'])}/cancel", what="cora could not be cancelled")
        yield lambda: self._is("cora", *TERMINAL)

        self._say("cora is stopped, her GPU is free, and yet emil is not started: a cancel of a run starts nothing,")
        self._say("so that no job slips through `gpuyard jobs cancel --all`. Why does emil wait?")
        self._explain("emil")
        started = self.client.post("/api/queue/process", what="the queue could not be processed")["job_ids"]
        self._say(f"So start what may start: gpuyard queue process ({len(started)} started)")
        yield lambda: self._is("big-one", "running", *TERMINAL)

        self._tell_handover(self._last_before("big-one"), "big-one")
        yield lambda: not self._unfinished()

    def _submit(self, part: Part) -> None:
        command = [sys.executable, str(Path(train_tiny.__file__).resolve()), *part.options]
        body = {"command": command, "name": part.name, "num_processes": part.gpus}
        answer = self.client.post("/api/queue/submit", body, what=f"{part.name} was not accepted", key=part.name)
        if not answer["success"]:
            raise Failure(f"{part.name} was not accepted", str(answer.get("reason")))
        self._ids[part.name] = str(answer["job_id"])
        wants = f"{part.gpus} GPU{'s' if part.gpus > 1 else ''}" if part.gpus else "CPU only"
        where = answer.get("allocated_gpus")
        then = f"starts on {gpu_words(where)}" if where else str(answer["status"])
        self._say(f"  {part.name:8} {wants:8}  {then}")

    def _explain(self, name: str) -> None:
        answer = self.client.get(f"/api/queue/position/{segment(self._ids[name])}")
        for line in reason_lines(answer.get("reasons") or []) or [f"it is {answer['status']} already"]:
            self._say(f"  {line}")

    def _tell_handover(self, before: str | None, after: str) -> None:
        gap = handover(self.jobs[before], self.jobs[after]) if before else None
        if gap is not None:
            self._say(f"{before} ended, and {after} ran {1000 * gap:.0f} ms later")

    def _last_before(self, name: str) -> str | None:
        """The job that ended last before `name` started."""
        started = epoch(self.jobs[name].get("started_at")) or time.time()
        ends = ((other, epoch(job.get("completed_at"))) for other, job in self.jobs.items())
        past = {other: end for other, end in ends if end is not None and end <= started and other != name}
        return max(past, key=lambda other: past[other], default=None)

    def _is(self, name: str, *statuses: str) -> bool:
        return name in self.jobs and self.jobs[name]["status"] in statuses

    def _unfinished(self) -> list[str]:
        return [name for name in EXPECTED if not self._is(name, *TERMINAL)]


def gpu_words(indices: list[int]) -> str:
    """`GPU 0`, `GPUs 1,2`."""
    return f"GPU{'s' if len(indices) > 1 else ''} {','.join(map(str, indices))}"


def handover(before: Job, after: Job) -> float | None:
    """Seconds from the end of one job to the start of another."""
    ended, started = epoch(before.get("completed_at")), epoch(after.get("started_at"))
    return None if ended is None or started is None else max(0.0, started - ended)


def waited(job: Job) -> str:
    queued, started = epoch(job.get("queued_at")), epoch(job.get("started_at"))
    return "-" if queued is None or started is None else span(started - queued)
