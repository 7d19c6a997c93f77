"""The network tests again and again, with longer leases: hosts as network namespaces, cables that are cut.

python tools/partitions.py --rounds 5              # the scenes of tests/net, five times over
python tools/partitions.py --lease 60              # with leases of a minute: ten minutes a round
Needs the right to make namespaces. Ends with 1 at the first two runs of one job that lived at the same time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--lease", type=float, default=6.0, help="seconds")
    flags = parser.parse_args()
    environ = {**os.environ, "GPUYARD_TEST_LEASE": str(flags.lease)}
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "tests/net"]
    for number in range(1, flags.rounds + 1):
        began = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, env=environ, check=False)
        print(f"round {number}: {'held' if done.returncode == 0 else 'BROKEN'} in {time.monotonic() - began:.0f} s")
        if done.returncode != 0:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
