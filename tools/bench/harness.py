"""What the benches share: a real server, a way to ask it, and how a ratio is told against its bar.

Every figure is a ratio against a reference that is measured in the same run, in interleaved rounds, by medians: the
machine's own speed cancels out.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# Seconds for which a job of the gap benches is quiet, so that nothing is warm when it ends, and that job.
QUIET = 0.03
QUIET_JOB = ("/bin/sleep", str(QUIET))


@dataclass(frozen=True)
class Ratio:
    """`value` against `bar`; `at_least` turns the bar round. `note` holds the absolute figures."""

    question: str
    value: float
    bar: float | None
    at_least: bool = False
    note: str = ""

    @property
    def ok(self) -> bool:
        if self.bar is None:
            return True
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def line(self) -> str:
        sign = ">=" if self.at_least else "<="
        bar = "reported" if self.bar is None else f"{sign} {self.bar:g}"
        return f"{'ok  ' if self.ok else 'MISS'} {self.value:8.2f}x  {bar:>9}  {self.question}  ({self.note})"


def report(ratios: Sequence[Ratio]) -> int:
    """Print them (as JSON lines too when GPUYARD_BENCH_JSON names a file); 0 when all bars hold."""
    for ratio in ratios:
        print(ratio.line(), flush=True)
    target = os.environ.get("GPUYARD_BENCH_JSON")
    if target:
        with Path(target).open("a") as file:
            for ratio in ratios:
                file.write(json.dumps({**ratio.__dict__, "ok": ratio.ok}) + "\n")
    return 0 if all(ratio.ok for ratio in ratios) else 1


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


class Api:
    """One kept-alive connection to a server."""

    def __init__(self, url: str) -> None:
        self.token = ""
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded answer; anything but 200 raises."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        self._connection.request(method, path, data, headers)
        response = self._connection.getresponse()
        raw = response.read()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {raw[:300]!r}")
        return json.loads(raw)

    def wait_idle(self, timeout: float = 60.0) -> None:
        """Until nothing runs."""
        deadline = time.monotonic() + timeout
        while self.ask("GET", "/api/queue/stats")["total_running"]:
            if time.monotonic() > deadline:
                raise RuntimeError("jobs still run")
            time.sleep(0.02)

    def close(self) -> None:
        self._connection.close()


@dataclass
class BenchServer:
    """A running server; `seconds_to_ready` from the start of its process."""

    url: str
    data: Path
    pid: int
    seconds_to_ready: float

    def api(self) -> Api:
        return Api(self.url)


@contextmanager
def server(gpus: int = 8, **environ: str) -> Iterator[BenchServer]:
    """A server of its own in a temporary folder, ended with all its runs."""
    with tempfile.TemporaryDirectory(prefix="gpuyard-bench-") as folder:
        data = Path(folder) / "data"
        env = {k: v for k, v in os.environ.items() if not k.startswith("GPUYARD_")}
        env |= {"GPUYARD_CONFIG_FILE": f"{folder}/none.toml", "GPUYARD_LOG_LEVEL": "warning", **environ}
        command = [sys.executable, "-m", "gpuyard", "server", "--port", "0", "--data-dir", str(data)]
        began = time.monotonic()
        process = subprocess.Popen([*command, "--simulate-gpus", str(gpus)], env=env, stdin=subprocess.DEVNULL)
        try:
            url = _wait_ready(process, data)
            yield BenchServer(url, data, process.pid, time.monotonic() - began)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _wait_ready(process: subprocess.Popen[bytes], data: Path) -> str:
    for _ in range(6_000):
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            url: str = json.loads((data / "server.json").read_text())["url"]
            api = Api(url)
            api.ask("GET", "/readyz")
            api.close()
            return url
        except (OSError, ValueError, RuntimeError, http.client.HTTPException):
            time.sleep(0.01)
    raise RuntimeError("the server did not become ready")


def stamps(data: Path, fences: Sequence[int]) -> list[tuple[float, float]]:
    """(start, end) of runs by the keepers' own records, in epoch seconds."""
    found = []
    for fence in fences:
        record = json.loads((data / "runs" / str(fence) / "exit.json").read_text())
        found.append((record["started_at"], record["ended_at"]))
    return found


def turns(runs: int, quiet: float = 0.0) -> list[float]:
    """A bare loop of `posix_spawn` and wait for a program that does nothing: seconds of each turn.

    `quiet` are the seconds of rest before each, after which nothing is warm any more.
    """
    found = []
    for _ in range(runs):
        time.sleep(quiet)
        began = time.perf_counter()
        os.waitpid(os.posix_spawn("/bin/true", ("/bin/true",), os.environ), 0)
        found.append(time.perf_counter() - began)
    return found


def spawned(program: Sequence[str], runs: int) -> list[float]:
    """The calls of `posix_spawn` in such a loop over `program`: seconds from an end to the next start."""
    gaps, ended = [], 0.0
    for _ in range(runs):
        pid = os.posix_spawn(program[0], program, os.environ)
        started = time.time()
        if ended:
            gaps.append(started - ended)
        os.waitpid(pid, 0)
        ended = time.time()
    return gaps
