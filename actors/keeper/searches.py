"""Runs whose keepers are gone: each is looked for, again and again, until no process of it is left."""

from __future__ import annotations

import time
from collections.abc import Callable

from gpuyard.actors.keeper.descriptors import Descriptors
from gpuyard.actors.keeper.folders import Folders
from gpuyard.actors.keeper.keeperless import Keeperless
from gpuyard.actors.keeper.news import RunRecord
from gpuyard.actors.keeper.run import Run, Stage, let_go
from gpuyard.actors.keeper.settings import KeeperSettings


class Searches:
    """`look_in` has `look` called for a fence in so many seconds; `over` is told of a run that has no process left."""

    def __init__(
        self,
        folders: Folders,
        settings: KeeperSettings,
        descriptors: Descriptors,
        look_in: Callable[[float, int], None],
        over: Callable[[Run], None],
    ) -> None:
        self._folders = folders
        self._settings = settings
        self._descriptors = descriptors
        self._look_in = look_in
        self._over = over

    def begin(self, run: Run, record: RunRecord | None) -> bool:
        """Look for it from now on; False when that is known, and nothing more of it than before."""
        known = run.keeperless is not None and (record is None or run.record is not None)
        if not known:
            let_go(run, self._descriptors)
            run.stage, run.record = Stage.KEEPERLESS, record
            run.keeperless = Keeperless(self._folders, str(self._settings.jobs), run.fence, record)
            if run.keeperless.program is not None:
                self._descriptors.watch(run.keeperless.program, lambda: self._program_ended(run))
        return not known

    def soon(self, run: Run, seconds: float = 0.0) -> None:
        """Have a look at it in `seconds`, at the latest at the next tick."""
        at = time.monotonic() + min(seconds, self._settings.tick_seconds)
        if run.look_at is None or at < run.look_at:
            run.look_at = at
            self._look_in(at - time.monotonic(), run.fence)

    def look(self, run: Run) -> None:
        """If one is due."""
        if run.keeperless is None or run.look_at is None or time.monotonic() < run.look_at:
            return
        run.look_at = None
        again = run.keeperless.look()
        if again is not None:
            self.soon(run, again)
        else:
            self._over(run)

    def _program_ended(self, run: Run) -> None:
        if run.keeperless is not None and run.keeperless.program is not None:
            self._descriptors.unwatch(run.keeperless.program)
        self.soon(run)
