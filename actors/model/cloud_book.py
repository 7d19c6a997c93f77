"""The book of one provider: what of it runs there, and what to do next. Pure: facts and answers in, calls out.

Submission is gated by the queue: an order arrives only after its attempt is durable, so the token is written ahead
of every call. A call whose outcome nobody knows leaves its run in doubt, and a run in doubt is looked for before it
is submitted again. Silence is never an end: only a provider that says "no such job" twice loses one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, assert_never

from msgspec.structs import replace

from gpuyard.actors.model.cloud_calls import Cancel, CloudCall, Fetch, Find, Poll, Probe, Submit, Sweep, Upload
from gpuyard.actors.model.cloud_circuit import Circuit
from gpuyard.actors.model.cloud_remote import (
    ENDED,
    Capabilities,
    Order,
    Remote,
    RemoteState,
    RemoteStatus,
    Trouble,
    fence_in,
)
from gpuyard.actors.model.cloud_run import PROVIDER_DOWN, PROVIDER_ERROR, RemoteRun, Stage, exit_of, pause
from gpuyard.actors.model.commands.runs import RunSpec
from gpuyard.actors.model.duration import show
from gpuyard.actors.model.entry import CLOUD_HOST_PREFIX
from gpuyard.actors.model.events import AttemptAccepted, AttemptExited, AttemptProgress, AttemptStarted, OrphanSeen
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.outbox import Now

SUBMIT_TRIES: Final = 4
FETCH_TRIES: Final = 4
MISSES: Final = 2
SWEEP_SECONDS: Final = 600.0
# A provider that ends jobs at their limit by itself gets so much longer before we do.
LIMIT_SLACK: Final = 600.0
FOREVER: Final = float("inf")


@dataclass
class Effects:
    """What one step wants: `calls` to the provider, `tells` to the Scheduler; `changed`: the circuit did."""

    calls: list[CloudCall] = field(default_factory=list)
    tells: list[Message] = field(default_factory=list)
    changed: bool = False


class Book:
    """`owner` is what our tokens begin with; `dice` gives numbers from 0 to 1.

    Whatever is told to the book, `advance` then gives what follows from it; `next_at` is when (monotonic) it wants to
    be advanced again though nothing was told.
    """

    def __init__(
        self, provider: str, capabilities: Capabilities, circuit: Circuit, owner: str, dice: Callable[[], float]
    ) -> None:
        self.provider = provider
        self.host = f"{CLOUD_HOST_PREFIX}{provider}"
        self.capabilities = capabilities
        self.circuit = circuit
        self.owner = owner
        self.runs: dict[int, RemoteRun] = {}
        self.next_at = 0.0
        self._dice = dice
        self._strays: dict[str, float] = {}
        self._orphans: set[int] = set()
        self._paused_until = 0.0
        self._busy = 0
        self._poll_due = 0.0
        self._polling = 0
        self._poll_failures = 0
        self._finding = False
        self._probing = False
        self._sweep_due = FOREVER
        self._out = Effects()

    # --- what is wanted ----------------------------------------------------------------------------------------

    def want(self, order: Order, now: Now, *, again: bool = False, started: bool = False) -> None:
        """This attempt shall run there. `again`: it may have been begun already, `started`: it surely was."""
        known = self.runs.get(order.fence)
        if known is not None:
            self._report(known)
            return
        run = self.runs[order.fence] = RemoteRun(order, sure=not (again or started), lived=started)
        if not run.sure and not (self.capabilities.idempotent and not started):
            self._doubt(run, now)

    def stop(self, fence: int, reason: str, now: Now) -> None:
        """This attempt shall end there; one that is not known is looked for by its token."""
        run = self.runs.get(fence)
        if run is None:
            spec = RunSpec(fence=fence, job_id="", attempt=0, argv=())
            run = self.runs[fence] = RemoteRun(Order(token=f"{self.owner}-{fence}", spec=spec), sure=False, lived=True)
            self._doubt(run, now)
        if run.end is not None:
            self._report(run)
        elif run.stop_reason is None or run.timed_out:
            run.stop_reason, run.timed_out = reason or "cancelled", False
            run.cancel_due = 0.0
            if run.stage is Stage.WANTED and not run.sure:
                self._doubt(run, now)

    def forget(self, fence: int) -> None:
        """Its end is durable."""
        run = self.runs.get(fence)
        if run is not None and run.stage is Stage.ENDED:
            del self.runs[fence]

    def wanted_complete(self, now: Now) -> None:
        """All that the store knows was wanted: what else there carries our token is nobody's."""
        if self.capabilities.listing and self._sweep_due == FOREVER:
            self._sweep_due = now.monotonic + self.capabilities.settle_seconds

    def heard(self, fence: int, remote_id: str, now: Now) -> None:
        """The provider itself spoke of a job (a webhook): look now. Harmless for what is not known."""
        run = self.runs.get(fence)
        if run is None or run.stage is Stage.ENDED:
            return
        if run.stage is Stage.DOUBT and remote_id:
            self._live(run, Remote(id=remote_id), now)
        self._poll_due = now.monotonic

    def beat(self) -> None:
        """Tell again what the store may not have."""
        for run in self.runs.values():
            if run.end is not None:
                self._report(run)

    # --- what follows ------------------------------------------------------------------------------------------

    def advance(self, now: Now) -> Effects:
        """The calls that are due, and all that is to be told."""
        self.next_at = now.monotonic + 60.0
        for run in list(self.runs.values()):
            if run.stage in (Stage.WANTED, Stage.UPLOADING) and run.sure:
                if run.stop_reason is not None:
                    self._end(run, "cancelled", None, run.stop_reason)
                elif self.circuit.open and run.stage is Stage.WANTED:
                    self._end(run, PROVIDER_DOWN, None, self.circuit.why)
        if self.circuit.open:
            self._probe(now)
        elif now.monotonic < self._paused_until:
            self._wake(self._paused_until)
        else:
            self._call(now)
        out, self._out = self._out, Effects()
        return out

    def _call(self, now: Now) -> None:
        for run in self.runs.values():
            match run.stage:
                case Stage.WANTED if self._due(run.due, now) and self.circuit.closed:
                    self._begin(run)
                case Stage.LIVE:
                    self._look_after(run, now)
                case _:
                    pass
        self._find(now)
        self._poll(now)
        for remote_id, due in self._strays.items():
            if self._due(due, now):
                self._strays[remote_id] = FOREVER
                self._out.calls.append(Cancel(0, remote_id))
        if self._due(self._sweep_due, now):
            self._sweep_due = now.monotonic + SWEEP_SECONDS
            self._out.calls.append(Sweep(self.owner))

    def _begin(self, run: RemoteRun) -> None:
        """Its files first, then the submit."""
        if not run.order.spec.sent or run.uploaded:
            run.stage = Stage.SUBMITTING
            self._out.calls.append(Submit(run.order))
        elif self.capabilities.uploads:
            run.stage = Stage.UPLOADING
            self._out.calls.append(Upload(run.order))
        else:
            self._end(run, "start_failed", None, f"{self.provider} takes no files")

    def _look_after(self, run: RemoteRun, now: Now) -> None:
        self._check_limit(run, now)
        stopping = run.stop_reason is not None and run.final is None
        if stopping and not run.cancelling and self._due(run.cancel_due, now):
            run.cancelling = True
            self._out.calls.append(Cancel(run.fence, run.remote_id))
        if run.final is not None and not self.capabilities.logs:
            self._conclude(run)
        elif self.capabilities.logs and not run.fetching and run.last is not None and self._due(run.fetch_due, now):
            if run.last is RemoteState.QUEUED and run.final is None:
                run.fetch_due = FOREVER  # nothing is printed before it runs; set again when it is seen running
                return
            # Only a read that begins after the end was seen holds all there is.
            run.fetching, run.fetching_all = True, run.final is not None
            self._out.calls.append(Fetch(run.fence, run.remote_id))

    def _check_limit(self, run: RemoteRun, now: Now) -> None:
        limit = run.order.spec.time_limit
        if limit is None or run.started_at is None or run.stop_reason is not None or run.final is not None:
            return
        ends_at = run.started_at + limit + (LIMIT_SLACK if self.capabilities.time_limit else 0.0)
        if now.wall < ends_at:
            self._wake(now.monotonic + ends_at - now.wall)
            return
        run.stop_reason, run.timed_out = f"its time limit of {show(limit)} was reached", True

    def _find(self, now: Now) -> None:
        wanted = [run for run in self.runs.values() if run.stage is Stage.DOUBT and self._due(run.due, now)]
        if wanted and not self._finding:
            self._finding = True
            batch = wanted[: self.capabilities.batch]
            anew = any(run.misses >= MISSES for run in batch)
            self._out.calls.append(Find(tuple(run.order for run in batch), anew))

    def _poll(self, now: Now) -> None:
        live = [(run.fence, run.remote_id) for run in self.runs.values() if self._is_polled(run)]
        if not live or self._polling:
            return
        if not self._due(self._poll_due, now):
            return
        size = self.capabilities.batch
        for start in range(0, len(live), size):
            self._polling += 1
            self._out.calls.append(Poll(tuple(live[start : start + size])))
        self._poll_due = now.monotonic + self.capabilities.poll_seconds * (0.8 + 0.4 * self._dice())

    @staticmethod
    def _is_polled(run: RemoteRun) -> bool:
        return run.stage is Stage.LIVE and run.final is None

    def _probe(self, now: Now) -> None:
        if self._probing:
            return
        if now.wall >= self.circuit.retry_at:
            self._probing = True
            self._out.calls.append(Probe())
        else:
            self._wake(now.monotonic + self.circuit.retry_at - now.wall)

    # --- what the provider answered ----------------------------------------------------------------------------

    def answered(self, call: CloudCall, result: Any, now: Now) -> None:
        """`call` was answered with what its docstring says."""
        self._busy = 0
        if isinstance(call, Probe):
            self._probed(now)
        elif self.circuit.succeeded():
            self._out.changed = True
        match call:
            case Upload(order):
                self._uploaded(order.fence, result)
            case Submit(order):
                self._submitted(order.fence, result, now)
            case Find(orders):
                self._finding = False
                self._found(orders, result, now)
            case Poll(jobs):
                self._polling -= 1
                self._poll_failures = 0
                for fence, remote_id in jobs:
                    if remote_id in result:
                        self._seen(fence, remote_id, result[remote_id], now)
            case Fetch(fence):
                self._fetched(fence, bool(result), now)
            case Cancel(fence, remote_id):
                self._cancelled(fence, remote_id, now)
            case Sweep():
                self._swept(result, now)
            case Probe():
                pass
            case _:
                assert_never(call)

    def failed(self, call: CloudCall, trouble: Trouble, now: Now) -> None:
        """`call` had trouble."""
        self._count(call, trouble, now)
        match call:
            case Upload(order):
                self._not_uploaded(order.fence, trouble, now)
            case Submit(order):
                self._not_submitted(order.fence, trouble, now)
            case Find(orders):
                self._finding = False
                for run in self._runs_of(orders):
                    run.due = now.monotonic + self._pause(self._poll_failures + 1)
                self._poll_failures += 1
            case Poll():
                self._polling -= 1
                self._poll_failures += 1
                self._poll_due = now.monotonic + self._pause(self._poll_failures, self.capabilities.poll_seconds)
            case Fetch(fence):
                self._not_fetched(fence, trouble, now)
            case Cancel(fence, remote_id):
                self._not_cancelled(fence, remote_id, now)
            case Sweep():
                self._sweep_due = now.monotonic + self._pause(1, self.capabilities.settle_seconds, SWEEP_SECONDS)
            case Probe():
                self._probing = False
            case _:
                assert_never(call)

    def _count(self, call: CloudCall, trouble: Trouble, now: Now) -> None:
        match trouble.kind:
            case "busy":
                self._busy += 1
                wait = trouble.retry_after if trouble.retry_after is not None else self._pause(self._busy)
                self._paused_until = max(self._paused_until, now.monotonic + wait)
            case "final":
                # The provider answers; it is this one job that it does not want.
                if not isinstance(call, Probe) and self.circuit.succeeded():
                    self._out.changed = True
            case _:
                if self.circuit.open and not isinstance(call, Probe):
                    return  # begun before it opened: nothing new
                down = trouble.kind == "down"
                if self.circuit.failed(trouble.text, now.wall, self._dice(), down=down) or isinstance(call, Probe):
                    self._out.changed = True

    def _probed(self, now: Now) -> None:
        self._probing = False
        if not self.circuit.probed():
            return
        self._out.changed = True
        self._poll_due = now.monotonic
        if not any(run.stage in (Stage.LIVE, Stage.DOUBT) for run in self.runs.values()):
            self.circuit.succeeded()  # nothing that could be looked at: the probe has to do

    # --- submit and find ---------------------------------------------------------------------------------------

    def _uploaded(self, fence: int, uploads: dict[str, str]) -> None:
        run = self.runs.get(fence)
        if run is not None and run.stage is Stage.UPLOADING:
            run.stage, run.uploaded = Stage.WANTED, True
            run.order = replace(run.order, uploads=uploads)

    def _not_uploaded(self, fence: int, trouble: Trouble, now: Now) -> None:
        run = self.runs.get(fence)
        if run is None or run.stage is not Stage.UPLOADING:
            return
        run.stage = Stage.WANTED
        if trouble.kind == "final":
            self._end(run, "start_failed", None, trouble.text)
        elif trouble.kind == "busy":
            run.due = self._paused_until
        else:
            self._try_again(run, trouble.text, now)

    def _submitted(self, fence: int, remote: Remote, now: Now) -> None:
        run = self.runs.get(fence)
        if run is None or run.stage is not Stage.SUBMITTING:
            return
        self._live(run, remote, now)

    def _live(self, run: RemoteRun, remote: Remote, now: Now) -> None:
        run.stage, run.remote_id, run.sure = Stage.LIVE, remote.id, False
        run.misses = 0
        soon = now.monotonic + self.capabilities.poll_seconds / 4
        self._poll_due = soon if self._poll_due < now.monotonic else min(self._poll_due, soon)
        self._out.tells.append(AttemptAccepted(fence=run.fence, remote_id=remote.id, url=remote.url))

    def _not_submitted(self, fence: int, trouble: Trouble, now: Now) -> None:
        run = self.runs.get(fence)
        if run is None or run.stage is not Stage.SUBMITTING:
            return
        run.stage = Stage.WANTED
        if trouble.kind == "final" and run.sure:
            self._end(run, "start_failed", None, trouble.text)
        elif trouble.kind == "busy":
            run.due = self._paused_until
        elif trouble.kind == "unsure" or not run.sure:
            run.sure = False
            run.tries += 1
            self._doubt(run, now)
        else:
            self._try_again(run, trouble.text, now)

    def _try_again(self, run: RemoteRun, why: str, now: Now) -> None:
        """It is sure that nothing of it is there."""
        run.tries += 1
        if run.tries >= SUBMIT_TRIES and self.circuit.closed:
            self._end(run, PROVIDER_ERROR, None, why)
        else:
            run.stage, run.due = Stage.WANTED, now.monotonic + self._pause(run.tries)

    def _doubt(self, run: RemoteRun, now: Now) -> None:
        run.stage, run.due = Stage.DOUBT, now.monotonic
        run.doubt_until = now.monotonic + self.capabilities.settle_seconds

    def _found(self, orders: Iterable[Order], found: dict[str, tuple[Remote, ...]], now: Now) -> None:
        for run in self._runs_of(orders):
            remotes = found.get(run.order.token, ())
            if remotes:
                self._live(run, remotes[0], now)
                self._stray(remotes[1:], now)
            elif now.monotonic < run.doubt_until and not self.capabilities.idempotent:
                run.due = min(run.doubt_until, now.monotonic + self._pause(1, self.capabilities.settle_seconds / 8))
            else:
                self._not_there(run, now)

    def _not_there(self, run: RemoteRun, now: Now) -> None:
        """The doubt is over: no call made it, or it is there no more."""
        if run.stop_reason is not None:
            self._end(run, "timeout" if run.timed_out else "cancelled", None, run.stop_reason)
        elif run.lived:
            self._end(run, "lost", None, f"{self.provider} does not know the job any more")
        else:
            run.sure = True
            run.stage, run.due = Stage.WANTED, now.monotonic
            if run.tries >= SUBMIT_TRIES:
                self._end(run, PROVIDER_ERROR, None, f"{self.provider} did not answer {run.tries} submits")

    def _runs_of(self, orders: Iterable[Order]) -> list[RemoteRun]:
        """Those of the orders that are still in doubt."""
        found = [self.runs[order.fence] for order in orders if order.fence in self.runs]
        return [run for run in found if run.stage is Stage.DOUBT]

    # --- looking, logs, the end --------------------------------------------------------------------------------

    def _seen(self, fence: int, remote_id: str, status: RemoteStatus, now: Now) -> None:
        run = self.runs.get(fence)
        if run is None or not self._is_polled(run) or run.remote_id != remote_id:
            return
        if status.state is RemoteState.GONE:
            self._missed(run, now)
            return
        run.misses = 0
        if status.state in (RemoteState.RUNNING, *ENDED) and run.last in (None, RemoteState.QUEUED):
            run.fetch_due = now.monotonic
        run.last = status.state
        if run.started_at is None and status.state is not RemoteState.QUEUED:
            run.started_at = status.started_at or (now.wall if status.state is RemoteState.RUNNING else None)
            if run.started_at is not None:
                self._out.tells.append(AttemptStarted(fence=fence, pid=0, at=run.started_at))
        if status.progress and status.progress != run.progress:
            run.progress = status.progress
            self._out.tells.append(AttemptProgress(fence=fence, progress=status.progress))
        if status.state in ENDED:
            run.final = status
            run.fetch_due = now.monotonic

    def _missed(self, run: RemoteRun, now: Now) -> None:
        run.misses += 1
        if run.misses >= MISSES:
            run.lived = True
            self._doubt(run, now)  # one more way to look, by its token, before it is given up

    def _fetched(self, fence: int, more: bool, now: Now) -> None:
        run = self.runs.get(fence)
        if run is None or run.stage is not Stage.LIVE:
            return
        run.fetching, run.fetch_tries = False, 0
        if run.final is None and not more:
            run.fetch_due = now.monotonic + self.capabilities.poll_seconds
        elif more or not run.fetching_all:
            run.fetch_due = now.monotonic
        else:
            self._conclude(run)

    def _not_fetched(self, fence: int, trouble: Trouble, now: Now) -> None:
        run = self.runs.get(fence)
        if run is None or run.stage is not Stage.LIVE:
            return
        run.fetching = False
        run.fetch_tries += trouble.kind != "busy"
        run.fetch_due = now.monotonic + self._pause(run.fetch_tries)
        if run.final is not None and (run.fetch_tries >= FETCH_TRIES or trouble.kind == "final"):
            self._conclude(run)  # the end is known; a log that cannot be read must not hide it

    def _conclude(self, run: RemoteRun) -> None:
        assert run.final is not None
        exit_class, code, message = exit_of(run, run.final)
        self._end(run, exit_class, code, message, run.final)

    def _end(
        self, run: RemoteRun, exit_class: str, code: int | None, message: str, status: RemoteStatus | None = None
    ) -> None:
        run.stage = Stage.ENDED
        run.end = AttemptExited(
            fence=run.fence,
            exit_class=exit_class,
            exit_code=code,
            message=message,
            started_at=run.started_at,
            ended_at=status.ended_at if status is not None else None,
            host=self.host,
            cost_usd=status.cost_usd if status is not None else None,
        )
        self._report(run)

    def _report(self, run: RemoteRun) -> None:
        if run.end is not None:
            self._out.tells.append(run.end)
        elif run.started_at is not None:
            self._out.tells.append(AttemptStarted(fence=run.fence, pid=0, at=run.started_at))

    # --- cancel, strays, orphans -------------------------------------------------------------------------------

    def _cancelled(self, fence: int, remote_id: str, now: Now) -> None:
        self._strays.pop(remote_id, None)
        run = self.runs.get(fence)
        if run is not None:
            run.cancelling = False
            run.cancel_tries += 1
            run.cancel_due = now.monotonic + self._pause(run.cancel_tries, self.capabilities.poll_seconds * 4)
            self._poll_due = now.monotonic

    def _not_cancelled(self, fence: int, remote_id: str, now: Now) -> None:
        if remote_id in self._strays:
            self._strays[remote_id] = now.monotonic + self._pause(3)
        run = self.runs.get(fence)
        if run is not None:
            run.cancelling = False
            run.cancel_tries += 1
            run.cancel_due = now.monotonic + self._pause(run.cancel_tries)

    def _stray(self, remotes: Iterable[Remote], now: Now) -> None:
        """Second jobs of one token: they end, the first stays."""
        for remote in remotes:
            self._strays.setdefault(remote.id, now.monotonic)

    def _swept(self, found: Iterable[tuple[str, Remote]], now: Now) -> None:
        for token, remote in found:
            fence = fence_in(token)
            if fence is None:
                continue
            run = self.runs.get(fence)
            if run is None:
                if fence not in self._orphans:
                    self._orphans.add(fence)
                    self._out.tells.append(OrphanSeen(fence=fence, job_id="", host=self.host))
            elif run.stage is Stage.LIVE and run.remote_id != remote.id:
                self._stray([remote], now)

    # --- small things ------------------------------------------------------------------------------------------

    def _due(self, at: float, now: Now) -> bool:
        """Is it time? If not, be advanced again when it is."""
        if at <= now.monotonic:
            return True
        self._wake(at)
        return False

    def _wake(self, at: float) -> None:
        self.next_at = min(self.next_at, at)

    def _pause(self, tries: int, first: float = 1.0, last: float = 60.0) -> float:
        return pause(tries, self._dice(), first, max(first, last))
