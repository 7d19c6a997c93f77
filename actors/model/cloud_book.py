"""The book of one provider: what of it runs there, and what to do next. Pure: facts and answers in, calls out.

Submission is gated by the queue: an order arrives only after its attempt is durable, so the token is written ahead of
every call. `cloud_begin` deals with runs that are not yet known to be there, `cloud_watch` with those that are,
`cloud_pace` with how often, and whether at all, the provider is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

from gpuyard.actors.model.cloud_begin import Begin
from gpuyard.actors.model.cloud_calls import Cancel, CloudCall, Fetch, Find, Poll, Probe, Submit, Sweep, Upload
from gpuyard.actors.model.cloud_case import Case, Effects
from gpuyard.actors.model.cloud_circuit import Circuit
from gpuyard.actors.model.cloud_remote import Capabilities, Order, Trouble, fence_in
from gpuyard.actors.model.cloud_run import PROVIDER_DOWN, RemoteRun, Stage
from gpuyard.actors.model.cloud_strays import FOREVER, SWEEP_SECONDS
from gpuyard.actors.model.cloud_watch import Watch
from gpuyard.actors.model.commands.runs import RunSpec
from gpuyard.actors.model.events import OrphanSeen
from gpuyard.actors.model.outbox import Now

LONGEST_WAIT = 60.0


class Book:
    """`owner` is what our tokens begin with; `dice` gives numbers from 0 to 1.

    Whatever is told to the book, `advance` then gives what follows from it; `next_at` is when (monotonic) it wants to
    be advanced again though nothing was told.
    """

    def __init__(
        self, provider: str, capabilities: Capabilities, circuit: Circuit, owner: str, dice: Callable[[], float]
    ) -> None:
        self.owner = owner
        self._case = Case(provider, capabilities, circuit, dice)
        self._begin = Begin(self._case)
        self._watch = Watch(self._case)

    @property
    def runs(self) -> dict[int, RemoteRun]:
        return self._case.runs

    @property
    def capabilities(self) -> Capabilities:
        return self._case.capabilities

    @property
    def next_at(self) -> float:
        return self._case.next_at

    @property
    def circuit(self) -> Circuit:
        return self._case.pace.circuit

    @circuit.setter
    def circuit(self, circuit: Circuit) -> None:
        self._case.pace.circuit = circuit

    # --- what is wanted ----------------------------------------------------------------------------------------

    def want(self, order: Order, now: Now, *, again: bool = False, started: bool = False) -> None:
        """This attempt shall run there. `again`: it may have been begun already, `started`: it surely was."""
        known = self.runs.get(order.fence)
        if known is not None:
            self._case.report(known)
            return
        run = self.runs[order.fence] = RemoteRun(order, sure=not (again or started), lived=started)
        if not run.sure and not (self.capabilities.idempotent and not started):
            self._case.doubt(run, now)

    def stop(self, fence: int, reason: str, now: Now) -> None:
        """This attempt shall end there; one that is not known is looked for by its token."""
        run = self.runs.get(fence)
        if run is None:
            spec = RunSpec(fence=fence, job_id="", attempt=0, argv=())
            run = self.runs[fence] = RemoteRun(Order(token=f"{self.owner}-{fence}", spec=spec), sure=False, lived=True)
            self._case.doubt(run, now)
        if run.end is not None:
            self._case.report(run)
        elif run.stop_reason is None or run.timed_out:
            run.stop_reason, run.timed_out = reason or "cancelled", False
            run.cancel_due = 0.0
            if run.stage is Stage.WANTED and not run.sure:
                self._case.doubt(run, now)

    def forget(self, fence: int) -> None:
        """Its end is durable."""
        run = self.runs.get(fence)
        if run is not None and run.stage is Stage.ENDED:
            del self.runs[fence]

    def wanted_complete(self, now: Now) -> None:
        """All that the store knows was wanted: what else there carries our token is nobody's."""
        strays = self._case.strays
        if self.capabilities.listing and strays.sweep_at == FOREVER:
            strays.sweep_at = now.monotonic + self.capabilities.settle_seconds

    def heard(self, token: str, remote_id: str, now: Now) -> None:
        """The provider itself spoke of a job (a webhook): look now. Harmless for what is not known.

        The id is signed, the token is not: which run it is stays for `Find` to say.
        """
        run = self.runs.get(fence_in(token) or 0)
        if run is None or run.stage is Stage.ENDED or run.order.token != token:
            return
        if run.stage is Stage.DOUBT:
            run.told, run.due = remote_id, now.monotonic
        else:
            self._case.pace.look_now(now)

    def tested(self, trouble: Trouble, now: Now) -> None:
        """Somebody asked whether it answers, and it does not: that counts as any other call."""
        self._case.pace.troubled(trouble, now)

    def uploading(self, fence: int, words: str) -> None:
        """How far the files of a run are."""
        self._begin.uploading(fence, words)

    def beat(self) -> None:
        """Tell again what the store may not have."""
        for run in self.runs.values():
            if run.end is not None:
                self._case.report(run)

    # --- what follows ------------------------------------------------------------------------------------------

    def advance(self, now: Now) -> Effects:
        """The calls that are due, and all that is to be told."""
        case, pace = self._case, self._case.pace
        case.next_at = now.monotonic + LONGEST_WAIT
        for run in list(self.runs.values()):
            self._end_unbegun(run)
        if pace.circuit.open:
            self._probe(now)
        elif now.monotonic < pace.paused_until:
            case.wake(pace.paused_until)
        else:
            self._call(now)
        out, case.out = case.out, Effects()
        out.changed, pace.changed = pace.changed, False
        return out

    def _end_unbegun(self, run: RemoteRun) -> None:
        """Of what surely never began nothing need be asked: stopped is stopped, and in an outage it waits at home."""
        if run.stage not in (Stage.WANTED, Stage.UPLOADING) or not run.sure:
            return
        if run.stop_reason is not None:
            self._case.end(run, "cancelled", None, run.stop_reason)
        elif self.circuit.open and run.stage is Stage.WANTED:
            self._case.end(run, PROVIDER_DOWN, None, self.circuit.why)

    def _call(self, now: Now) -> None:
        case, strays = self._case, self._case.strays
        for run in self.runs.values():
            if run.stage is Stage.LIVE:
                self._watch.step(run, now)
            else:
                self._begin.step(run, now)
        self._begin.look_for_lost(now)
        self._watch.look(now)
        for remote_id, due in strays.due.items():
            if case.due(due, now):
                strays.due[remote_id] = FOREVER
                case.out.calls.append(Cancel(0, remote_id))
        if case.due(strays.sweep_at, now):
            strays.sweep_at = now.monotonic + SWEEP_SECONDS
            case.out.calls.append(Sweep(self.owner))

    def _probe(self, now: Now) -> None:
        pace = self._case.pace
        if pace.probing:
            return
        if now.wall >= pace.circuit.retry_at:
            pace.probing = True
            self._case.out.calls.append(Probe())
        else:
            self._case.wake(now.monotonic + pace.circuit.retry_at - now.wall)

    # --- what the provider answered ----------------------------------------------------------------------------

    def answered(self, call: CloudCall, result: Any, now: Now) -> None:
        """`call` was answered with what its docstring says."""
        case = self._case
        if not isinstance(call, Probe):
            case.pace.answered()
        match call:
            case Upload(order):
                self._begin.uploaded(order.fence, result)
            case Submit(order):
                self._begin.submitted(order.fence, result, now)
            case Find(orders):
                self._begin.found(orders, result, now)
            case Poll(jobs):
                self._watch.looked(jobs, result, now)
            case Fetch(fence):
                self._watch.fetched(fence, result, now)
            case Cancel(fence, remote_id):
                case.strays.ended(remote_id)
                self._watch.cancelled(fence, now)
            case Sweep():
                orphans = case.strays.swept(result, self.runs, now)
                case.out.tells += [OrphanSeen(fence=fence, job_id="", host=case.host) for fence in orphans]
            case Probe():
                watched = (Stage.LIVE, Stage.DOUBT)
                case.pace.probed(now, something_to_see=any(run.stage in watched for run in self.runs.values()))
            case _:
                assert_never(call)

    def failed(self, call: CloudCall, trouble: Trouble, now: Now) -> None:
        """`call` had trouble."""
        case = self._case
        case.pace.troubled(trouble, now, probe=isinstance(call, Probe))
        match call:
            case Upload(order):
                self._begin.not_uploaded(order.fence, trouble, now)
            case Submit(order):
                self._begin.not_submitted(order.fence, trouble, now)
            case Find(orders):
                self._begin.not_found(orders, now)
            case Poll():
                case.pace.not_looked(now)
            case Fetch(fence):
                self._watch.not_fetched(fence, trouble, now)
            case Cancel(fence, remote_id):
                case.strays.again(remote_id, now.monotonic + case.pace.pause(3))
                self._watch.not_cancelled(fence, now)
            case Sweep():
                case.strays.sweep_at = now.monotonic + case.pace.pause(3, self.capabilities.settle_seconds)
            case Probe():
                pass
            case _:
                assert_never(call)
