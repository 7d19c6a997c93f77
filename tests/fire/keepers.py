"""Shooting keepers: kill -9 of the small process that stands beside a run, by its pid and start time."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path

from gpuyard.actors import procfs


def shoot(runs: Path, chance: random.Random) -> int | None:
    """Kill the keeper of one live run below `runs`; its fence. None when no run lives."""
    live = [path for path in runs.glob("[0-9]*/run.json") if not path.with_name("exit.json").exists()]
    chance.shuffle(live)
    for path in live:
        try:
            record = json.loads(path.read_text())
            keeper = os.pidfd_open(record["keeper_pid"])
        except (OSError, ValueError):
            continue
        try:
            # The descriptor first, then the comparison: so it cannot be somebody else's pid by now.
            if procfs.start_time(record["keeper_pid"]) == record["keeper_start"]:
                signal.pidfd_send_signal(keeper, signal.SIGKILL)
                return int(record["fence"])
        except OSError:
            continue
        finally:
            os.close(keeper)
    return None
