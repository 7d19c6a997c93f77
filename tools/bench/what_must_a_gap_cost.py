"""What must a gap between two jobs cost on this machine? The least that keeps gpuyard's promises, and nothing else.

One process that starts and waits for programs, as a keeper; three threads that hand over, as ProcessKeeper, Scheduler
and QueueStore; between an end and the next start one commit of six rows by SQLite: on the disk (`synchronous=FULL`),
and without waiting for the disk (OFF). Reference: a turn of a bare, as quiet loop of `posix_spawn` and wait.
Read tools/bench/gap.py beside it. Run: python tools/bench/what_must_a_gap_cost.py
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import sys
import tempfile
import threading
from collections import deque
from itertools import pairwise
from time import sleep, time
from typing import Any

from harness import QUIET, QUIET_JOB, Ratio, median, report, turns

ROUNDS = 4
RUNS = 40
# Rows that are there already, and the log's space, written in advance as gpuyard does.
JOBS = 2_000
LOG_BYTES = 4_000_000
LAST = -1


class Inbox:
    """A deque and an eventfd, as gpuyard's."""

    def __init__(self) -> None:
        self._waiting: deque[int] = deque()
        self._wake = os.eventfd(0)

    def put(self, number: int) -> None:
        self._waiting.append(number)
        os.eventfd_write(self._wake, 1)

    def get(self) -> int:
        while not self._waiting:
            os.eventfd_read(self._wake)
        return self._waiting.popleft()


def keep(line: socket.socket) -> None:
    """The process that starts programs: one order a message, one answer."""
    while order := line.recv(65_536):
        found = json.loads(order)
        pid = os.posix_spawn(found["argv"][0], found["argv"], os.environ)
        started = time()
        os.waitpid(pid, 0)
        line.send(json.dumps({"number": found["number"], "started": started, "ended": time()}).encode())
    os._exit(0)


def database(folder: str, synchronous: str) -> sqlite3.Connection:
    made = sqlite3.connect(f"{folder}/jobs.db", isolation_level=None)
    for pragma in ("journal_mode = wal", f"synchronous = {synchronous}", "wal_autocheckpoint = 0"):
        made.execute(f"PRAGMA {pragma}")
    made.execute("CREATE TABLE job (id INTEGER PRIMARY KEY, status TEXT, spec TEXT)")
    made.execute("CREATE TABLE run (fence INTEGER PRIMARY KEY, started REAL, ended REAL)")
    made.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, kind TEXT, data TEXT)")
    made.execute("BEGIN")
    made.executemany("INSERT INTO job VALUES (?, 'pending', ?)", ((number, "x" * 100) for number in range(JOBS)))
    made.execute("COMMIT")
    made.execute("PRAGMA cache_size = 10")
    made.execute("BEGIN")
    made.execute("CREATE TABLE filler (x)")
    made.execute("INSERT INTO filler VALUES (zeroblob(?))", (LOG_BYTES,))
    made.execute("ROLLBACK")
    made.execute("PRAGMA cache_size = -16000")
    return made


def commit(to: sqlite3.Connection, ended: int, following: int) -> None:
    to.execute("BEGIN IMMEDIATE")
    to.execute("UPDATE run SET ended = ? WHERE fence = ?", (time(), ended))
    to.execute("UPDATE job SET status = 'completed' WHERE id = ?", (ended,))
    to.execute("INSERT INTO event (kind, data) VALUES ('job_completed', '{}')")
    to.execute("UPDATE job SET status = 'running' WHERE id = ?", (following,))
    to.execute("INSERT INTO run VALUES (?, ?, NULL)", (following, time()))
    to.execute("INSERT INTO event (kind, data) VALUES ('job_dispatched', '{}')")
    to.execute("COMMIT")


def handed_over(synchronous: str) -> list[float]:
    """Gaps between runs, in seconds."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    keeper = os.fork()
    if keeper == 0:
        ours.close()
        keep(theirs)
    theirs.close()
    scheduler, store = Inbox(), Inbox()
    stamps: list[tuple[float, float]] = []

    def order(number: int) -> None:
        ours.send(json.dumps({"number": number, "argv": QUIET_JOB}).encode())

    def hear() -> None:
        while len(stamps) < RUNS:
            said: dict[str, Any] = json.loads(ours.recv(65_536))
            stamps.append((said["started"], said["ended"]))
            scheduler.put(said["number"] if len(stamps) < RUNS else LAST)

    def decide() -> None:
        number = 0
        while number != LAST:
            number = scheduler.get()
            store.put(number)

    def write() -> None:
        with tempfile.TemporaryDirectory(prefix="gpuyard-floor-") as folder:
            to = database(folder, synchronous)
            while (ended := store.get()) != LAST:
                commit(to, ended, ended + 1)
                order(ended + 1)
            to.close()

    threads = [threading.Thread(target=one, daemon=True) for one in (hear, decide, write)]
    for thread in threads:
        thread.start()
    sleep(0.3)  # the database is made by then
    order(0)
    for thread in threads:
        thread.join(60)
    ours.close()
    os.waitpid(keeper, 0)
    return [later[0] - earlier[1] for earlier, later in pairwise(stamps)]


def main() -> int:
    figures: dict[str, list[float]] = {"FULL": [], "OFF": []}
    ratios: dict[str, list[float]] = {"FULL": [], "OFF": []}
    for _ in range(ROUNDS):
        loop = median(turns(RUNS, QUIET))
        for synchronous in figures:
            gap = median(handed_over(synchronous))
            figures[synchronous].append(gap)
            ratios[synchronous].append(gap / loop)
    names = {"FULL": "the least of a gap with a durable commit in it", "OFF": "the same, not waiting for the disk"}
    return report(
        [
            Ratio(name, median(ratios[key]), None, note=f"{median(figures[key]) * 1e3:.2f} ms")
            for key, name in names.items()
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
