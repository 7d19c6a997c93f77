"""A machine with GPUs: its clock, its power, the runs on it, and the worker process (see `worker.py`).

Its clock (CLOCK_BOOTTIME) runs up to 1 % too fast or too slow and begins anew with each boot. A frozen machine does
nothing at all, its trainings neither, but its clock goes on, as when it sleeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import WantRun
from gpuyard.actors.model.events import AttemptExited
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.message import Message
from tests.sim.engine import Engine
from tests.sim.runs import Disk, Folder, Run
from tests.sim.worker import WorkerProcess

if TYPE_CHECKING:
    from tests.sim.world import World

LAPSE_GRACE = 4.0
STOP_GRACE = 6.0
SECOND_LINE = 0.5
WALL = 1_000_000_000.0


class Host:
    """`key` is the public key of the worker that it is, `worker_id`; `uuids` are its GPUs, `at_once` as for simulated
    ones."""

    def __init__(self, world: World, name: str, key: str, gpus: int, drift: float, at_once: bool) -> None:
        self.world, self.name, self.key = world, name, key
        self.worker_id = name
        self.engine: Engine = world.engine
        self.uuids = tuple(f"{name}-{i}" for i in range(gpus))
        self.at_once = at_once
        self.rate = 1.0 + drift
        self.disk = Disk()
        self.boots = 0
        self.boot_at = self.engine.now
        self.up = self.frozen = False
        self.runs: dict[int, Run] = {}
        self.launching: dict[int, WantRun] = {}
        self.draining: dict[str, tuple[int, float]] = {}
        self.worker: WorkerProcess | None = None
        self.lives = 0
        self.lies = False

    # --- power and time ----------------------------------------------------------------------------------------

    @property
    def incarnation(self) -> str:
        return f"{self.name}-boot{self.boots}"

    def boottime(self) -> float:
        return 10.0 + (self.engine.now - self.boot_at) * self.rate

    def wall(self) -> float:
        return WALL + self.engine.now

    def true_seconds(self, seconds: float) -> float:
        """How long so many seconds of this machine's clock really are."""
        return seconds / self.rate

    def facts(self) -> tuple[GpuFact, ...]:
        return tuple(GpuFact(uuid=uuid, index=i, memory_total=80 << 30) for i, uuid in enumerate(self.uuids))

    def boot(self) -> None:
        self.boots += 1
        self.boot_at = self.engine.now
        self.up, self.frozen = True, False
        self.engine.say(self.name, "boots as {}", self.incarnation)
        self.start_worker()

    def crash(self) -> None:
        """Power off: every process dies this moment; what was not on the disk is gone."""
        self.engine.say(self.name, "loses power with runs {}", list(self.runs))
        self.kill_worker()
        self.up = self.frozen = False
        for run in self.runs.values():
            if run.training:
                self._dead(run)
            if run.folder.exit is None and self.engine.chance(0.2):
                self.disk.folders.pop(run.folder.fence, None)  # its records never reached the disk
        self.runs.clear()
        self.launching.clear()
        self.draining.clear()

    def freeze(self) -> None:
        self.engine.say(self.name, "freezes")
        self.frozen = True

    def thaw(self) -> None:
        """Overdue timers fire before anything else happens."""
        if not self.up or not self.frozen:
            return
        self.engine.say(self.name, "thaws")
        self.frozen = False
        for run in list(self.runs.values()):
            self.enforce_lease(run)
            if run.dies_at <= self.engine.now:
                self._dies(run)
        self.world.alive_again(self)
        if self.worker is not None:
            self.worker.wake()

    # --- the worker process ------------------------------------------------------------------------------------

    def start_worker(self) -> None:
        if self.up and self.worker is None:
            self.lives += 1
            self.worker = WorkerProcess(self, f"{self.incarnation}-life{self.lives}")
            self.worker.begin()

    def kill_worker(self) -> None:
        if self.worker is not None:
            self.worker.die()
            self.worker = None

    def receive(self, message: Message) -> None:
        """A frame from the network, for whichever worker process is there."""
        if self.worker is not None:
            self.worker.receive(names.AGENT, message)

    # --- runs --------------------------------------------------------------------------------------------------

    def launch(self, want: WantRun) -> None:
        """The order is at a keeper, which starts it shortly, whatever becomes of the worker process."""
        fence = want.run.fence
        self.launching[fence] = want
        self.engine.after(self.engine.between(0.02, 1.0), self._launched, fence, self.boots)

    def _launched(self, fence: int, boot: int) -> None:
        want = self.launching.get(fence)
        if want is None or boot != self.boots or not self.up:
            return
        if self.frozen:
            self.engine.after(1.0, self._launched, fence, boot)
            return
        del self.launching[fence]
        if fence in self.disk.folders:
            return  # it was buried before its start
        folder = Folder(
            fence, want.run.job_id, tuple(gpu.uuid for gpu in want.run.gpus), self.incarnation, want.lease_until
        )
        self.disk.folders[fence] = folder
        if folder.until is not None and self.boottime() >= folder.until:
            self.write_exit(folder, "lost", None, "the lease had ended before the program could be started")
            return
        folder.pid, folder.started_at = self.world.next_pid(), self.wall()
        exit_class, exit_code = self.world.fate_of(want.run.job_id)
        run = self.runs[fence] = Run(folder, self.engine.between(0.0, 8.0), exit_class, exit_code)
        self.engine.say(self.name, "starts {} of {} on {}", fence, folder.job_id, folder.uuids)
        self.world.starts(self, run)
        self.engine.after(self.world.length_of(want.run.job_id), self._ends_by_itself, run)
        self.arm_lease(run)
        if self.worker is not None:
            self.worker.hear_start(run)

    def _ends_by_itself(self, run: Run) -> None:
        if not run.training or run.dies_at <= self.engine.now:
            return
        if self.frozen:
            run.dies_at, run.stopping = self.engine.now, ""
            return
        run.stopping = ""
        self._die_of(run, run.exit_class)

    def stop(self, run: Run, exit_class: str, grace: float) -> None:
        """CONT, TERM, and KILL after the grace."""
        if not run.training or self.frozen:
            return
        dies_at = self.engine.now + min(run.slow, max(0.0, self.true_seconds(grace)))
        if dies_at < run.dies_at:
            run.stopping, run.dies_at = run.stopping or exit_class, dies_at
            self.engine.say(self.name, "stops {} ({})", run.folder.fence, exit_class)
            if dies_at <= self.engine.now:
                self._dies(run)
            else:
                self.engine.after(dies_at - self.engine.now, self._dies, run)

    def _dies(self, run: Run) -> None:
        if run.training and not self.frozen and run.dies_at <= self.engine.now:
            self._die_of(run, run.stopping or run.exit_class)

    def _die_of(self, run: Run, exit_class: str) -> None:
        run.over = exit_class
        self._dead(run)
        self.settle(run)

    def _dead(self, run: Run) -> None:
        run.training = False
        run.dies_at = min(run.dies_at, self.engine.now)
        self.world.ends(self, run)
        for uuid in run.folder.uuids:
            seconds = 0.0 if self.at_once else self.engine.between(0.0, 3.0)
            self.draining[uuid] = (run.folder.fence, self.engine.now + seconds)

    def still_draining(self, fence: int) -> bool:
        """Is memory of this run still in use, though no process of it is left?"""
        return any(who == fence and at > self.engine.now + 1e-6 for who, at in self.draining.values())

    def settle(self, run: Run) -> None:
        """Its keeper writes how it ended; without one the worker process finds that nothing is left of it."""
        if run.training or run.folder.exit is not None or not run.over:
            return
        if run.keeper and not run.keeper_frozen:
            code = run.exit_code if run.over == run.exit_class else None
            self.write_exit(run.folder, run.over, code, run.over)
        elif not run.keeper and self.worker is not None and not self.worker.frozen:
            self.write_exit(run.folder, "lost", None, "keeper killed, exit code unknown")

    def write_exit(self, folder: Folder, exit_class: str, code: int | None, message: str) -> None:
        folder.exit = AttemptExited(
            fence=folder.fence,
            exit_class=exit_class,
            exit_code=code,
            message=message,
            started_at=folder.started_at,
            ended_at=self.wall(),
        )
        self.runs.pop(folder.fence, None)
        self.engine.say(self.name, "run {} ended: {}", folder.fence, exit_class)
        if self.worker is not None:
            self.worker.hear_exit(folder)

    # --- leases ------------------------------------------------------------------------------------------------

    def arm_lease(self, run: Run) -> None:
        """The keeper's timer, and that of the worker process behind it."""
        until = run.folder.until
        if until is not None:
            left = until - self.boottime()
            self.engine.after(self.true_seconds(left), self.enforce_lease, run)
            self.engine.after(self.true_seconds(left + SECOND_LINE), self.enforce_lease, run)

    def enforce_lease(self, run: Run) -> None:
        """At the moment that the folder says, not before: a renewal wakes nobody."""
        until, now = run.folder.until, self.boottime()
        if until is None or not run.training or self.frozen or not self.up:
            return
        if now < until - 1e-6:
            self.arm_lease(run)
            return
        grace_left = until + LAPSE_GRACE - now
        if run.keeper and not run.keeper_frozen:
            self.world.lapses(self, run)
            self.stop(run, "lost", grace_left)
        elif self.worker is not None and not self.worker.frozen and now >= until + SECOND_LINE - 1e-6:
            self.world.lapses(self, run)
            run.keeper_frozen = False  # woken, and it finds its lease lapsed
            self.stop(run, "lost", grace_left)

    # --- faults of keepers -------------------------------------------------------------------------------------

    def kill_keeper(self, run: Run) -> None:
        self.engine.say(self.name, "keeper of {} is killed", run.folder.fence)
        run.keeper = False
        self.settle(run)

    def freeze_keeper(self, run: Run) -> None:
        self.engine.say(self.name, "keeper of {} freezes", run.folder.fence)
        run.keeper_frozen = True

    def thaw_keeper(self, run: Run) -> None:
        run.keeper_frozen = False
        self.enforce_lease(run)
        self.settle(run)

    def one_armed(self) -> bool:
        """Does only the worker process enforce the lease of some run here?"""
        return any(not run.keeper or run.keeper_frozen for run in self.runs.values())
