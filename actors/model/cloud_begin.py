"""How a run comes to be at its provider: files first, then the submit; in doubt it is looked for instead.

A call whose outcome nobody knows leaves its run in doubt. Only once enough time has passed in which a late call could
still have made the remote job, and it was not found, is it submitted (again).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from gpuyard.actors.model.cloud_calls import Find, Submit, Upload
from gpuyard.actors.model.cloud_case import Case
from gpuyard.actors.model.cloud_remote import Order, Remote, Trouble
from gpuyard.actors.model.cloud_run import PROVIDER_ERROR, RemoteRun, Stage
from gpuyard.actors.model.outbox import Now

SUBMIT_TRIES: Final = 4
# So often must a provider say "no such job" before its word counts.
MISSES: Final = 2


class Begin:
    """The part of a book that deals with runs which are not yet known to be there."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._finding = False

    def step(self, run: RemoteRun, now: Now) -> None:
        """Its files, or its submit, when it is time. Nothing begins while the circuit is not closed."""
        case = self._case
        if run.stage is not Stage.WANTED or not case.due(run.due, now) or not case.pace.circuit.closed:
            return
        if not run.order.spec.sent or run.uploaded:
            run.stage = Stage.SUBMITTING
            case.out.calls.append(Submit(run.order))
        elif case.capabilities.uploads:
            run.stage = Stage.UPLOADING
            case.out.calls.append(Upload(run.order))
        else:
            case.end(run, "start_failed", None, f"{case.provider} takes no files")

    def look_for_lost(self, now: Now) -> None:
        """One question for all that are in doubt."""
        case = self._case
        wanted = [run for run in case.runs.values() if run.stage is Stage.DOUBT and case.due(run.due, now)]
        if wanted and not self._finding:
            self._finding = True
            batch = wanted[: case.capabilities.batch]
            anew = any(run.misses >= MISSES for run in batch)
            told = {run.order.token: run.told for run in batch if run.told}
            case.out.calls.append(Find(tuple(run.order for run in batch), anew, told))

    # --- files and submit --------------------------------------------------------------------------------------

    def uploading(self, fence: int, words: str) -> None:
        """How far its files are."""
        run = self._case.runs.get(fence)
        if run is not None and run.stage is Stage.UPLOADING:
            self._case.progress(run, words)

    def uploaded(self, fence: int, uploads: dict[str, str]) -> None:
        run = self._case.runs.get(fence)
        if run is not None and run.stage is Stage.UPLOADING:
            run.stage, run.uploaded = Stage.WANTED, True
            run.order = replace(run.order, uploads=uploads)

    def not_uploaded(self, fence: int, trouble: Trouble, now: Now) -> None:
        run = self._case.runs.get(fence)
        if run is not None and run.stage is Stage.UPLOADING:
            self._not_begun(run, trouble, now)

    def submitted(self, fence: int, remote: Remote, now: Now) -> None:
        run = self._case.runs.get(fence)
        if run is not None and run.stage is Stage.SUBMITTING:
            self._case.live(run, remote, now)

    def not_submitted(self, fence: int, trouble: Trouble, now: Now) -> None:
        run = self._case.runs.get(fence)
        if run is None or run.stage is not Stage.SUBMITTING:
            return
        if (trouble.kind == "unsure" or not run.sure) and trouble.kind != "busy":
            run.sure = False
            run.tries += 1
            self._case.doubt(run, now)
        else:
            self._not_begun(run, trouble, now)

    def _not_begun(self, run: RemoteRun, trouble: Trouble, now: Now) -> None:
        """Its files, or its submit, surely had no effect."""
        run.stage = Stage.WANTED
        if trouble.kind == "final":
            self._case.end(run, "start_failed", None, trouble.text)
        elif trouble.kind == "busy":
            run.due = self._case.pace.paused_until
        else:
            self._try_again(run, trouble.text, now)

    def _try_again(self, run: RemoteRun, why: str, now: Now) -> None:
        run.tries += 1
        if run.tries >= SUBMIT_TRIES and self._case.pace.circuit.closed:
            self._case.end(run, PROVIDER_ERROR, None, why)
        else:
            run.due = now.monotonic + self._case.pace.pause(run.tries)

    # --- doubt -------------------------------------------------------------------------------------------------

    def found(self, orders: Iterable[Order], found: Mapping[str, Sequence[Remote]], now: Now) -> None:
        """The first job of a token is its run's; others of it end."""
        case = self._case
        self._finding = False
        for run in self._doubted(orders):
            remotes = found.get(run.order.token, ())
            if remotes:
                case.live(run, remotes[0], now)
                case.strays.add(remotes[1:], now)
            elif now.monotonic < run.doubt_until and not case.capabilities.idempotent:
                wait = case.pace.pause(1, case.capabilities.settle_seconds / 8)
                run.due = min(run.doubt_until, now.monotonic + wait)
            else:
                self._not_there(run, now)

    def not_found(self, orders: Iterable[Order], now: Now) -> None:
        """The question had trouble: it is asked again later."""
        self._finding = False
        wait = self._case.pace.longer()
        for run in self._doubted(orders):
            run.due = now.monotonic + wait

    def _not_there(self, run: RemoteRun, now: Now) -> None:
        """The doubt is over: no call made it, or it is there no more."""
        case = self._case
        if run.stop_reason is not None:
            case.end(run, "timeout" if run.timed_out else "cancelled", None, run.stop_reason)
        elif run.lived:
            case.end(run, "lost", None, f"{case.provider} does not know the job any more")
        elif run.tries >= SUBMIT_TRIES:
            case.end(run, PROVIDER_ERROR, None, f"{case.provider} did not answer {run.tries} submits")
        else:
            run.sure = True
            run.stage, run.due = Stage.WANTED, now.monotonic

    def _doubted(self, orders: Iterable[Order]) -> list[RemoteRun]:
        """Those of the orders that are still in doubt."""
        runs = self._case.runs
        found = [runs[order.fence] for order in orders if order.fence in runs]
        return [run for run in found if run.stage is Stage.DOUBT]
