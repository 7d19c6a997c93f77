"""How a run at its provider is watched: looks in batches, its log, its time limit, its cancel, its end.

Silence is never an end: only a provider that says "no such job" twice, and does not find it by its token either, has
lost one. An end is told once the log is read to its end, or cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from gpuyard.actors.model.cloud_begin import MISSES
from gpuyard.actors.model.cloud_calls import Cancel, Fetch, Fetched, Poll
from gpuyard.actors.model.cloud_case import Case
from gpuyard.actors.model.cloud_remote import ENDED, RemoteState, RemoteStatus, Trouble
from gpuyard.actors.model.cloud_run import RemoteRun, Stage, exit_of
from gpuyard.actors.model.cloud_strays import FOREVER
from gpuyard.actors.model.duration import show
from gpuyard.actors.model.events import AttemptStarted
from gpuyard.actors.model.outbox import Now

FETCH_TRIES: Final = 4
# A provider that ends jobs at their limit by itself gets so much longer before we do.
LIMIT_SLACK: Final = 600.0


class Watch:
    """The part of a book that deals with runs whose remote id is known."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def step(self, run: RemoteRun, now: Now) -> None:
        """What is due for one live run."""
        case = self._case
        self._check_limit(run, now)
        stopping = run.stop_reason is not None and run.final is None
        if stopping and not run.cancelling and case.due(run.cancel_due, now):
            run.cancelling = True
            case.out.calls.append(Cancel(run.fence, run.remote_id))
        if not case.capabilities.logs:
            if run.final is not None:
                self._conclude(run)
        elif not run.fetching and run.last is not None and case.due(run.fetch_due, now):
            self._fetch(run)

    def _fetch(self, run: RemoteRun) -> None:
        if run.last is RemoteState.QUEUED and run.final is None:
            run.fetch_due = FOREVER  # nothing is printed before it runs; set again when it is seen running
            return
        # Only a read that begins after the end was seen holds all there is.
        run.fetching, run.fetching_all = True, run.final is not None
        self._case.out.calls.append(Fetch(run.fence, run.remote_id, _to_be_explained(run.final)))

    def _check_limit(self, run: RemoteRun, now: Now) -> None:
        limit = run.order.spec.time_limit
        if limit is None or run.started_at is None or run.stop_reason is not None or run.final is not None:
            return
        ends_at = run.started_at + limit + (LIMIT_SLACK if self._case.capabilities.time_limit else 0.0)
        if now.wall < ends_at:
            self._case.wake(now.monotonic + ends_at - now.wall)
        else:
            run.stop_reason, run.timed_out = f"its time limit of {show(limit)} was reached", True

    def look(self, now: Now) -> None:
        """Ask how all of them stand, when it is time."""
        case, pace = self._case, self._case.pace
        live = [(run.fence, run.remote_id) for run in case.runs.values() if _is_looked_at(run)]
        if not live or pace.looking or not case.due(pace.look_at, now):
            return
        size = case.capabilities.batch
        for start in range(0, len(live), size):
            pace.looking += 1
            case.out.calls.append(Poll(tuple(live[start : start + size])))
        pace.look_again(now)

    # --- looks -------------------------------------------------------------------------------------------------

    def looked(self, jobs: Sequence[tuple[int, str]], seen: Mapping[str, RemoteStatus], now: Now) -> None:
        self._case.pace.looked()
        for fence, remote_id in jobs:
            run = self._case.runs.get(fence)
            if run is not None and _is_looked_at(run) and run.remote_id == remote_id and remote_id in seen:
                self._seen(run, seen[remote_id], now)

    def _seen(self, run: RemoteRun, status: RemoteStatus, now: Now) -> None:
        if status.state is RemoteState.GONE:
            self._missed(run, now)
            return
        run.misses = 0
        if status.state is not RemoteState.QUEUED and run.last in (None, RemoteState.QUEUED):
            run.fetch_due = now.monotonic
        run.last = status.state
        self._note_start(run, status, now)
        self._case.progress(run, status.progress)
        if status.state in ENDED:
            run.final = status
            run.fetch_due = now.monotonic

    def _note_start(self, run: RemoteRun, status: RemoteStatus, now: Now) -> None:
        if run.started_at is not None or status.state is RemoteState.QUEUED:
            return
        run.started_at = status.started_at or (now.wall if status.state is RemoteState.RUNNING else None)
        if run.started_at is not None:
            self._case.out.tells.append(AttemptStarted(fence=run.fence, pid=0, at=run.started_at))

    def _missed(self, run: RemoteRun, now: Now) -> None:
        run.misses += 1
        if run.misses >= MISSES:
            run.lived = True
            self._case.doubt(run, now)  # one more way to look, by its token, before it is given up

    # --- log and end -------------------------------------------------------------------------------------------

    def fetched(self, fence: int, fetched: Fetched, now: Now) -> None:
        run = self._live(fence)
        if run is None:
            return
        run.fetching, run.fetch_tries = False, 0
        if run.final is None and not fetched.more:
            run.fetch_due = now.monotonic + self._case.capabilities.poll_seconds
        elif fetched.more or not run.fetching_all:
            run.fetch_due = now.monotonic
        else:
            if fetched.exit_class and run.final is not None:
                message = run.final.message or fetched.message
                run.final = replace(run.final, exit_class=fetched.exit_class, message=message)
            self._conclude(run)

    def not_fetched(self, fence: int, trouble: Trouble, now: Now) -> None:
        run = self._live(fence)
        if run is None:
            return
        run.fetching = False
        run.fetch_tries += trouble.kind != "busy"
        run.fetch_due = now.monotonic + self._case.pace.pause(run.fetch_tries)
        if run.final is not None and (run.fetch_tries >= FETCH_TRIES or trouble.kind == "final"):
            self._conclude(run)  # the end is known; a log that cannot be read must not hide it

    def _conclude(self, run: RemoteRun) -> None:
        assert run.final is not None
        exit_class, code, message = exit_of(run, run.final)
        self._case.end(run, exit_class, code, message, run.final)

    # --- cancel ------------------------------------------------------------------------------------------------

    def cancelled(self, fence: int, now: Now) -> None:
        """Its end was asked for; whether it has ended is seen by a look."""
        run = self._case.runs.get(fence)
        if run is not None:
            self._ask_again_later(run, self._case.capabilities.poll_seconds * 4, now)
            self._case.pace.look_now(now)

    def not_cancelled(self, fence: int, now: Now) -> None:
        run = self._case.runs.get(fence)
        if run is not None:
            self._ask_again_later(run, 1.0, now)

    def _ask_again_later(self, run: RemoteRun, first: float, now: Now) -> None:
        run.cancelling = False
        run.cancel_tries += 1
        run.cancel_due = now.monotonic + self._case.pace.pause(run.cancel_tries, first)

    def _live(self, fence: int) -> RemoteRun | None:
        run = self._case.runs.get(fence)
        return run if run is not None and run.stage is Stage.LIVE else None


def _to_be_explained(final: RemoteStatus | None) -> int | None:
    """The exit code of a run that failed by itself: its log may tell why."""
    if final is None or final.state is not RemoteState.FAILED or not final.exit_class.startswith(("exit:", "signal:")):
        return None
    return final.exit_code or 1


def _is_looked_at(run: RemoteRun) -> bool:
    return run.stage is Stage.LIVE and run.final is None
