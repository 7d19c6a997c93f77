"""The files of a run's folder, and how a record is written: they are the truth, the nudge is only news.

    lock      flock'ed by the keeper, inherited by the program; removed once the end is acknowledged
    control   the keeper's socket: a stop is asked here
    log       stdout and stderr of the program, appended
    run.json  who runs here: pids with start times, boot id, argv, started_at
    exit.json how it ended; written when no process of the run is left

Records are JSON with a `version` and a `kind`; readers ignore fields they do not know. Each is written aside and
renamed, so that a reader sees all of it or nothing.
"""

from __future__ import annotations

import json
import os
from typing import Any

VERSION = 1
LOCK, CONTROL, LOG, RUN, EXIT = "lock", "control", "log", "run.json", "exit.json"

# Below DATA/runs and DATA/jobs: what is made ready before it is known for which run or job, as `<pid>-<nanoseconds>`.
SPARES = ".spares"

# Orders beyond this many bytes come as a memory file beside a placeholder.
INLINE_ORDER = 32_768

# Below DATA/sockets: where keepers connect to.
SUPERVISOR_SOCKET = "keeper.sock"

Record = dict[str, Any]

# Made once: an end is encoded between two jobs.
_encode = json.JSONEncoder(separators=(",", ":")).encode


def encode(kind: str, record: Record) -> bytes:
    """ASCII throughout: strings from the system may hold bytes that are no text (as lone surrogates)."""
    return _encode({"version": VERSION, "kind": kind, **record}).encode("ascii")


def write(dir_fd: int, name: str, data: bytes, sync: bool = False) -> None:
    """Write `data` as `name` into the folder, whole or not at all. `sync`: survive a power loss too."""
    aside = f".{name}.new"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    try:
        write_all(fd, data)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(aside, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    if sync:
        os.fsync(dir_fd)


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
