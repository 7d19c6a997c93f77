"""How fast, and whether at all, a provider is called: its circuit, its wish for fewer calls, the beat of looking."""

from __future__ import annotations

from collections.abc import Callable

from gpuyard.actors.model.cloud_circuit import Circuit
from gpuyard.actors.model.cloud_remote import Trouble
from gpuyard.actors.model.cloud_run import pause
from gpuyard.actors.model.outbox import Now


class Pace:
    """`looked_at` is when running jobs are to be looked at next, `paused_until` before when nothing is called at all
    (monotonic). `changed` is set when the circuit changed, until somebody takes note."""

    def __init__(self, circuit: Circuit, poll_seconds: float, dice: Callable[[], float]) -> None:
        self.circuit = circuit
        self.paused_until = 0.0
        self.look_at = 0.0
        self.looking = 0
        self.probing = False
        self.changed = False
        self._poll_seconds = poll_seconds
        self._dice = dice
        self._busy = 0
        self._failures = 0

    # --- looking -----------------------------------------------------------------------------------------------

    def looked(self) -> None:
        """A look was answered."""
        self.looking -= 1
        self._failures = 0

    def not_looked(self, now: Now) -> None:
        """A look had trouble: the next one comes later."""
        self.looking -= 1
        self.look_at = now.monotonic + self.longer(self._poll_seconds)

    def look_again(self, now: Now) -> None:
        """The next look comes at its usual time."""
        self.look_at = now.monotonic + self._poll_seconds * (0.8 + 0.4 * self._dice())

    def look_soon(self, now: Now) -> None:
        """Something is new: look before the usual time."""
        soon = now.monotonic + self._poll_seconds / 4
        self.look_at = soon if self.look_at < now.monotonic else min(self.look_at, soon)

    def look_now(self, now: Now) -> None:
        self.look_at = now.monotonic

    def longer(self, first: float = 1.0) -> float:
        """Seconds, twice as many with each failure in a row."""
        self._failures += 1
        return self.pause(self._failures, first)

    def pause(self, tries: int, first: float = 1.0, last: float = 60.0) -> float:
        return pause(tries, self._dice(), first, max(first, last))

    # --- answers and troubles ----------------------------------------------------------------------------------

    def answered(self) -> None:
        """A call, not a probe, was answered."""
        self._busy = 0
        self.changed |= self.circuit.succeeded()

    def troubled(self, trouble: Trouble, now: Now, *, probe: bool = False) -> None:
        """A call had trouble."""
        match trouble.kind:
            case "busy":
                self._busy += 1
                wait = trouble.retry_after if trouble.retry_after is not None else self.pause(self._busy)
                self.paused_until = max(self.paused_until, now.monotonic + wait)
            case "final":
                # The provider answers; it is this one job that it does not want.
                if not probe:
                    self.answered()
            case kind:
                if self.circuit.open and not probe:
                    return  # begun before it opened: nothing new
                opened = self.circuit.failed(trouble.text, now.wall, self._dice(), down=kind == "down")
                self.changed |= opened or probe
        if probe:
            self.probing = False

    def probed(self, now: Now, *, something_to_see: bool) -> None:
        """A probe was answered. With `something_to_see` the first look decides, else the probe has to do."""
        self.probing = False
        if not self.circuit.probed():
            return
        self.changed = True
        self.look_now(now)
        if not something_to_see:
            self.circuit.succeeded()
