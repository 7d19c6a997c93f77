"""Is the command line on screen at once? How long a verb takes, against a bare `python -c pass`, in the same run.

Run it with the Python that has gpuyard installed: `python tools/bench/is_the_command_line_quick.py [ROUNDS]`. The
server is a stub in this process that answers with 20 jobs, so that only the client is measured. Targets: `--help`
at most 6 times the bare interpreter, `jobs list` at most 12 times.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

JOBS = [
    {"job_id": f"{n:012d}", "status": "pending", "num_processes": 1, "queued_at": "2026-11-22T02:05:00Z", "name": "x"}
    for n in range(20)
]
BARE = "python -c pass"
CASES = {
    "gpuyard --help": (["--help"], 6.0),
    "gpuyard jobs --help": (["jobs", "--help"], 6.0),
    "gpuyard jobs list": (["jobs", "list"], 12.0),
    "gpuyard jobs list --format json": (["jobs", "list", "--format", "json"], 12.0),
}


class Took(NamedTuple):
    """One run: seconds by the clock, and of CPU time, which the load of others stretches less."""

    wall: float
    cpu: float


class Stub(BaseHTTPRequestHandler):
    """Answers every question with the same jobs."""

    def do_GET(self) -> None:
        body = json.dumps({"jobs": JOBS, "total": len(JOBS)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def took(command: list[str], environment: dict[str, str]) -> Took:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {**os.environ, "GPUYARD_SERVER": f"http://127.0.0.1:{server.server_port}"}
    commands = {BARE: [sys.executable, "-c", "pass"]}
    commands |= {name: [sys.executable, "-m", "gpuyard", *words] for name, (words, _) in CASES.items()}
    # In turns, so that whatever else the machine does falls on all of them alike.
    runs: dict[str, list[Took]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(took(command, environment))
    server.shutdown()
    print(f"{'':34} {'best':>9}  {'best':>5}  {'median':>6}  {'CPU':>5}  target")
    for name, found in runs.items():
        best = min(run.wall for run in found)
        wall = best / min(run.wall for run in runs[BARE])
        median = statistics.median(run.wall for run in found) / statistics.median(run.wall for run in runs[BARE])
        cpu = statistics.median(run.cpu for run in found) / statistics.median(run.cpu for run in runs[BARE])
        target = f"{CASES[name][1]:g}x" if name in CASES else ""
        print(f"{name:34} {1000 * best:6.1f} ms  {wall:4.1f}x  {median:5.1f}x  {cpu:4.1f}x  {target}")


if __name__ == "__main__":
    main()
