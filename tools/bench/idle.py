"""What does an idle server cost, and a live run? Reported, without a bar, against a bare Python process.

Resident memory (RSS) of all processes of the server; memory and processes that each live run adds; seconds from the
start of the server to ready. Run: python tools/bench/idle.py
"""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
from harness import Ratio, report, server

RUNS = 8
MB = 1 << 20


def family(pid: int) -> list[psutil.Process]:
    """A process and its descendants, keepers included while their zygote lives."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def memory(processes: list[psutil.Process], program: str) -> float:
    """Proportional memory in bytes (shared pages divided), without the trainings themselves."""
    total = 0.0
    for process in processes:
        try:
            if program not in process.cmdline():
                total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total


def main() -> int:
    bare = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    time.sleep(1)
    reference = psutil.Process(bare.pid).memory_full_info().pss
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    start_of_python = time.monotonic() - began
    with server(gpus=RUNS) as bench:
        api = bench.api()
        api.ask("POST", "/api/queue/concurrency", {"local_job_max_concurrent": RUNS})
        time.sleep(2)
        idle, idle_count = memory(family(bench.pid), "/bin/sleep"), len(family(bench.pid))
        api.ask("POST", "/api/queue/submit", [{"command": ["/bin/sleep", "600"]}] * RUNS)
        time.sleep(2)
        live, live_count = memory(family(bench.pid), "/bin/sleep"), len(family(bench.pid))
        api.ask("POST", "/api/jobs/cancel", {"all": True})
        api.wait_idle()
    bare.communicate(b"\n")
    each = (live - idle) / RUNS
    return report(
        [
            Ratio(
                "memory of an idle server against a bare python",
                idle / reference,
                None,
                note=f"{idle / MB:.0f} MB in {idle_count} processes",
            ),
            Ratio(
                "memory of a live run against a bare python",
                each / reference,
                None,
                note=f"{each / MB:.1f} MB and {(live_count - idle_count) / RUNS:.1f} processes, training included",
            ),
            Ratio(
                "start of the server to ready against python -c pass",
                bench.seconds_to_ready / start_of_python,
                None,
                note=f"{bench.seconds_to_ready:.2f} s",
            ),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
