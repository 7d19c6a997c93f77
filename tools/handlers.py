"""A fault in every handler of every actor, one at a time: an exception, a late one, a SystemExit, a hang.

    python tools/handlers.py
    python tools/handlers.py --only scheduler

Handlers are found in the code. Exit code 0 when each time the service healed or gave up with one line why, and nothing
was lost. Takes some minutes.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fire.handler_trial import Trial, all_cases
from tests.fire.report import Report


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="only cases whose name (actor-Message, how, when) holds this")
    args = parser.parse_args()
    # Each fault leaves tracebacks, and each hang a dump of all threads: what counts stands in the report.
    logging.disable(logging.CRITICAL)
    report = Report("a fault in every handler of every actor")
    began = time.monotonic()
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="gpuyard-handlers-") as name, (Path(name) / "noise").open("w") as noise:
        sys.stderr, usual = noise, sys.stderr
        cases = [case for case in all_cases(Path(name) / "scout") if args.only in str(case)]
        for number, case in enumerate(cases):
            trial = Trial(Path(name) / str(number), case).run()
            outcomes[f"{case.how}, {'booting' if case.booting else 'at work'}: {trial.outcome}"] += 1
            report.problems += trial.problems
        sys.stderr = usual
    report.figure("handlers", len({case.handler for case in cases}))
    report.figure("faults", len(cases))
    for outcome, number in sorted(outcomes.items()):
        report.figure(f"  {outcome}", number)
    report.figure("minutes", round((time.monotonic() - began) / 60, 1))
    print(report)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
