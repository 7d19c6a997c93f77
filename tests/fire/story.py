"""One life of a queue, told step by step and repeated where it was refused: submit → start → finish → cancel.

It knows what was acknowledged, and what therefore must be true at the end, whatever happened on the way.
"""

from __future__ import annotations

import http.client
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.e2e.server import TERMINAL, Answer, Server
from tests.fire.load import PROGRAM
from tests.fire.marks import Marks
from tests.support import eventually

# So many rows that the log is brought into the database on the way: its writes and syncs are points too.
MANY = 150
CODE = 7


class Broken(Exception):
    """A promise was broken in a way that leaves no next step."""


class Story:
    """`name` is unique for each story of a server: its idempotency keys and jobs carry it. `fate` is what it meets."""

    def __init__(self, server: Server, marks: Path, name: str, fate: str) -> None:
        self._server = server
        self._marks = marks
        self._name = name
        self._fate = fate
        self.ids: dict[str, list[str]] = {}
        self.refusals: list[str] = []
        self.problems: list[str] = []
        run = [sys.executable, "-S", "-I", str(PROGRAM), str(marks)]
        self._bodies: dict[str, Any] = {
            "ends": {"command": [*run, "0.05", str(CODE)], "name": f"{name}-ends"},
            "stays": {"command": [*run, "600", "0"], "name": f"{name}-stays"},
            "many": [
                {"command": ["true"], "name": f"{name}-{number}", "requires_approval": True} for number in range(MANY)
            ],
        }

    @property
    def steps(self) -> list[tuple[str, Callable[[], bool]]]:
        """Each returns True once it is done, and may be repeated as often as need be."""
        return [
            ("submit", lambda: self._submit("ends")),
            ("submit another", lambda: self._submit("stays")),
            ("submit many", lambda: self._submit("many")),
            ("finish", lambda: self._is("ends", "failed")),
            ("start", lambda: self._is("stays", "running")),
            ("cancel", self._cancel),
            ("be cancelled", lambda: self._is("stays", "cancelled")),
            ("cancel all", self._cancel_all),
            ("process", lambda: self._ask("POST", "/api/queue/process") is not None),
        ]

    def check(self) -> None:
        """What must be true once all steps are done: into `problems`."""
        for name in self._bodies:
            before = self.ids[name]
            try:
                eventually(lambda name=name: self._submit(name), timeout=30)  # type: ignore[misc]
            except AssertionError as error:
                raise Broken(f"a repeat of {name!r} was never answered; {self.refusals[-1:]}") from error
            if self.ids[name] != before:
                self.broken(f"the same key gave other jobs for {name!r}: {before[:2]} and {self.ids[name][:2]}")
        marks = Marks(self._marks)
        for clash in marks.clashes:
            self.broken(f"two live runs had {clash['what']} at once")
        for name, status, code in (("ends", "failed", CODE), ("stays", "cancelled", None)):
            job = self._server.job(self.ids[name][0])
            if job["status"] != status or (code is not None and job["exit_code"] != code):
                self.broken(f"{name!r} ended as {job['status']}, {job['exit_class']}, instead of {status} {code}")
            self.problems += self._runs(name, job, marks)
        for job_id in self.ids["many"]:
            answer = self._server.get(f"/api/jobs/{job_id}")
            if answer.status != 200 or answer.body["job"]["status"] != "cancelled":
                self.broken(f"job {job_id} of many: {answer.status}, {str(answer.body)[:100]}")
        local = self._server.stats()["local"]
        if local["allocated_gpus"]:
            self.broken(f"GPUs leaked: {local['allocated_gpus']}")

    def _runs(self, name: str, job: dict[str, Any], marks: Marks) -> Iterator[str]:
        runs = marks.runs(job["job_id"])
        if len(job["attempts"]) != 1 or set(runs) - {attempt["fence"] for attempt in job["attempts"]}:
            yield f"{self._name}, {self._fate}: {name!r} has {len(job['attempts'])} attempts and ran as {sorted(runs)}"
        if sum(count["start"] for count in runs.values()) > 1 or (name == "ends" and len(runs) != 1):
            yield f"{self._name}, {self._fate}: {name!r} did not run exactly once: {runs}"

    def broken(self, text: str) -> None:
        self.problems.append(f"{self._name}, {self._fate}: {text}")

    # --- steps ---

    def _submit(self, name: str) -> bool:
        answer = self._ask("POST", "/api/queue/submit", self._bodies[name], **{"Idempotency-Key": self._key(name)})
        if answer is None:
            return False
        jobs = answer.body if isinstance(answer.body, list) else [answer.body]
        for job in jobs:
            if not job["success"]:
                raise Broken(f"submit of {name!r} was refused: {job}")
        self.ids[name] = [job["job_id"] for job in jobs]
        return True

    def _key(self, name: str) -> str:
        return f"{self._name}-{name}"

    def _is(self, name: str, status: str) -> bool:
        answer = self._ask("GET", f"/api/jobs/{self.ids[name][0]}")
        if answer is None:
            return False
        found = answer.body["job"]["status"]
        if found in TERMINAL and found != status:
            raise Broken(f"{name!r} is {found}, not {status}: {answer.body['job']['error_message']}")
        return bool(found == status)

    def _cancel(self) -> bool:
        # 409: the refused one before this was durable after all, and the job has ended since.
        return self._ask("POST", f"/api/jobs/{self.ids['stays'][0]}/cancel", allowed=(200, 409)) is not None

    def _cancel_all(self) -> bool:
        answer = self._ask("POST", "/api/jobs/cancel", {"all": True})
        return answer is not None and answer.body["still_pending"] == 0

    def _ask(
        self, method: str, path: str, body: Any = None, allowed: tuple[int, ...] = (200,), **headers: str
    ) -> Answer | None:
        """The answer, or None when it was refused for now, in a way that a client can act on."""
        try:
            answer = self._server.request(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.refusals.append(type(error).__name__)
            return None
        if answer.status in allowed:
            return answer
        if answer.status != 503:
            raise Broken(f"{method} {path} was answered {answer.status}: {str(answer.body)[:200]}")
        self.refusals.append(f"503 {answer.body['code']}: {answer.body['detail']}")
        if not answer.headers["Retry-After"] or not answer.body["detail"]:
            self.broken(f"{method} {path} was refused without a word: {answer.body}")
        return None
