"""The crew: spares that wait, keepers at work, and the orders between them.

A spare is kept ready at all times, so that an order is one message away from a running program. A keeper whose run
has ended comes back as a spare; three that wait are enough, more are sent away. An order that was given to a spare
whose line ended is reported: whether the run was claimed, the disk knows.
"""

from __future__ import annotations

import logging
import resource
import shutil
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from gpuyard.actors.keeper import news
from gpuyard.actors.keeper.descriptors import Descriptors
from gpuyard.actors.keeper.program import records
from gpuyard.actors.keeper.settings import KeeperSettings
from gpuyard.actors.keeper.sockets import Lines
from gpuyard.actors.keeper.zygote import Zygote

log = logging.getLogger("gpuyard.keeper")

MOST_SPARES = 3

# Seconds: the first and the longest pause before a zygote is started anew, and how long one must have stood for the
# next to be started at once.
FIRST_PAUSE, LONGEST_PAUSE, STOOD = 0.1, 5.0, 5.0

# Of what `ulimit -n` allows, this many are for the rest of the server.
RESERVED_DESCRIPTORS = 32

Order = dict[str, Any]


class Crew:
    """`heard` gets what keepers say of runs, `gone` the fence of a run whose line ended, `restart_in` the seconds
    after which `start` is to be called again. All are called in the actor's thread."""

    def __init__(
        self,
        settings: KeeperSettings,
        descriptors: Descriptors,
        heard: Callable[[news.News], None],
        gone: Callable[[int], None],
        restart_in: Callable[[float], None],
    ) -> None:
        self._settings = settings
        self._descriptors = descriptors
        self._heard = heard
        self._gone = gone
        self._restart_in = restart_in
        self._zygote = Zygote(settings)
        self._lines = Lines(settings.sockets)
        self._idle: list[int] = []  # lines of spares; the last one came last and is taken first
        self._busy: dict[int, int] = {}  # line → fence
        self._given: set[int] = set()  # the fences of those
        self._pids: dict[int, int] = {}  # line → process at its other end
        self._known: set[int] = set()  # lines that have been idle or busy
        self._waiting: dict[int, Order] = {}  # by fence, in the order in which they came
        self._requested = 0
        self._started_at = 0.0
        self._pause = 0.0
        descriptors.watch(self._lines.fileno(), self._accept)

    def start(self) -> None:
        """Start the zygote, if there is none."""
        if self._zygote.pid is not None:
            return
        self._started_at = time.monotonic()
        try:
            self._zygote.start()
        except OSError as error:
            log.error("the zygote of the keepers could not be started: %s", error)
            self._zygote_ended()
            return
        self._descriptors.watch(self._zygote.pidfd, self._zygote_ended)
        self.fill()

    def close(self) -> None:
        """Spares end, keepers at work live on."""
        self._zygote.close()
        self._lines.close()

    def give(self, order: Order) -> None:
        """Have a run started, now or as soon as there is a spare."""
        self._waiting[order["fence"]] = order
        self._serve()

    def withdraw(self, fence: int) -> None:
        """An order that still waits is not given any more."""
        self._waiting.pop(fence, None)

    def is_at(self, fence: int) -> bool:
        """Does a line stand that may still act upon an order for `fence`, or does the order wait?"""
        return fence in self._waiting or fence in self._given

    def fill(self, anew: bool = False) -> None:
        """Ask for as many spares as are missing; `anew`: what was asked for long ago did not come."""
        if anew:
            self._requested = 0
            self._descriptors.watch(self._lines.fileno(), self._accept)
        missing = len(self._waiting) + 1 - len(self._idle) - self._requested
        for _ in range(missing):
            if not self._zygote.ask_for_spare():
                return
            self._requested += 1

    def _serve(self) -> None:
        while self._waiting and self._idle:
            line = self._idle.pop()
            fence = next(iter(self._waiting))
            if self._lines.send_order(line, self._waiting[fence]):
                self._busy[line] = fence
                self._given.add(fence)
                del self._waiting[fence]
            else:
                self._clear_away(line)
        self.fill()

    def _accept(self) -> None:
        """New lines, as far as there are descriptors for them; the rest of the server needs some too."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - RESERVED_DESCRIPTORS
        while (line := self._lines.accept()) is not None:
            if line >= most:
                log.warning("too few file descriptors for another keeper (see ulimit -n): starts wait")
                self._lines.drop(line)
                self._descriptors.unwatch(self._lines.fileno())
                return
            self._pids[line] = self._lines.peer(line)
            self._descriptors.watch(line, partial(self._hear, line))

    def _hear(self, line: int) -> None:
        data = self._lines.receive(line)
        if data is None:
            self._ended(line)
            return
        match news.read(data):
            case None:
                pass
            case news.ReadyForRun():
                self._ready(line)
            case news.RunRecord() as said:
                self._heard(said)
            case said:
                self._take_back(line)
                self._heard(said)
                if isinstance(said, news.Refused):
                    self._ready(line)

    def _ready(self, line: int) -> None:
        if line not in self._known:
            self._known.add(line)
            self._requested = max(0, self._requested - 1)
        self._idle.append(line)
        self._serve()
        if len(self._idle) > MOST_SPARES:
            self._drop(self._idle.pop(0))

    def _ended(self, line: int) -> None:
        """The process at the other end is gone, or will be at once."""
        fence = self._take_back(line)
        if line in self._idle:
            self._idle.remove(line)
        self._clear_away(line)
        if fence is not None:
            self._gone(fence)
        self._serve()

    def _take_back(self, line: int) -> int | None:
        """The run of this line is not its keeper's business any more."""
        fence = self._busy.pop(line, None)
        if fence is not None:
            self._given.discard(fence)
        return fence

    def _clear_away(self, line: int) -> None:
        """Its process was killed. A folder that is still called a spare's was never a run's."""
        for spares in (self._settings.runs / records.SPARES, self._settings.jobs / records.SPARES):
            for folder in spares.glob(f"{self._pids[line]}-*"):
                shutil.rmtree(folder, ignore_errors=True)
        self._drop(line)

    def _drop(self, line: int) -> None:
        self._known.discard(line)
        del self._pids[line]
        self._descriptors.unwatch(line)
        self._lines.drop(line)

    def _zygote_ended(self) -> None:
        if self._zygote.pidfd >= 0:
            log.warning("the zygote of the keepers (pid %s) ended: a new one is started", self._zygote.pid)
            self._descriptors.unwatch(self._zygote.pidfd)
        self._zygote.close()
        self._requested = 0
        stood = time.monotonic() - self._started_at > STOOD
        self._pause = 0.0 if stood else min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        self._restart_in(self._pause)
