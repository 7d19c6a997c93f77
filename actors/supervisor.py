"""Supervisor: starts the parts in order, pings each, restarts what fails, stops in exact reverse (DESIGN 3).

An unexpected error in a core actor restarts the core group together by the boot path, never on half-changed state;
edges restart one by one. Five restarts in 60 s, or a thread that hangs, end the process with code 70 and one line
why: runs live on, and whoever started the server starts it again.
"""

from __future__ import annotations

import faulthandler
import logging
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import TimeoutError as NoAnswer
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from gpuyard.actors.base import Actor, Context, Directory, SystemClock, has_ended, start
from gpuyard.actors.model.clock import Clock
from gpuyard.actors.model.commands import Ready
from gpuyard.actors.model.errors import GpuyardError
from gpuyard.actors.model.message import Ping, Shutdown

log = logging.getLogger("gpuyard.supervisor")

EXIT_SOFTWARE: Final = 70
RESTARTS_ALLOWED = 5
RESTART_WINDOW = 60.0
BACKOFF_FIRST, BACKOFF_LAST = 0.1, 5.0


class GaveUp(Exception):
    """The service cannot be kept up: exit with code 70. The text is the one line why."""


class Process(Protocol):
    """A child process that belongs to the service (the Frontend)."""

    name: str

    def spawn(self) -> None:
        """Begin to start."""

    def start(self) -> None:
        """Begin to start if that has not been done, and wait until it works. Raises GpuyardError."""

    def alive(self) -> bool: ...
    def stop(self, timeout: float) -> None: ...


@dataclass(frozen=True)
class Child:
    """How to make one actor. `core` actors restart together."""

    name: str
    actor_class: type[Actor]
    args: Callable[[], tuple[Any, ...]] = tuple
    core: bool = False


@dataclass
class Patience:
    """Seconds that things may take; tests shorten them."""

    start: float = 20.0
    stop: float = 10.0
    hang: float = 30.0
    ping_every: float = 5.0
    look_every: float = 0.2


