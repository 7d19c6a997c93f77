"""How long is a slot empty between two jobs? The whole path: keeper, ProcessKeeper, Scheduler, store, and back.

End stamp of run i to start stamp of run i+1 on one slot: durable store, real keeper, logs captured. Reference: a bare
`posix_spawn` and wait loop of the same program. Where task-spooler is installed (`tsp -S 1`) it is told too.
Bar: 4x. Run: python tools/bench/gap.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from harness import Api, BenchServer, Ratio, median, report, server, spawned, stamps

ROUNDS = 6
RUNS = 40
PROGRAM = ("/bin/sleep", "0.03")


def queued(bench: BenchServer, api: Api, runs: int = RUNS) -> list[float]:
    """Gaps between jobs that wait for one slot, in seconds."""
    answers = api.ask("POST", "/api/queue/submit", [{"command": list(PROGRAM)} for _ in range(runs)])
    ids = [answer["job_id"] for answer in answers]
    while api.ask("GET", f"/api/queue/position/{ids[-1]}")["status"] in ("pending", "running"):
        time.sleep(0.05)
        if api.ask("GET", "/api/queue/stats")["total_running"] == 0:
            break
    fences = [api.ask("GET", f"/api/jobs/{job_id}")["job"]["attempts"][-1]["fence"] for job_id in ids]
    return [later[0] - earlier[1] for earlier, later in pairwise(stamps(bench.data, fences))]


def spooled(runs: int = RUNS) -> list[float] | None:
    """Gaps of task-spooler, by stamps that the jobs write themselves; None where it is not installed."""
    tsp = shutil.which("tsp")
    if tsp is None:
        return None
    with tempfile.TemporaryDirectory(prefix="gpuyard-tsp-") as folder:
        env = {**os.environ, "TS_SOCKET": f"{folder}/socket", "TMPDIR": folder}
        marks = Path(folder) / "marks"
        script = f"date +%s.%N >> {marks}; sleep 0.03; date +%s.%N >> {marks}"
        subprocess.run([tsp, "-S", "1"], env=env, check=True)
        for _ in range(runs):
            subprocess.run([tsp, "sh", "-c", script], env=env, check=True, stdout=subprocess.DEVNULL)
        subprocess.run([tsp, "-w"], env=env, check=False)
        subprocess.run([tsp, "-K"], env=env, check=False)
        times = [float(line) for line in marks.read_text().split()]
    return [times[i + 1] - times[i] for i in range(1, len(times) - 1, 2)]


def main() -> int:
    ratios: list[float] = []
    ours: list[float] = []
    reference: list[float] = []
    with server(gpus=1) as bench:
        api = bench.api()
        queued(bench, api, 5)
        for _ in range(ROUNDS):
            loop, jobs = spawned(PROGRAM, RUNS), queued(bench, api)
            ratios.append(median(jobs) / median(loop))
            ours += jobs
            reference += loop
        api.close()
    note = f"{median(ours) * 1e3:.2f} ms against {median(reference) * 1e3:.2f} ms of posix_spawn"
    results = [Ratio("gap between two jobs on one slot", median(ratios), 4.0, note=note)]
    other = spooled()
    if other is not None:
        note = f"{median(other) * 1e3:.2f} ms of task-spooler, which stores nothing"
        results.append(Ratio("the same against task-spooler", median(ours) / median(other), None, note=note))
    return report(results)


if __name__ == "__main__":
    sys.exit(main())
