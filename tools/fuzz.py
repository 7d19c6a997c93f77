"""Thousands of requests made from the OpenAPI document, against a server of its own, then a summary.

    python tools/fuzz.py --requests 3000

Exit code 0 when no answer was a 5xx, undocumented, or in another shape than documented.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fire.fuzz import Fuzzer, served


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=3_000, help="how many (3000)")
    parser.add_argument("--seed", type=int, default=1, help="another one makes other requests")
    args = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpuyard-fuzz-") as folder, served(Path(folder)) as server:
        report = Fuzzer(server.url, args.requests, args.seed).run()
        ready = server.get("/readyz").status
    print(f"{report}\nin {time.monotonic() - began:.0f} s; /readyz answers {ready} afterwards")
    return 0 if report.ok and ready == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
