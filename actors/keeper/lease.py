"""The lease of one run, as the supervisor's side of a worker sees it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gpuyard.actors.keeper.news import Terms
from gpuyard.actors.keeper.program import lease as on_disk

# Seconds that a keeper gets to act first.
SECOND_LINE = 0.5


@dataclass(slots=True)
class Lease:
    """`until` grows with each renewal; `written` tells that the keeper can read it."""

    terms: Terms
    until: float
    written: bool = True

    @property
    def lapsed(self) -> bool:
        return on_disk.boottime() >= self.until

    @property
    def due(self) -> float:
        """Seconds until it is to be enforced from here; negative when that is overdue."""
        return self.until + SECOND_LINE - on_disk.boottime()

    @property
    def grace_left(self) -> float:
        """Seconds until its processes have to be killed."""
        return self.until + self.terms.grace - on_disk.boottime()

    @property
    def reason(self) -> str:
        return on_disk.no_word(self.terms.seconds - (self.until - on_disk.boottime()))

    def renew(self, folder: Path, until: float) -> None:
        """A lapsed one stays so: its keeper may have acted upon it already."""
        if self.lapsed or until <= self.until:
            return
        self.until, self.written = until, False
        self.write(folder)

    def write(self, folder: Path) -> None:
        """Where the keeper reads it. While nobody has claimed the run there is no folder: then it is tried again."""
        if self.written:
            return
        try:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            on_disk.write(fd, self.until)
            self.written = True
        except OSError:
            pass  # a disk full of other things: with the next renewal
        finally:
            os.close(fd)


def found(folder: Path, terms: Terms) -> Lease:
    """The lease of a run that was started earlier: as it was ordered, or as it was renewed since."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return Lease(terms, max(terms.until, on_disk.read(fd) or 0.0))
    finally:
        os.close(fd)
