"""The folders of runs, DATA/runs/<fence>: what the supervisor's side reads, writes and removes there.

A folder with a `lock` file belongs to a run whose end has not been acknowledged yet; afterwards only its records
and its log stay.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from gpuyard.actors.keeper import news
from gpuyard.actors.keeper.program import records
from gpuyard.actors.keeper.settings import KeeperSettings

# Below DATA/runs: runs of a database that is not followed any more, by its id.
ASIDE = ".aside"
# How many old runs are looked at in one go.
SOME = 500


class Folders:
    """Every question is answered from the disk, but for the one that each start asks (`may_exist`)."""

    def __init__(self, settings: KeeperSettings) -> None:
        self.runs = settings.runs
        self.spares = settings.runs / records.SPARES
        self._job_spares = settings.jobs / records.SPARES
        self._all = (
            settings.data_dir,
            settings.runs,
            self.spares,
            settings.jobs,
            self._job_spares,
            settings.sockets,
        )
        self._highest = 0

    def prepare(self) -> None:
        """Make what is missing, remove what spares and graves of a killed server left behind."""
        for folder in self._all:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._highest = max((int(name) for name in self._names()), default=0)
        for path in self.spares.iterdir():
            if lock_is_free(path):
                shutil.rmtree(path, ignore_errors=True)
        for path in self._job_spares.iterdir():
            with suppress(OSError):
                path.rmdir()

    def path(self, fence: int) -> Path:
        return self.runs / str(fence)

    def exists(self, fence: int) -> bool:
        return self.path(fence).exists()

    def may_exist(self, fence: int) -> bool:
        """False, without a look at the disk, for a fence above all that were there at the start: fences only grow.

        Should a keeper of an earlier supervisor have made the folder since, then a second start is refused there."""
        return fence <= self._highest and self.exists(fence)

    def unacknowledged(self) -> list[int]:
        """Fences whose end nobody has acknowledged yet."""
        return sorted(int(name) for name in self._names() if (self.runs / name / records.LOCK).exists())

    def run_record(self, fence: int) -> news.RunRecord | None:
        found = self._read(fence, records.RUN)
        return found if isinstance(found, news.RunRecord) else None

    def exit_record(self, fence: int) -> news.ExitRecord | None:
        found = self._read(fence, records.EXIT)
        return found if isinstance(found, news.ExitRecord) else None

    def lock_is_free(self, fence: int) -> bool:
        return lock_is_free(self.path(fence))

    def write_exit(self, fence: int, record: records.Record) -> None:
        """The end of a run whose keeper cannot write it any more. Raises OSError (disk full)."""
        fd = os.open(self.path(fence), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            records.write(fd, records.EXIT, records.encode("exit", record))
        finally:
            os.close(fd)

    def bury(self, fence: int, record: records.Record) -> bool:
        """Take the place of a run that shall never start. False when a keeper was faster: then it runs."""
        grave = self.spares / f"{os.getpid()}-{time.time_ns()}"
        try:
            grave.mkdir(mode=0o700)
            (grave / records.LOCK).touch(mode=0o600)
            (grave / records.LOG).touch(mode=0o600)
            (grave / records.EXIT).write_bytes(records.encode("exit", record))
            grave.rename(self.path(fence))
        except OSError:  # the folder exists, or the disk is full: then it has to be asked again
            shutil.rmtree(grave, ignore_errors=True)
            return False
        return True

    def acknowledge(self, fence: int) -> None:
        """Keep the log and the records, nothing else."""
        for name in (records.LOCK, records.CONTROL):
            with suppress(OSError):
                (self.path(fence) / name).unlink()

    def set_aside(self, owner: str, live: Container[int]) -> None:
        """Runs of another database: their logs stay, for people, where no fence of this one leads to them."""
        aside = self.runs / ASIDE / owner
        aside.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in self._names():
            if int(name) not in live:
                self.acknowledge(int(name))
                with suppress(OSError):
                    (self.runs / name).rename(aside / name)
        self._highest = max((int(name) for name in self._names()), default=0)

    def older_than(self, seconds: float) -> list[int]:
        """Acknowledged runs that ended so long ago, the oldest first, some at a time."""
        before = time.time() - seconds
        found = []
        for name in sorted(self._names(), key=int)[:SOME]:
            folder = self.runs / name
            with suppress(OSError):
                if (folder / records.EXIT).stat().st_mtime < before and not (folder / records.LOCK).exists():
                    found.append(int(name))
        return found

    def remove(self, fence: int) -> None:
        shutil.rmtree(self.path(fence), ignore_errors=True)

    def _names(self) -> list[str]:
        with os.scandir(self.runs) as entries:
            return [entry.name for entry in entries if entry.name.isdigit()]

    def _read(self, fence: int, name: str) -> news.News | None:
        try:
            return news.read((self.path(fence) / name).read_bytes())
        except FileNotFoundError:
            return None


def lock_is_free(folder: Path) -> bool:
    """Does no process hold the run's lock? True also when there is none."""
    try:
        fd = os.open(folder / records.LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
