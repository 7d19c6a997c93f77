"""A process that commits jobs one after the other and says each number once it is durable: made to be killed."""

from __future__ import annotations

import sys
from pathlib import Path

from gpuyard.actors.model.commands import Commit
from gpuyard.actors.store import groups
from gpuyard.actors.store.checkpoint import Checkpointer
from gpuyard.actors.store.database import Database
from tests.support_store import ended, started, submitted


def main(path: Path, first: int) -> None:
    database = Database.open(path)
    checkpointer = Checkpointer(path, every_rows=40)
    checkpointer.start()
    number = first
    while True:
        group = [
            Commit(generation=1, number=n, rows=(*submitted(n), *started(n, n), *ended(n, n)))
            for n in range(number, number + 1 + number % 3)
        ]
        outcome = groups.write(database, group)
        assert outcome.error is None, outcome.error
        number += len(group)
        checkpointer.wrote(8 * len(group))
        print(number - 1, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