@dataclass
class Supervisor:
    """`children` in boot order, `processes` after them. `run` returns when `stop` was called."""

    children: list[Child]
    processes: list[Process] = field(default_factory=list)
    clock: Clock = field(default_factory=SystemClock)
    patience: Patience = field(default_factory=Patience)
    directory: Directory = field(default_factory=Directory)
    restarts: int = 0

    def __post_init__(self) -> None:
        self._reports: queue.SimpleQueue[tuple[str, BaseException | None]] = queue.SimpleQueue()
        self._recent: deque[float] = deque()
        self._stopping = threading.Event()

    def boot(self) -> None:
        """Start every actor in order, each pinged before the next, then the processes. Raises GaveUp.

        The processes load their programs meanwhile, which takes as long as all of the rest.
        """
        for process in self.processes:
            process.spawn()
        for child in self.children:
            self._start(child)
        for process in self.processes:
            process.start()

    def ready(self) -> list[str]:
        """The actors that are not ready yet (no answer counts as not ready)."""
        asked = {child.name: self.directory.ref(child.name).ask(Ready()) for child in self.children}
        waiting = []
        for name, reply in asked.items():
            try:
                if not reply.result(timeout=self.patience.start):
                    waiting.append(name)
            except (GpuyardError, NoAnswer):
                waiting.append(name)
        return waiting

    def run(self) -> None:
        """Watch until `stop`. Raises GaveUp."""
        next_ping = time.monotonic() + self.patience.ping_every
        while not self._stopping.is_set():
            try:
                name, error = self._reports.get(timeout=self.patience.look_every)
            except queue.Empty:
                name, error = "", None
            if self._stopping.is_set():
                break
            if error is not None:
                self._heal(name, error)
            self._look_after_processes()
            if time.monotonic() >= next_ping:
                self._ping_all()
                next_ping = time.monotonic() + self.patience.ping_every

    def stop(self) -> None:
        """End `run` from any thread or a signal handler."""
        self._stopping.set()
        self._reports.put(("", None))

    def shut_down(self) -> None:
        """Stop everything in exact reverse; what does not stop in time is left to the end of the process."""
        self._stopping.set()
        for process in reversed(self.processes):
            process.stop(self.patience.stop)
        for child in reversed(self.children):
            self._stop(child)

    # --- one child ---------------------------------------------------------------------------------------------

    def _start(self, child: Child) -> None:
        context = Context(child.name, self.clock, self.directory, self._crashed)
        start(child.actor_class, context, *child.args())
        try:
            self.directory.ref(child.name).ask(Ping()).result(timeout=self.patience.start)
        except (GpuyardError, NoAnswer) as error:
            raise self._cause_of(child.name, error) from error

    def _cause_of(self, name: str, error: BaseException) -> GaveUp | GpuyardError:
        """Why a child did not start: what it reported itself, if anything."""
        while not self._reports.empty():
            who, reported = self._reports.get()
            if who == name and reported is not None:
                if isinstance(reported, GpuyardError):
                    return reported
                return GaveUp(f"{name} could not start: {reported}")
        return GaveUp(f"{name} did not answer within {self.patience.start:g} s of its start: {error}")

    def _stop(self, child: Child) -> bool:
        """Has it let go of everything it had?"""
        ref = self.directory.get(child.name)
        if ref is None:
            return True
        try:
            self.directory.ref(child.name).ask(Shutdown()).result(timeout=self.patience.stop)
        except (GpuyardError, NoAnswer) as error:
            if isinstance(error, NoAnswer):
                log.error("%s did not stop within %g s", child.name, self.patience.stop)
        deadline = time.monotonic() + self.patience.stop
        while not has_ended(ref) and time.monotonic() < deadline:
            time.sleep(0.005)
        self.directory.drop(child.name)
        return has_ended(ref)

    # --- healing -----------------------------------------------------------------------------------------------

    def _crashed(self, name: str, error: BaseException) -> None:
        """Called in the dying actor's thread."""
        self._reports.put((name, error))

    def _heal(self, name: str, error: BaseException) -> None:
        child = next(child for child in self.children if child.name == name)
        group = [other for other in self.children if other.core] if child.core else [child]
        while True:
            self._count_restart(f"{name} failed: {type(error).__name__}: {error}")
            log.error("restarting %s after %s: %s", ", ".join(c.name for c in group), type(error).__name__, error)
            for other in reversed(group):
                if not self._stop(other):
                    # A successor beside it would share its sockets, files and runs.
                    raise GaveUp(f"{other.name} hangs: it did not stop within {2 * self.patience.stop:g} s")
            while not self._reports.empty():
                self._reports.get()
            try:
                for other in group:
                    self._start(other)
            except (GaveUp, GpuyardError) as again:
                error = again
            else:
                return

    def _look_after_processes(self) -> None:
        for process in self.processes:
            if not process.alive() and not self._stopping.is_set():
                log.error("%s ended by itself: restarting it", process.name)
                self._count_restart(f"{process.name} ended again and again")
                try:
                    process.start()
                except GpuyardError as error:
                    log.error("%s could not be restarted: %s", process.name, error)

    def _count_restart(self, why: str) -> None:
        now = time.monotonic()
        while self._recent and now - self._recent[0] > RESTART_WINDOW:
            self._recent.popleft()
        self._recent.append(now)
        self.restarts += 1
        if len(self._recent) > RESTARTS_ALLOWED:
            raise GaveUp(f"{RESTARTS_ALLOWED} restarts in {RESTART_WINDOW:g} s were not enough: {why}")
        time.sleep(min(BACKOFF_LAST, BACKOFF_FIRST * 2 ** (len(self._recent) - 1)) if len(self._recent) > 1 else 0)

    def _ping_all(self) -> None:
        asked = [(child.name, self.directory.ref(child.name).ask(Ping())) for child in self.children]
        deadline = time.monotonic() + self.patience.hang
        for name, reply in asked:
            try:
                reply.result(timeout=max(0.0, deadline - time.monotonic()))
            except NoAnswer:
                faulthandler.dump_traceback(file=sys.stderr)
                raise GaveUp(f"{name} hangs: no answer for {self.patience.hang:g} s") from None
            except GpuyardError as error:
                # A full inbox answers again later; one that crashed has reported itself.
                log.warning("%s did not answer a ping: %s", name, error)
                self._note_silent_end(name)

    def _note_silent_end(self, name: str) -> None:
        """An actor that ended though nobody stopped it, and said nothing, is restarted like any other."""
        ref = self.directory.get(name)
        if ref is not None and has_ended(ref) and self._reports.empty() and not self._stopping.is_set():
            self._crashed(name, RuntimeError("it ended without a word"))
