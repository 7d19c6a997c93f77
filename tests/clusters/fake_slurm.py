"""Commands that play Slurm, with accounting: `fake_slurm.py STATE COMMAND ARGUMENTS…`. They run the batch script.

For machines without Slurm, and for what a real one does not do on demand. `STATE/down` makes every command fail as
if slurmctld were away. Standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")


class Jobs:
    """All jobs in one file, under a lock."""

    def __init__(self, state: Path) -> None:
        self.path = state / "jobs.json"
        self._lock = (state / "lock").open("a")

    def __enter__(self) -> dict[str, dict]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.all = json.loads(self.path.read_text()) if self.path.exists() else {}
        for job in self.all.values():
            _look(job)
        return self.all

    def __exit__(self, *_: object) -> None:
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps(self.all))
        draft.replace(self.path)
        self._lock.close()


def _look(job: dict) -> None:
    """Has its script ended? Its runner wrote how."""
    done = Path(job["done"])
    if job["state"] == "RUNNING" and done.exists():
        code = int(done.read_text() or "1")
        job["end"] = int(time.time())
        job["state"] = "COMPLETED" if code == 0 else "FAILED"
        job["code"] = f"{code}:0"


def main(state: Path, command: str, arguments: list[str]) -> int:
    state.mkdir(parents=True, exist_ok=True)
    if (state / "down").exists():
        print(f"{command}: error: Unable to contact slurm controller (connect failure)", file=sys.stderr)
        return 1
    flags = {key: value for key, _, value in (a[2:].partition("=") for a in arguments if a.startswith("--"))}
    words = [argument for argument in arguments if not argument.startswith("--")]
    with Jobs(state) as jobs:
        return globals()[f"_{command}"](state, jobs, flags, words)


def _sbatch(state: Path, jobs: dict, flags: dict, words: list[str]) -> int:
    if flags.get("partition") not in (None, "gpu"):
        print("sbatch: error: Batch job submission failed: Invalid partition name specified", file=sys.stderr)
        return 1
    number = str(len(jobs) + 1)
    body, done = state / f"{number}.sh", state / f"{number}.done"
    body.write_text(sys.stdin.read())
    runner = f'sh "{body}" >>"{flags["output"]}" 2>&1 </dev/null; echo $? >"{done}.new"; mv "{done}.new" "{done}"'
    process = subprocess.Popen(
        ["sh", "-c", runner], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, cwd=flags["chdir"],
    )  # fmt: skip
    now = int(time.time())
    jobs[number] = {
        "name": flags["job-name"], "state": "RUNNING", "start": now, "end": 0, "code": "0:0",
        "pid": process.pid, "done": str(done),
    }  # fmt: skip
    print(number)
    return 0


def _squeue(state: Path, jobs: dict, flags: dict, words: list[str]) -> int:
    for number, job in _chosen(jobs, flags):
        end = job["end"] or "N/A"
        print("|".join(map(str, (number, job["name"], job["state"], job["start"], end, "None"))))
    return 0


def _sacct(state: Path, jobs: dict, flags: dict, words: list[str]) -> int:
    for number, job in _chosen(jobs, flags):
        state_ = "CANCELLED by 0" if job["state"] == "CANCELLED" else job["state"]
        end = job["end"] or "Unknown"
        print("|".join(map(str, (number, job["name"], state_, job["start"], end, "None", job["code"]))))
    return 0


def _chosen(jobs: dict, flags: dict) -> list[tuple[str, dict]]:
    names = set(flags["name"].split(",")) if "name" in flags else None
    numbers = set(flags["jobs"].split(",")) if "jobs" in flags else None
    return [
        (number, job)
        for number, job in jobs.items()
        if (names is None or job["name"] in names) and (numbers is None or number in numbers)
    ]


def _scancel(state: Path, jobs: dict, flags: dict, words: list[str]) -> int:
    for number in words:
        job = jobs.get(number)
        if job is not None and job["state"] == "RUNNING":
            job.update(state="CANCELLED", end=int(time.time()), code="0:15")
            try:
                os.killpg(job["pid"], signal.SIGKILL)
            except ProcessLookupError:
                pass
    return 0


def _scontrol(state: Path, jobs: dict, flags: dict, words: list[str]) -> int:
    if words[:1] == ["ping"]:
        print("Slurmctld(primary) at here is UP")
        return 0
    job = jobs.get(words[-1])
    if job is None:
        print("slurm_load_jobs error: Invalid job id specified", file=sys.stderr)
        return 1
    print(f"JobId={words[-1]} JobName={job['name']} JobState={job['state']} ExitCode={job['code']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
