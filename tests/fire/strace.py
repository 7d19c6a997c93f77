"""Faults at the system calls of a process that runs: strace is attached, and makes the nth write or sync fail.

Only calls on the database and its log are touched. Counting is done by strace for each thread of its own; nearly all
writes come from one, the store's.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# What belongs together: a kind of call, and the system calls that SQLite may make for it.
CALLS: Final = {"write": "pwrite64,write", "sync": "fdatasync,fsync"}
# A start does more: it opens, makes and renames files.
BOOT_CALLS: Final = {**CALLS, "open": "openat,open", "name": "rename,renameat2,mkdir,mkdirat,unlink,unlinkat"}
PATIENCE: Final = 10.0
ACTIONS: Final = {"KILL": "signal=KILL", "EIO": "error=EIO", "ENOSPC": "error=ENOSPC"}


@dataclass(frozen=True)
class Point:
    """The `when`th call of a kind meets its fate; with `lasting` so does every later one, until strace lets go."""

    call: str
    action: str
    when: int
    lasting: bool = False

    def __str__(self) -> str:
        return f"{self.action} at {self.call} {self.when}{'+' if self.lasting else ''}"

    @property
    def inject(self) -> str:
        return f"inject={BOOT_CALLS[self.call]}:{ACTIONS[self.action]}:when={self.when}{'+' if self.lasting else ''}"


def missing(folder: Path) -> str | None:
    """Why no fault can be injected here, in words; None when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    probe = ["strace", "-o", str(folder / "probe"), "-e", "trace=none", "true"]
    tried = subprocess.run(probe, capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.strip()[-200:]}"


class Strace:
    """Attached to process `pid` until `end`. Without a point it only counts."""

    def __init__(self, pid: int, database: Path, out: Path, point: Point | None = None) -> None:
        self._out = out
        files = [part for name in ("", "-wal") for part in ("-P", f"{database}{name}")]
        command = ["strace", "-f", "-p", str(pid), "-o", str(out), "-s", "0", *files]
        command += ["-e", f"trace={','.join(CALLS.values())}", *(["-e", point.inject] if point else [])]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if "attached" in line:
                return
        raise RuntimeError(f"strace could not attach: exit code {self._process.wait()}")

    def end(self) -> None:
        """Let go: from now on every call does what it should. Repeat: harmless."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            # It waits for one that its own KILL has ended already, and holds the other threads: its end lets them go.
            self._process.kill()
            self._process.communicate()

    @property
    def fired(self) -> int:
        """How many calls were made to fail; a kill leaves no line that says so."""
        return self._out.read_text().count("(INJECTED)")

    def counts(self) -> dict[str, int]:
        """For each kind of call, how many the busiest thread made."""
        return counts(self._out, CALLS)


def from_the_start(out: Path, paths: list[Path], point: Point | None = None) -> list[str]:
    """What to put before a command, so that its calls on these paths are traced, or meet their fate, from its first
    one on. The command keeps its own pid."""
    files = [part for path in paths for part in ("-P", str(path))]
    calls = ",".join(BOOT_CALLS.values())
    inject = ["-e", point.inject] if point else []
    return ["strace", "-D", "-f", "-o", str(out), "-s", "0", *files, "-e", f"trace={calls}", *inject, "--"]


def counts(out: Path, calls: Mapping[str, str]) -> dict[str, int]:
    """For each kind of call in the trace `out`, how many the busiest thread made."""
    seen: dict[str, Counter[str]] = {kind: Counter() for kind in calls}
    for line in out.read_text().splitlines():
        thread, _, rest = line.partition(" ")
        name = rest.strip().partition("(")[0]
        for kind, names in calls.items():
            seen[kind][thread] += name in names.split(",")
    return {kind: max(threads.values(), default=0) for kind, threads in seen.items()}
