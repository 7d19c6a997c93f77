"""Crash cycles for as long as you like: kill -9 of the supervisor and of keepers under load, then a summary.

    python tools/soak.py --cycles 50
    python tools/soak.py --minutes 60

Exit code 0 when every promise held. The figures that depend on the machine (ready again) are told beside their bars.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fire.crash import Plan, Trial


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cycles", type=int, default=50, help="crashes of the supervisor (50)")
    parser.add_argument("--minutes", type=float, help="instead: as many crashes as fit into this time")
    parser.add_argument("--longest", type=float, default=5.0, help="seconds that a job may run (5)")
    parser.add_argument("--spare-keepers", action="store_true", help="kill supervisors only")
    parser.add_argument("--seed", type=int, default=1, help="another one draws other moments and jobs")
    args = parser.parse_args()
    plan = Plan(
        cycles=args.cycles,
        minutes=args.minutes,
        longest=args.longest,
        shoot_keepers=not args.spare_keepers,
        seed=args.seed,
    )
    with tempfile.TemporaryDirectory(prefix="gpuyard-soak-") as folder:
        report = Trial(Path(folder), plan).run()
    print(report)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
