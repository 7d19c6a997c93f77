"""Leases on a worker: renewed in the runs' folders, and enforced where no keeper does.

A keeper ends its run itself when the lease has lapsed. One that is frozen is woken for it, one that does not wake is
killed, and a run without a keeper is ended from here: the server may then give its job to another host.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

from gpuyard.actors.keeper import lease, processes
from gpuyard.actors.keeper.folders import Folders
from gpuyard.actors.keeper.lease import SECOND_LINE, Lease
from gpuyard.actors.keeper.news import Terms
from gpuyard.actors.keeper.run import Run, Stage
from gpuyard.actors.keeper.settings import KeeperSettings
from gpuyard.actors.model.commands import WantRun

# The longest pause between two looks, in seconds: timers do not count the time that a host sleeps.
LONGEST_PAUSE = 5.0


class Leases:
    """`wake_in` has `mind` called after so many seconds; `never` makes sure that an ordered run does not start, `look`
    that a keeperless one is looked at now."""

    def __init__(
        self,
        folders: Folders,
        settings: KeeperSettings,
        wake_in: Callable[[float], None],
        never: Callable[[Run], None],
        look: Callable[[Run], None],
    ) -> None:
        self._folders = folders
        self._settings = settings
        self._wake_in = wake_in
        self._never = never
        self._look = look
        self._next = math.inf  # the next look, monotonic

    def terms(self, want: WantRun) -> Terms | None:
        """What a new run is ordered with; None for one that nobody's silence ends."""
        if want.lease_seconds is None or want.lease_until is None:
            return None
        return Terms(
            until=want.lease_until,
            seconds=want.lease_seconds,
            signal=want.checkpoint_signal,
            grace=min(
                self._settings.stop_grace_seconds,
                self._settings.lapse_grace_seconds if want.lease_grace is None else want.lease_grace,
            ),
        )

    def ordered(self, run: Run, terms: Terms | None) -> None:
        if terms is not None:
            run.lease = Lease(terms, terms.until)
            self._await(run.lease)

    def renew(self, run: Run | None, until: float | None) -> None:
        if run is not None and run.lease is not None and until is not None:
            run.lease.renew(self._folders.path(run.fence), until)
            self.note(run, run.order)

    @staticmethod
    def note(run: Run, order: dict[str, Any] | None) -> None:
        """An order that still waits is to be given with the lease as it is then."""
        if run.lease is not None and order is not None:
            order["lease"]["until"] = run.lease.until

    def keep(self, run: Run) -> None:
        """The run was found again, or was claimed since its lease was renewed."""
        folder = self._folders.path(run.fence)
        if run.lease is None and run.record is not None and run.record.lease is not None:
            run.lease = lease.found(folder, run.record.lease)
        if run.lease is not None:
            run.lease.write(folder)
            self._await(run.lease)

    def mind(self, runs: Iterable[Run]) -> None:
        """Enforce what has lapsed, again and again until it has ended."""
        self._next = math.inf
        for run in list(runs):
            if run.lease is None or run.stage is Stage.ENDED:
                continue
            if run.lease.due <= 0:
                self._enforce(run, run.lease)
            self._await(run.lease)

    def _await(self, lease: Lease) -> None:
        pause = min(LONGEST_PAUSE, max(SECOND_LINE, lease.due))
        if time.monotonic() + pause < self._next:
            self._next = time.monotonic() + pause
            self._wake_in(pause)

    def _enforce(self, run: Run, lease: Lease) -> None:
        if run.stage is Stage.ORDERED:
            self._never(run)
        elif run.keeperless is not None:
            run.lapse = run.lapse or lease.reason
            run.keeperless.stop(max(0.0, lease.grace_left))
            self._look(run)
        elif run.record is not None:
            # A frozen keeper finds its lease lapsed when it wakes; one that does not wake is in the way.
            number = signal.SIGKILL if lease.grace_left < -SECOND_LINE else signal.SIGCONT
            processes.send_to(run.record.keeper_pid, run.record.keeper_start, number)
