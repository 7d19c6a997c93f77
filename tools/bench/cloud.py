"""How much of what the limit allows does the dispatcher use? 5,000 jobs at a provider that answers in 300 ms ± 300.

The reference is arithmetic: `max_concurrent` slots, each busy for a job's own run and the provider's three answers (to
the submit, to the look that sees the end, to the last read of the log), 300 ms each. Bar: 80 %. Memory is that of the
whole supervisor, the simulated provider included, after a fifth of the jobs and at the end. Bar: 1.25x.
Run: python tools/bench/cloud.py [--jobs 5000]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

from harness import Ratio, report

SLOTS, USERS, BATCH = 100, 10, 500
RUN_SECONDS, ANSWER = 2.0, 0.3
ANSWERS = 3


def resident() -> int:
    """Bytes of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS")


def main() -> int:
    from gpuyard.actors.model import names
    from gpuyard.actors.model.commands import GetStats, SetLimits, SubmitJob, SubmitJobs
    from gpuyard.actors.model.job import JobSpec, Target
    from gpuyard.actors.model.people import Level, Viewer
    from gpuyard.cli import data_folder, settings as cli_settings, wiring

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=5_000)
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory(prefix="gpuyard-bench-") as folder:
        provider = {"simulated": {"latency": [0.0, 2 * ANSWER], "late": False, "poll_seconds": 0.25}}
        settings = cli_settings.load({"data_dir": Path(folder) / "data", "simulate_gpus": "1", "providers": provider})
        data_folder.prepare(settings)
        supervisor = wiring.supervisor(settings, [])
        supervisor.boot()
        threading.Thread(target=supervisor.run, daemon=True).start()
        scheduler = supervisor.directory.ref(names.SCHEDULER)
        try:
            while supervisor.ready():
                time.sleep(0.01)
            limits = {"max_concurrent": SLOTS, "user_max_concurrent": 20}
            scheduler.ask(SetLimits(changes=limits)).result(30)
            spec = JobSpec(
                argv=("train",),
                target=Target.CLOUD,
                provider="simulated",
                provider_options={"run_seconds": RUN_SECONDS, "log_lines": 2},
            )
            began = time.monotonic()
            for first in range(0, jobs, BATCH):
                people = [Viewer(user_id=2 + n % USERS, level=Level.ADMIN) for n in range(min(BATCH, jobs - first))]
                batch = tuple(SubmitJob(spec=spec, by=person) for person in people)
                scheduler.ask(SubmitJobs(jobs=batch)).result(60)
            early, done, failed = 0, 0, 0
            while done < jobs:
                time.sleep(0.1)
                counts = scheduler.ask(GetStats()).result(30).by_status
                failed = counts.get("failed", 0)
                done = counts.get("completed", 0) + failed
                if not early and done >= jobs / 5:
                    early = resident()
            seconds, late = time.monotonic() - began, resident()
        finally:
            supervisor.stop()
            supervisor.shut_down()
    allowed = SLOTS / (RUN_SECONDS + ANSWERS * ANSWER)
    rate = jobs / seconds
    question = f"share of the allowed rate that {jobs} cloud jobs reach"
    ratios = [
        Ratio(question, rate / allowed, 0.8, at_least=True, note=f"{rate:.1f}/s of {allowed:.1f}/s, {failed} failed"),
        Ratio(
            "memory at the end against that after a fifth",
            late / early,
            1.25,
            note=f"{early / 2**20:.0f} -> {late / 2**20:.0f} MiB",
        ),
    ]
    return report(ratios) if not failed else 1


if __name__ == "__main__":
    sys.exit(main())
