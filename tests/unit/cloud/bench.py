"""A book with a clock of its own: what it wants done is taken down, and answered by the test."""

from __future__ import annotations

from typing import Any

from gpuyard.actors.model.clock import ManualClock
from gpuyard.actors.model.cloud_book import Book
from gpuyard.actors.model.cloud_calls import CloudCall, Fetch, Fetched, Poll, Submit
from gpuyard.actors.model.cloud_circuit import Circuit
from gpuyard.actors.model.cloud_remote import Capabilities, Order, Remote, RemoteState, RemoteStatus, Trouble
from gpuyard.actors.model.commands import RunSpec
from gpuyard.actors.model.events import AttemptExited
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.outbox import Now

RUNNING = RemoteStatus(state=RemoteState.RUNNING)
DONE = RemoteStatus(state=RemoteState.COMPLETED, exit_code=0)
STOPPED = RemoteStatus(state=RemoteState.CANCELLED)
GONE = RemoteStatus(state=RemoteState.GONE)


class Bench:
    """Dice always show one half, so pauses are exact."""

    def __init__(self, **capabilities: Any) -> None:
        self.clock = ManualClock()
        self.capabilities = Capabilities(**{"settle_seconds": 60.0, "poll_seconds": 5.0, **capabilities})
        self.book = Book("somewhere", self.capabilities, Circuit(), "gy-test", lambda: 0.5)
        self.calls: list[CloudCall] = []
        self.pending: list[CloudCall] = []
        self.tells: list[Message] = []
        self.changes = 0

    def now(self) -> Now:
        return Now(self.clock.now(), self.clock.monotonic())

    def step(self) -> list[CloudCall]:
        """What it wants done now."""
        effects = self.book.advance(self.now())
        self.calls += effects.calls
        self.pending += effects.calls
        self.tells += effects.tells
        self.changes += effects.changed
        return effects.calls

    def pass_time(self, seconds: float) -> list[CloudCall]:
        self.clock.advance(seconds)
        return self.step()

    def want(self, fence: int, *, again: bool = False, started: bool = False, **spec: Any) -> list[CloudCall]:
        order = Order(
            token=f"gy-test-{fence}",
            spec=RunSpec(fence=fence, job_id=f"job{fence}", attempt=1, argv=("true",), **spec),
            asked_at=self.clock.now(),
        )
        self.book.want(order, self.now(), again=again, started=started)
        return self.step()

    def stop(self, fence: int) -> list[CloudCall]:
        self.book.stop(fence, "cancelled by owner", self.now())
        return self.step()

    def answer(self, call: CloudCall, result: Any = None) -> list[CloudCall]:
        self._take(call)
        self.book.answered(call, result, self.now())
        return self.step()

    def fail(self, call: CloudCall, kind: str = "retry", **more: Any) -> list[CloudCall]:
        self._take(call)
        self.book.failed(call, Trouble(kind=kind, text=f"{kind}!", **more), self.now())
        return self.step()

    def _take(self, call: CloudCall) -> None:
        if call in self.pending:
            self.pending.remove(call)

    def live(self, fence: int, **spec: Any) -> None:
        """A run that is at the provider as `r<fence>`."""
        [submit] = [call for call in self.want(fence, **spec) if isinstance(call, Submit)]
        self.answer(submit, Remote(id=f"r{fence}"))

    def poll(self, **seen: RemoteStatus) -> list[CloudCall]:
        """Wait for the next look and answer it: remote id → status."""
        poll = self.next(Poll)
        return self.answer(poll, seen)

    def end(self, fence: int, status: RemoteStatus = DONE) -> None:
        """The run of `fence` has ended there and its log is read."""
        self.poll(**{f"r{fence}": status})
        self.read_logs()

    def read_logs(self) -> None:
        """Every log that is being read is read to its end."""
        while fetches := [call for call in self.pending if isinstance(call, Fetch)]:
            self.answer(fetches[0], Fetched())

    def next(self, kind: type[Any]) -> Any:
        """The first call of a kind that nobody answered yet, let time pass as it must."""
        for _ in range(1000):
            self.step()
            for call in self.pending:
                if isinstance(call, kind):
                    return call
            wait = max(0.001, self.book.next_at - self.clock.monotonic())
            self.clock.advance(wait)
        raise AssertionError(f"no {kind.__name__} came")

    def exit_of(self, fence: int) -> AttemptExited | None:
        found = [e for e in self.tells if isinstance(e, AttemptExited) and e.fence == fence]
        return found[-1] if found else None

    def kinds(self) -> list[str]:
        return [type(call).__name__ for call in self.calls]
