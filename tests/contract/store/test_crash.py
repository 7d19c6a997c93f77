"""kill -9 of a writer, again and again: what was acknowledged is there, and nothing is there by half."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from gpuyard.actors.store import admin
from gpuyard.actors.store.database import Database

CYCLES = 20
ROOT = Path(__file__).parents[3]


def _write_until_killed(path: Path, first: int, acknowledgements: int) -> int:
    """The last number that a writer acknowledged before it was killed."""
    command = [sys.executable, "-m", "tests.contract.store.writer", str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdout is not None
        last = 0
        for _ in range(acknowledgements):
            last = int(child.stdout.readline())
        # It goes on writing while the signal is on its way.
        child.kill()
        for line in child.stdout:
            if line.endswith("\n"):
                last = int(line)
    return last


def test_acknowledged_jobs_survive_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    chance = random.Random(20260101)
    first = 1
    for _ in range(CYCLES):
        last = _write_until_killed(path, first, chance.randrange(1, 60))
        database = Database.open(path)
        connection = database.connection
        try:
            ids = [number for (number,) in connection.execute("SELECT id FROM queue ORDER BY id")]
            events = [number for (number,) in connection.execute("SELECT id FROM event ORDER BY id")]
            halves = connection.execute("SELECT count(*) FROM queue WHERE status <> 'completed'").fetchone()[0]
        finally:
            database.close()
        assert ids == list(range(1, len(ids) + 1))
        assert len(ids) >= last, "an acknowledged job is gone"
        assert (events, halves) == (ids, 0)
        first = len(ids) + 1
    assert first > CYCLES
    assert admin.check(path) == []
