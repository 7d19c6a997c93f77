"""A supervisor's side in a process of its own, to be killed: `python -m tests.keeper.supervisor_process DATA_DIR`.

Wants the runs that are named on stdin, one JSON object a line ({"fence": 1, "argv": [...]}), and prints what the
Scheduler is told, one JSON object a line.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from gpuyard.actors.base import Actor, Context, Directory, Reply, start
from gpuyard.actors.keeper.settings import KeeperSettings
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import RunSpec, WantRun
from gpuyard.actors.model.message import Message
from gpuyard.actors.process_keeper import ProcessKeeper


class Printer(Actor):
    def handle(self, message: Message, reply: Reply | None) -> Any:
        print(msgspec.json.encode(message).decode(), flush=True)


def main() -> None:
    directory = Directory()
    start(Printer, Context(names.SCHEDULER, directory=directory))
    settings = KeeperSettings(data_dir=Path(sys.argv[1]), stop_grace_seconds=5.0, tick_seconds=0.5)
    start(ProcessKeeper, Context(names.KEEPER, directory=directory), settings)
    for line in sys.stdin:
        wanted = msgspec.json.decode(line)
        spec = RunSpec(job_id=f"job{wanted['fence']}", attempt=1, **wanted)
        directory.ref(names.KEEPER).tell(WantRun(run=spec))


if __name__ == "__main__":
    main()
