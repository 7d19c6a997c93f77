"""How long is a slot empty between two jobs? The whole path: keeper, ProcessKeeper, Scheduler, store, and back.

End stamp of run i to start stamp of run i+1 on one slot, by the keepers' records: durable store, real keeper, logs
captured; the jobs are quiet for 30 ms, so that nothing is warm, as between real trainings. Reference: a turn of a bare
loop, `posix_spawn` of a program that does nothing and the wait for it, as quiet before it. Told too: against a turn
without rest, when all is warm (DESIGN 3 and 12 count in these, 0.65 ms each on their machine), and against the call of
`posix_spawn` alone, a part of a turn, which no queue with a durable commit and processes of its own comes near
(what_must_a_gap_cost.py).

Where task-spooler is installed (`tsp -S 1`) both queues run a job that writes its own stamps. Bar: 4x.
Run: python tools/bench/gap.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from harness import QUIET, QUIET_JOB, Api, BenchServer, Ratio, median, report, server, spawned, stamps, turns

ROUNDS = 6
RUNS = 40


def queued(bench: BenchServer, api: Api, runs: int = RUNS) -> list[float]:
    """Gaps between jobs that wait for one slot, in seconds."""
    ids = submitted(api, QUIET_JOB, runs)
    fences = [api.ask("GET", f"/api/jobs/{job_id}")["job"]["attempts"][-1]["fence"] for job_id in ids]
    return [later[0] - earlier[1] for earlier, later in pairwise(stamps(bench.data, fences))]


def submitted(api: Api, program: Sequence[str], runs: int) -> list[str]:
    """Run it so often, one after the other; the ids once all have ended."""
    answers = api.ask("POST", "/api/queue/submit", [{"command": list(program)} for _ in range(runs)])
    ids = [answer["job_id"] for answer in answers]
    while api.ask("GET", f"/api/queue/position/{ids[-1]}")["status"] in ("pending", "running"):
        time.sleep(0.05)
        if api.ask("GET", "/api/queue/stats")["total_running"] == 0:
            break
    return ids


def marking(marks: Path) -> tuple[str, ...]:
    """A job that writes its own start and end."""
    return ("/bin/sh", "-c", f"date +%s.%N >> {marks}; sleep {QUIET}; date +%s.%N >> {marks}")


def marked(marks: Path) -> list[float]:
    """Gaps between jobs by their own stamps, in seconds."""
    times = [float(line) for line in marks.read_text().split()]
    return [times[i + 1] - times[i] for i in range(1, len(times) - 1, 2)]


def spooled(tsp: str, folder: Path, runs: int = RUNS) -> list[float]:
    """Gaps of task-spooler."""
    env = {**os.environ, "TS_SOCKET": f"{folder}/socket", "TMPDIR": str(folder)}
    subprocess.run([tsp, "-S", "1"], env=env, check=True)
    for _ in range(runs):
        subprocess.run([tsp, *marking(folder / "marks")], env=env, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([tsp, "-w"], env=env, check=False)
    subprocess.run([tsp, "-K"], env=env, check=False)
    return marked(folder / "marks")


def against_task_spooler(api: Api) -> list[Ratio]:
    """Nothing where it is not installed."""
    tsp = shutil.which("tsp")
    if tsp is None:
        return []
    with tempfile.TemporaryDirectory(prefix="gpuyard-tsp-") as folder:
        theirs = median(spooled(tsp, Path(folder)))
        submitted(api, marking(Path(folder) / "ours"), RUNS)
        ours = median(marked(Path(folder) / "ours"))
    theirs_in_words = f"{theirs * 1e3:.2f} ms of task-spooler, which stores nothing"
    note = f"{ours * 1e3:.2f} ms against {theirs_in_words}; by the jobs' own stamps"
    return [Ratio("the same against task-spooler", ours / theirs, None, note=note)]


def main() -> int:
    figures: dict[str, list[float]] = {"gap": [], "turn": [], "warm": [], "call": []}
    with server(gpus=1) as bench:
        api = bench.api()
        queued(bench, api, 5)
        for _ in range(ROUNDS):
            figures["turn"].append(median(turns(RUNS, QUIET)))
            figures["warm"].append(median(turns(RUNS)))
            figures["call"].append(median(spawned(QUIET_JOB, RUNS)))
            figures["gap"].append(median(queued(bench, api)))
        others = against_task_spooler(api)
        api.close()
    gap, turn, warm, call = (figures[name] for name in ("gap", "turn", "warm", "call"))
    by_turn = f"{median(gap) * 1e3:.2f} ms against {median(turn) * 1e3:.2f} ms of a turn of posix_spawn and wait"
    by_warm, by_call = (f"{median(one) * 1e3:.2f} ms" for one in (warm, call))
    return report(
        [
            Ratio("gap between two jobs on one slot", median(ratios(gap, turn)), 4.0, note=by_turn),
            Ratio("the same against a turn without rest", median(ratios(gap, warm)), None, note=by_warm),
            Ratio("the same against the call of posix_spawn alone", median(ratios(gap, call)), None, note=by_call),
            *others,
        ]
    )


def ratios(ours: Sequence[float], reference: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(ours, reference, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
