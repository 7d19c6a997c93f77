"""Remote jobs that nobody wants: second ones of a token are ended, those of no live attempt are told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from gpuyard.actors.model.cloud_remote import Remote, fence_in
from gpuyard.actors.model.cloud_run import RemoteRun, Stage
from gpuyard.actors.model.outbox import Now

SWEEP_SECONDS: Final = 600.0
FOREVER: Final = float("inf")


class Strays:
    """`due` is remote id → when (monotonic) its end is asked next; `sweep_at` when all that carries our token is
    listed next."""

    def __init__(self) -> None:
        self.due: dict[str, float] = {}
        self.sweep_at = FOREVER
        self._told: set[int] = set()

    def add(self, remotes: Iterable[Remote], now: Now) -> None:
        for remote in remotes:
            self.due.setdefault(remote.id, now.monotonic)

    def ended(self, remote_id: str) -> None:
        """Its end was asked for, and heard."""
        self.due.pop(remote_id, None)

    def again(self, remote_id: str, at: float) -> None:
        """Its end could not be asked for."""
        if remote_id in self.due:
            self.due[remote_id] = at

    def swept(self, found: Iterable[tuple[str, Remote]], runs: Mapping[int, RemoteRun], now: Now) -> Collection[int]:
        """What a listing says: the fences that no run has, each told once."""
        orphans = []
        for token, remote in found:
            fence = fence_in(token)
            run = runs.get(fence) if fence is not None else None
            if run is not None and run.stage is Stage.LIVE and run.remote_id != remote.id:
                self.add([remote], now)
            elif run is None and fence is not None and fence not in self._told:
                self._told.add(fence)
                orphans.append(fence)
        return orphans
