"""What really runs on a host: a training, the keeper beside it, and what they leave on the disk.

The model of `actors/keeper`: a keeper starts the program, waits for it, writes how it ended, and stops it when it is
told to or when its lease has lapsed. Both can be killed; a keeper can be frozen.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gpuyard.actors.model.agent import Entry
from gpuyard.actors.model.events import AttemptExited


@dataclass(slots=True)
class Folder:
    """One run's folder. `until` is its lease as the keeper reads it (boottime of that boot), `boot` the life of the
    host in which it was started, `forgotten` that its end was acknowledged."""

    fence: int
    job_id: str
    uuids: tuple[str, ...]
    boot: str
    until: float | None
    pid: int = 0
    started_at: float | None = None
    exit: AttemptExited | None = None
    forgotten: bool = False


@dataclass(slots=True)
class Disk:
    """What survives a reboot: the journal, entry by entry, and the folders of runs."""

    journal: list[Entry] = field(default_factory=list)
    folders: dict[int, Folder] = field(default_factory=dict)

    def copy(self) -> Disk:
        folders = {
            fence: Folder(f.fence, f.job_id, f.uuids, f.boot, f.until, f.pid, f.started_at, f.exit, f.forgotten)
            for fence, f in self.folders.items()
        }
        return Disk(list(self.journal), folders)


@dataclass(slots=True)
class Run:
    """The processes of one run. `training` tells that its program lives, `slow` how many seconds it takes to end when
    it is asked to; `stopping` is the class of its end once it was asked, `dies_at` (true time) when it is dead."""

    folder: Folder
    slow: float
    exit_class: str
    exit_code: int
    training: bool = True
    keeper: bool = True
    keeper_frozen: bool = False
    stopping: str = ""
    dies_at: float = float("inf")
    over: str = ""
