"""How much later does a job start on another host, and how long is a slot empty there between two jobs?

A worker on this machine, over TCP and CURVE, against the server's own GPUs, in the same run: submit to start when all
is idle (p50, bar 2x), and the end of a job to the start of the next one on one slot (bar 3x).
Run: python tools/bench/what_does_a_worker_cost.py
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from harness import Api, BenchServer, Ratio, median, report, server, stamps

ROUNDS = 4
SINGLE = 12
QUEUED = 25
PROGRAM = ["/bin/sleep", "0.03"]
LOCAL, WORKER = "local", "worker"


@contextmanager
def worker(bench: BenchServer, api: Api) -> Iterator[Path]:
    """One with one simulated GPU; its data folder."""
    data = bench.data.parent / "worker"
    token = api.ask("POST", "/api/admin/workers", {"name": "bench"})["token"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("GPUYARD_")}
    env |= {"GPUYARD_WORKER_TOKEN": token, "GPUYARD_CONFIG_FILE": str(data / "none.toml")}
    command = [sys.executable, "-m", "gpuyard", "worker", "--data-dir", str(data), "--simulate-gpus", "1"]
    process = subprocess.Popen(command, env=env | {"GPUYARD_LOG_LEVEL": "warning"}, stdin=subprocess.DEVNULL)
    try:
        while api.ask("GET", "/api/admin/workers")["workers"][0]["status"] != "idle":
            time.sleep(0.05)
        yield data
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def fences(api: Api, jobs: list[str]) -> list[int]:
    return [api.ask("GET", f"/api/jobs/{job}")["job"]["attempts"][-1]["fence"] for job in jobs]


def written(data: Path, numbers: list[int]) -> list[tuple[float, float]]:
    """The stamps, once the keepers have written them down: they say an end before they write it."""
    while True:
        try:
            return stamps(data, numbers)
        except FileNotFoundError:
            time.sleep(0.002)


def wait_ended(api: Api, jobs: list[str]) -> None:
    for job in jobs:
        while not api.ask("GET", f"/api/jobs/{job}")["job"]["is_terminal"]:
            time.sleep(0.02)


def to_start(api: Api, target: str, data: Path) -> float:
    """Seconds from a submit to the start of its program, when nothing else runs."""
    before = time.time()
    job = api.ask("POST", "/api/queue/submit", {"command": ["/bin/true"], "target": target})["job_id"]
    wait_ended(api, [job])
    ((started, _),) = written(data, fences(api, [job]))
    return started - before


def gaps(api: Api, target: str, data: Path) -> list[float]:
    """Seconds between jobs that wait for one slot."""
    bodies = [{"command": PROGRAM, "target": target}] * QUEUED
    jobs = [answer["job_id"] for answer in api.ask("POST", "/api/queue/submit", bodies)]
    time.sleep(QUEUED * 0.04)
    wait_ended(api, [jobs[-1]])
    wait_ended(api, jobs)
    return [later[0] - earlier[1] for earlier, later in pairwise(written(data, fences(api, jobs)))]


def free_port() -> int:
    """With the one after it free too."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as one:
            port: int = one.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except OSError:
                continue
            return port


def main() -> int:
    starts: dict[str, list[float]] = {LOCAL: [], WORKER: []}
    between: dict[str, list[float]] = {LOCAL: [], WORKER: []}
    start_ratios, gap_ratios = [], []
    with server(gpus=1, GPUYARD_ZMQ_BIND=f"127.0.0.1:{free_port()}") as bench:
        api = bench.api()
        with worker(bench, api) as data:
            places = ((LOCAL, bench.data), (WORKER, data))
            for target, folder in places:
                gaps(api, target, folder)  # warm
            for _ in range(ROUNDS):
                for target, folder in places:
                    starts[target].append(median([to_start(api, target, folder) for _ in range(SINGLE)]))
                    between[target].append(median(gaps(api, target, folder)))
                start_ratios.append(starts[WORKER][-1] / starts[LOCAL][-1])
                gap_ratios.append(between[WORKER][-1] / between[LOCAL][-1])
        api.close()
    return report(
        [
            Ratio("submit to start on an idle worker against locally", median(start_ratios), 2.0, note=_both(starts)),
            Ratio("gap between two jobs on a worker against locally", median(gap_ratios), 3.0, note=_both(between)),
        ]
    )


def _both(seconds: dict[str, list[float]]) -> str:
    return f"{median(seconds[WORKER]) * 1e3:.2f} ms against {median(seconds[LOCAL]) * 1e3:.2f} ms"


if __name__ == "__main__":
    sys.exit(main())
