"""Crash cycles with jobs at a provider that answers late: is a remote job ever lost, doubled or left running?

    python tools/cloud_soak.py --cycles 50
    python tools/cloud_soak.py --cycles 10 --provider slurm     # a real Slurm of one node, started for this

Exit code 0 when every promise held.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.clusters.slurm import SlurmCluster, missing
from tests.fire.cloud import CloudPlan, CloudTrial
from tests.fire.cloud_sides import ReplicateSide, SlurmSide
from tests.fire.report import Report

SETTLE_SECONDS = 3.0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cycles", type=int, default=50, help="crashes of the supervisor (50)")
    parser.add_argument("--jobs", type=int, default=4, help="new jobs between two crashes (4)")
    parser.add_argument("--late-effect", action="store_true", help="a submit has its effect late, not only its answer")
    parser.add_argument("--provider", choices=("replicate", "slurm"), default="replicate")
    parser.add_argument("--seed", type=int, default=1, help="another one draws other moments and jobs")
    args = parser.parse_args()
    plan = CloudPlan(cycles=args.cycles, jobs=args.jobs, late=not args.late_effect, seed=args.seed)
    with tempfile.TemporaryDirectory(prefix="gpuyard-cloud-") as folder:
        report = _at_slurm(Path(folder), plan) if args.provider == "slurm" else _at_replicate(Path(folder), plan)
    print(report)
    return 0 if report.ok else 1


def _at_replicate(folder: Path, plan: CloudPlan) -> Report:
    return CloudTrial(folder, plan, ReplicateSide(folder, SETTLE_SECONDS)).run()


def _at_slurm(folder: Path, plan: CloudPlan) -> Report:
    absent = missing()
    if absent:
        raise SystemExit(f"no Slurm here ({', '.join(absent)}): apt-get install slurm-wlm munge")
    # munged refuses a socket whose path is longer than a socket's may be.
    with tempfile.TemporaryDirectory(prefix="sl") as short:
        cluster = SlurmCluster(Path(short), min_job_age=3600)
        try:
            return CloudTrial(folder, plan, SlurmSide(folder, cluster.start(), SETTLE_SECONDS)).run()
        finally:
            cluster.close()


if __name__ == "__main__":
    sys.exit(main())
