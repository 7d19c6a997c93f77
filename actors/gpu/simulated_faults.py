"""Faults of simulated GPUs, read from a small file in the data folder whenever it changes.

    {"0": {"foreign": [{"pid": 4711, "name": "python", "memory_gb": 12}]},
     "1": {"leak_gb": 3}, "2": {"lost": true}, "3": {"xid": 79, "ecc": 1}}

Keys are indices or UUIDs. `foreign` are processes from outside the queue; `leak_gb` stays in memory after the next
run; `lost` makes the driver lose the GPU; `xid` is reported once; `ecc` counts uncorrected errors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

FILE = "gpu_faults.json"

Gigabytes = Annotated[float, msgspec.Meta(ge=0, le=100_000)]


class ForeignProcess(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pid: int = 4711
    name: str = "python"
    memory_gb: Gigabytes = 1.0
    user: str = "somebody"


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is wrong with one GPU."""

    foreign: tuple[ForeignProcess, ...] = ()
    leak_gb: Gigabytes = 0.0
    lost: bool = False
    xid: int | None = None
    ecc: int | None = None


class FaultFile:
    """`path` None, or a file that does not exist: nothing is wrong."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._faults: dict[str, Fault] = {}

    def read(self) -> dict[str, Fault]:
        """Index or UUID → fault. Raises ValueError, naming the file, when it is not as described above."""
        try:
            found = self._path.stat() if self._path is not None else None
        except OSError:
            found = None
        stamp = (found.st_mtime_ns, found.st_ino, found.st_size) if found is not None else None
        if stamp != self._stamp:
            self._faults = self._load() if stamp is not None else {}
            self._stamp = stamp
        return self._faults

    def _load(self) -> dict[str, Fault]:
        assert self._path is not None
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Fault])
        except (OSError, msgspec.MsgspecError) as error:
            raise ValueError(f"{self._path}: {error}") from None
