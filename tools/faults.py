"""Faults at the system calls of the database: kill -9, EIO and ENOSPC at its writes and syncs, then a summary.

    python tools/faults.py --points 150
    python tools/faults.py --boot --points 60

Needs strace and the right to trace. Exit code 0 when every promise held, 77 when no fault can be injected here.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fire import boot, faults, strace


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=150, help="how many faults (150)")
    parser.add_argument("--boot", action="store_true", help="while the server starts, instead of while it works")
    parser.add_argument("--seed", type=int, default=1, help="another one draws other points")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gpuyard-faults-") as folder:
        why = strace.missing(Path(folder))
        if why is not None:
            print(f"faults cannot be injected: {why}", file=sys.stderr)
            return 77
        trial = boot.Trial if args.boot else faults.Trial
        report = trial(Path(folder), args.points, args.seed).run()
    print(report)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
