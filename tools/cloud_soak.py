"""Crash cycles with jobs at a provider that answers late: is a remote job ever lost, doubled or left running?

    python tools/cloud_soak.py --cycles 50

Exit code 0 when every promise held.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fire.cloud import CloudPlan, CloudTrial


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cycles", type=int, default=50, help="crashes of the supervisor (50)")
    parser.add_argument("--jobs", type=int, default=4, help="new jobs between two crashes (4)")
    parser.add_argument("--late-effect", action="store_true", help="a submit has its effect late, not only its answer")
    parser.add_argument("--seed", type=int, default=1, help="another one draws other moments and jobs")
    args = parser.parse_args()
    plan = CloudPlan(cycles=args.cycles, jobs=args.jobs, late=not args.late_effect, seed=args.seed)
    with tempfile.TemporaryDirectory(prefix="gpuyard-cloud-") as folder:
        report = CloudTrial(Path(folder), plan).run()
    print(report)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
