"""The HTTP API against the reference model: days of random steps, after each of which both must show the same queue.

    python tools/model.py                        # 500 days of 50 steps
    python tools/model.py --runs 100 --seed 7

Exit code 0 when both agreed after every step; else the steps that led to the difference are printed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fire.model_trial import Form, trial


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=500, help="days (500)")
    parser.add_argument("--steps", type=int, default=50, help="steps of each (50)")
    parser.add_argument("--seed", type=int, help="the same one draws the same steps")
    parser.add_argument("--shrink", action="store_true", help="look for a shorter story of a failure")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gpuyard-model-") as folder:
        report = trial(Path(folder), Form(args.runs, args.steps, args.seed, args.shrink))
    print(report)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
