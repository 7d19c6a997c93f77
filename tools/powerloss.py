"""Power losses: the database as only its syncs left it, at the moment of each acknowledgement, then a summary.

    python tools/powerloss.py --images 200

Needs a C compiler. Exit code 0 when every promise held, 77 when nothing can be recorded here.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fire.disk import recorder
from tests.fire.powerloss import Trial


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=200, help="how many power losses (200)")
    parser.add_argument("--seed", type=int, default=1, help="another one draws other moments")
    args = parser.parse_args()
    # That an image is a copy, the store says of each.
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="gpuyard-powerloss-") as folder:
        library = recorder(Path(folder))
        if library is None:
            print("no C compiler (gcc or cc): what the server writes cannot be recorded", file=sys.stderr)
            return 77
        report = Trial(Path(folder), library, args.images, args.seed).run()
    print(report)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
