"""Steady submits that are repeated, with their idempotency keys, until somebody acknowledges them."""

from __future__ import annotations

import http.client
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.server import Server

PROGRAM = Path(__file__).with_name("program.py")
CODES = (0, 0, 0, 1, 7, 42, 137, 255)
# What a client may see while the server dies and comes back: everything else is a broken promise.
RETRIED = {502, 503}


@dataclass
class Promise:
    """One job that was asked for: the end it must have, and the id it was acknowledged under (None: not yet)."""

    key: str
    body: dict[str, Any]
    code: int
    job_id: str | None = None

    @property
    def exit_class(self) -> str:
        return "completed" if self.code == 0 else f"exit:{self.code}"


class Load:
    """`threads` clients, each submitting one job every `pace` seconds that runs for up to `longest` seconds."""

    def __init__(self, server: Server, marks: Path, *, threads: int, pace: float, longest: float, seed: int) -> None:
        self._server = server
        self._marks = marks
        self._pace = pace
        self._longest = longest
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._given_up = threading.Event()
        self.promises: list[Promise] = []
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._threads = [
            threading.Thread(target=self._work, args=(f"{seed}-{number}", random.Random(f"{seed}-{number}")))
            for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self, timeout: float = 60) -> None:
        """Submit nothing new; what was asked for is repeated until it is acknowledged. Raises TimeoutError."""
        self._ended.set()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        late = [thread for thread in self._threads if thread.is_alive()]
        self.give_up()
        if late:
            raise TimeoutError(f"submits were not acknowledged within {timeout:g} s; clients saw {dict(self.seen)}")

    def give_up(self) -> None:
        """End at once, acknowledged or not."""
        self._ended.set()
        self._given_up.set()
        for thread in self._threads:
            thread.join()

    def _work(self, name: str, chance: random.Random) -> None:
        number = 0
        while not self._ended.wait(self._pace):
            number += 1
            promise = self._promise(f"{name}-{number}", chance)
            with self._lock:
                self.promises.append(promise)
            self._submit_until_acknowledged(promise)

    def _promise(self, key: str, chance: random.Random) -> Promise:
        # Mostly short: many starts and ends fall into each crash.
        seconds = min(self._longest, 0.1 + chance.expovariate(3.0 / self._longest))
        code = chance.choice(CODES)
        command = [sys.executable, "-S", "-I", str(PROGRAM), str(self._marks), f"{seconds:.3f}", str(code)]
        gpus = chance.choice((1, 1, 1, 2))
        return Promise(key, {"command": command, "name": key, "num_processes": gpus}, code)

    def _submit_until_acknowledged(self, promise: Promise) -> None:
        pause = 0.02
        while not self._submit(promise) and not self._given_up.wait(pause):
            pause = min(0.25, pause * 1.5)

    def _submit(self, promise: Promise) -> bool:
        """Was it acknowledged, or refused for good?"""
        if not self._server.url:
            return False
        try:
            answer = self._server.post("/api/queue/submit", promise.body, **{"Idempotency-Key": promise.key})
        except (OSError, http.client.HTTPException) as error:
            self._saw(type(error).__name__)
            return False
        self._saw(str(answer.status))
        if answer.status == 200 and answer.body["success"]:
            promise.job_id = answer.body["job_id"]
            return True
        if answer.status in RETRIED:
            return False
        with self._lock:
            self.wrong.append(f"submit {promise.key} was answered {answer.status}: {answer.body}")
        return True

    def _saw(self, what: str) -> None:
        with self._lock:
            self.seen[what] += 1
