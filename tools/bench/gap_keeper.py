"""How long is a slot empty between two runs, as far as the keeper is concerned?

Real ProcessKeeper, zygote and keepers; in place of the Scheduler an actor that wants the next run the moment an end
is told (no store, no policy). The gap goes from the end stamp of run i to the start stamp of run i+1. Reference, in
the same rounds: a turn of a bare, as quiet loop of `posix_spawn` and wait. Run: python tools/bench/gap_keeper.py
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness import QUIET, QUIET_JOB, turns

from gpuyard.actors.base import Actor, Context, Directory, Reply, start
from gpuyard.actors.keeper.settings import KeeperSettings
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import ForgetRun, RunSpec, WantRun
from gpuyard.actors.model.events import AttemptExited
from gpuyard.actors.model.message import Message, Shutdown, Tick
from gpuyard.actors.process_keeper import ProcessKeeper

ROUNDS = 6
RUNS = 50


class Next(Actor):
    """Wants one run after the other."""

    def __init__(self, context: Context, fences: list[int], ends: list[AttemptExited], done: threading.Event) -> None:
        super().__init__(context)
        self._fences = iter(fences)
        self._ends = ends
        self._done = done
        self._keeper = context.ref(names.KEEPER)
        self._last: int | None = None

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case AttemptExited(fence=fence) if fence == self._last:  # an end may be told twice
                self._ends.append(message)
                self.want()
                self._keeper.tell(ForgetRun(fence=fence))
            case Tick():  # begin
                self.want()

    def want(self) -> None:
        self._last = fence = next(self._fences, None)
        if fence is None:
            self._done.set()
            return
        self._keeper.tell(WantRun(run=RunSpec(fence=fence, job_id=f"job{fence}", attempt=1, argv=QUIET_JOB)))


def kept(data_dir: Path, fences: list[int]) -> list[float]:
    """Gaps between runs under keepers, in seconds."""
    directory, ends, done = Directory(), [], threading.Event()
    scheduler = start(Next, Context(names.SCHEDULER, directory=directory), fences, ends, done)
    keeper = start(ProcessKeeper, Context(names.KEEPER, directory=directory), KeeperSettings(data_dir=data_dir))
    time.sleep(0.3)  # the zygote is warm before the first order
    scheduler.tell(Tick())
    done.wait(60)
    for ref in (scheduler, keeper):
        ref.tell(Shutdown())
        while ref.is_alive():
            time.sleep(0.01)
    stamps = [(end.started_at or 0.0, end.ended_at or 0.0) for end in ends]
    return [later[0] - earlier[1] for earlier, later in pairwise(stamps)]


def main() -> None:
    ratios, all_bare, all_kept = [], [], []
    with tempfile.TemporaryDirectory(prefix="gpuyard-bench-") as folder:
        for number in range(ROUNDS):
            reference = turns(RUNS, QUIET)
            fences = list(range(1 + number * RUNS, 1 + (number + 1) * RUNS))
            measured = kept(Path(folder), fences)
            ratios.append(statistics.median(measured) / statistics.median(reference))
            all_bare += reference
            all_kept += measured
    print(f"a bare turn       {statistics.median(all_bare) * 1e3:.3f} ms")
    print(f"with keepers      {statistics.median(all_kept) * 1e3:.3f} ms")
    print(f"ratio             {statistics.median(ratios):.2f}x (median of {ROUNDS} rounds of {RUNS} runs)")


if __name__ == "__main__":
    sys.exit(main())
