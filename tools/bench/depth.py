"""Does a long queue make the gap between two jobs longer? 100,000 waiting jobs against 10.

Three servers without a web side (supervisor, store, keepers; asked directly): 10 waiting jobs; 100,000 of one shape;
and 100,000 of 1,000 users, each user at the limit. The waiting jobs cannot start (their GPU is held, their user is at
`user_max_gpus`); the measured ones run one after the other on one slot. Bar: 1.25x.
Run: python tools/bench/depth.py [--jobs 100000]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path

from harness import Ratio, median, report, stamps

ROUNDS = 8
RUNS = 25
PROGRAM = ("/bin/sleep", "0.02")
FEW, MANY = 10, 100_000
USERS = 1_000
BATCH = 1_000


def serve(waiting: int, users: int) -> None:
    """The child: fill the queue, then answer each line on stdin with the gaps of one batch as JSON."""
    from gpuyard.actors.model import names
    from gpuyard.actors.model.commands import CancelJob, GetStats, SetLimits, SubmitJob, SubmitJobs
    from gpuyard.actors.model.job import JobSpec
    from gpuyard.actors.model.people import Level, Viewer
    from gpuyard.cli import data_folder, settings as cli_settings, wiring

    with tempfile.TemporaryDirectory(prefix="gpuyard-bench-") as folder:
        settings = cli_settings.load({"data_dir": Path(folder) / "data", "simulate_gpus": "8"})
        data_folder.prepare(settings)
        supervisor = wiring.supervisor(settings, [])
        supervisor.boot()
        threading.Thread(target=supervisor.run, daemon=True).start()
        scheduler = supervisor.directory.ref(names.SCHEDULER)
        while supervisor.ready():
            time.sleep(0.01)
        scheduler.ask(
            SetLimits(changes={"local_job_max_concurrent": 2, "user_max_gpus": 1 if users > 1 else 8})
        ).result(9)
        blocker = Viewer(user_id=9_999_999, level=Level.ADMIN)
        held = SubmitJob(spec=JobSpec(argv=("/bin/sleep", "600"), device_ids=(7,)), by=blocker)
        holds = scheduler.ask(held).result(9).job_id
        for first in range(0, waiting, BATCH):
            jobs = []
            for number in range(first, min(first + BATCH, waiting)):
                need, devices = (2, ()) if users > 1 else (1, (7,))
                spec = JobSpec(argv=("/bin/true",), num_processes=need, device_ids=devices)
                jobs.append(SubmitJob(spec=spec, by=Viewer(user_id=2 + number % users, level=Level.ADMIN)))
            scheduler.ask(SubmitJobs(jobs=tuple(jobs))).result(60)
        print("ready", flush=True)
        for _ in sys.stdin:
            measured = [SubmitJob(spec=JobSpec(argv=PROGRAM)) for _ in range(RUNS)]
            answers = scheduler.ask(SubmitJobs(jobs=tuple(measured))).result(60)
            mine = {answer.job_id for answer in answers}
            while scheduler.ask(GetStats()).result(60).total_pending > waiting:
                time.sleep(0.05)
            while scheduler.ask(GetStats()).result(60).total_running > 1:
                time.sleep(0.02)
            gaps = [
                later[0] - earlier[1]
                for earlier, later in pairwise(stamps(settings.data_dir, fences(settings.data_dir, mine)))
            ]
            print(json.dumps(gaps), flush=True)
        scheduler.ask(CancelJob(job_id=holds)).result(9)  # after a cancel nothing starts
        while scheduler.ask(GetStats()).result(60).total_running:
            time.sleep(0.05)
        supervisor.stop()
        supervisor.shut_down()


def fences(data: Path, job_ids: set[str]) -> list[int]:
    """The fences of these jobs' runs, oldest first."""
    found = []
    for path in (data / "runs").glob("*/exit.json"):
        record = json.loads(path.read_text())
        if record["job_id"] in job_ids:
            found.append(record["fence"])
    return sorted(found)


class Child:
    """A server with a queue of its own depth."""

    def __init__(self, waiting: int, users: int) -> None:
        command = [sys.executable, __file__, "--serve", str(waiting), str(users)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait(self) -> None:
        """Until its queue is full."""
        assert self.process.stdout
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the server did not become ready")

    def batch(self) -> list[float]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        gaps: list[float] = json.loads(self.process.stdout.readline())
        return gaps

    def close(self) -> None:
        self.process.communicate(timeout=180)


def main() -> int:
    many = int(sys.argv[2]) if sys.argv[1:2] == ["--jobs"] else MANY
    few, same, mixed = Child(FEW, 1), Child(many, 1), Child(many, USERS)
    for child in (few, same, mixed):
        child.wait()
    rounds = []
    for _ in range(ROUNDS):
        rounds.append([median(child.batch()) for child in (few, same, mixed)])
    for child in (few, same, mixed):
        child.close()
    base, one, thousand = (median([row[i] for row in rounds]) * 1e3 for i in range(3))
    return report(
        [
            Ratio(
                f"gap with {many:,} waiting jobs against {FEW}",
                median([row[1] / row[0] for row in rounds]),
                1.25,
                note=f"{one:.2f} ms against {base:.2f} ms",
            ),
            Ratio(
                f"the same with {USERS:,} users, each at the limit",
                median([row[2] / row[0] for row in rounds]),
                1.25,
                note=f"{thousand:.2f} ms against {base:.2f} ms",
            ),
        ]
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(int(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(main())
