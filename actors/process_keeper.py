"""ProcessKeeper: makes the runs of this host what is wanted, and tells what they are (DESIGN 5).

It holds no decision: a wanted run is started once, whatever is repeated, and ends only when it is asked to stop. The
keepers' files are the truth; nudges and pidfds only say when to look. Everything is keyed by fence.
"""

from __future__ import annotations

import logging
import signal
from typing import Any

import msgspec

from gpuyard.actors.base import Actor, Context, Ref, Reply
from gpuyard.actors.inbox import FdReady
from gpuyard.actors.keeper import news, processes
from gpuyard.actors.keeper.crew import Crew
from gpuyard.actors.keeper.descriptors import Descriptors
from gpuyard.actors.keeper.folders import Folders
from gpuyard.actors.keeper.leases import Leases
from gpuyard.actors.keeper.order import compose
from gpuyard.actors.keeper.parcels import Parcels
from gpuyard.actors.keeper.ports import Ports
from gpuyard.actors.keeper.program import cgroup
from gpuyard.actors.keeper.program.life import TOO_LATE
from gpuyard.actors.keeper.run import Run, Stage, adopted, let_go, orphans, told, unheard_end, unseen
from gpuyard.actors.keeper.searches import Searches
from gpuyard.actors.keeper.settings import KeeperSettings
from gpuyard.actors.keeper.sockets import ask_to_stop
from gpuyard.actors.keeper.tidy import Tidier
from gpuyard.actors.keeper.timers import Look, MindLeases, ParcelCame, StartZygote, Tidy
from gpuyard.actors.model import commands as c, names
from gpuyard.actors.model.events import AttemptStarted
from gpuyard.actors.model.message import Message, Tick
from gpuyard.actors.procfs import boot_id

log = logging.getLogger("gpuyard.keeper")

KEEPER_KILLED = "keeper killed, exit code unknown"


class ProcessKeeper(Actor):
    """Tells the Scheduler RunsAdopted, AttemptStarted, AttemptExited and OrphanSeen. `secrets` has the secrets of runs:
    on a worker somebody at the server, here the SecretStore."""

    def __init__(self, context: Context, settings: KeeperSettings, secrets: Ref | None = None) -> None:
        super().__init__(context)
        self._settings = settings
        self._scheduler = context.ref(names.SCHEDULER)
        self._folders = Folders(settings)
        self._ports = Ports(settings.first_port, settings.last_port)
        self._descriptors = Descriptors(self.inbox)
        self._crew: Crew | None = None
        self._runs: dict[int, Run] = {}
        self._boot_id = boot_id()
        self._complete = False  # WantedComplete has come: what is not wanted is an orphan
        self._tidier = Tidier(
            self._folders,
            in_use=lambda fence: fence in self._runs or self.crew.is_at(fence),
            wake_in=lambda seconds: self.inbox.after(seconds, Tidy()),
            keep_days=settings.keep_days,
        )
        self._leases = Leases(
            self._folders,
            settings,
            wake_in=lambda seconds: self.inbox.after(seconds, MindLeases()),
            never=lambda run: self._never_now(run, "lost", TOO_LATE),
            look=lambda run: self._searches.soon(run),
        )
        self._searches = Searches(
            self._folders,
            settings,
            self._descriptors,
            look_in=lambda seconds, fence: self.inbox.after(seconds, Look(fence=fence)),
            over=self._over,
        )
        self._parcels = Parcels(
            context.ref(names.BLOBS),
            secrets or context.ref(names.SECRETS),
            context.ref(context.name).tell,
            self.inbox.after,
        )

    @property
    def crew(self) -> Crew:
        assert self._crew is not None, "made in started()"
        return self._crew

    def started(self) -> None:
        try:
            self._begin()
        except BaseException:
            self.stopped()
            raise

    def _begin(self) -> None:
        self._folders.prepare()
        cgroup.remove_empty()
        self._crew = Crew(self._settings, self._descriptors, self._heard, self._gone, self._restart_in)
        for fence in self._folders.unacknowledged():
            self._examine(Run(fence=fence, stage=Stage.ORDERED))
        self._crew.start()
        self._tell_adopted()
        self.inbox.after(self._settings.tick_seconds, Tick())

    def stopped(self) -> None:
        """Runs and their keepers live on."""
        if self._crew is not None:
            self._crew.close()
        for run in self._runs.values():
            let_go(run, self._descriptors)

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case FdReady(fd=fd):
                self._descriptors.ready(fd)
            case c.WantRun():
                self._want(message)
            case c.RenewLeases(until=until):
                for fence, moment in until.items():
                    self._leases.renew(self._runs.get(fence), moment)
            case c.WantStop(fence=fence, reason=reason):
                self._want_stop(fence, reason)
            case c.ForgetRun(fence=fence):
                self._forget(fence)
            case c.PurgeRuns(fences=fences):
                self._tidier.purge(fences)
            case c.SetRunsAside(owner=owner):
                self._set_aside(owner)
            case c.WantedComplete(fences=fences):
                self._wanted_complete(fences)
            case c.WatchRuns():
                self._tell_adopted()
            case Tick():
                self._tick()
            case StartZygote():
                self.crew.start()
            case Look(fence=fence):
                if (run := self._runs.get(fence)) is not None:
                    self._searches.look(run)
            case Tidy():
                self._tidier.step()
            case ParcelCame():
                self._came(message)
            case MindLeases():
                self._leases.mind(self._runs.values())
            case c.Ready():
                return True
            case _:
                return self.unsupported(message)
        return None

    # --- what is wanted ---

    def _want(self, want: c.WantRun) -> None:
        spec = want.run
        run = self._known(spec.fence, look=want.started or self._folders.may_exist(spec.fence))
        if run is None and want.started:
            run = self._never(unseen(spec), "lost", "no trace of the run is left")
        elif run is None:
            run = self._order(spec, self._leases.terms(want))
        else:
            self._leases.renew(run, want.lease_until)
            self._report(run)
        run.wanted = True

    def _order(self, spec: c.RunSpec, terms: news.Terms | None) -> Run:
        try:
            port = self._ports.lease(spec.fence)
        except OSError as error:
            return self._never(unseen(spec), "start_failed", str(error))
        order = compose(spec, self._settings, port, terms)
        run = self._runs[spec.fence] = unseen(spec)
        self._leases.ordered(run, terms)
        if spec.sent or spec.secrets:
            self._parcels.fetch(spec, order)
        else:
            self._give(run, order)
        return run

    def _give(self, run: Run, order: dict[str, Any]) -> None:
        run.order = order
        self._leases.note(run, order)
        self.crew.give(order)

    def _came(self, came: ParcelCame) -> None:
        run = self._runs.get(came.fence)
        if run is None or run.stage is not Stage.ORDERED or run.stop_reason is not None:
            self._parcels.drop(came.fence)
        elif came.busy:
            self._parcels.wait(came)
        elif came.error and not came.again:
            self._parcels.drop(came.fence)
            why = f"file {came.name!r} could not be had: {came.error}" if came.name else came.error
            self._never_now(run, "start_failed", why)
        elif (order := self._parcels.take(came)) is not None:
            self._give(run, order)

    def _want_stop(self, fence: int, reason: str) -> None:
        run = self._known(fence) or self._runs.setdefault(fence, Run(fence=fence, stage=Stage.ORDERED))
        run.stop_reason = reason or "stopped"
        self._report(run)
        self._ask_stop(run)

    def _ask_stop(self, run: Run) -> None:
        """Do what can be done now to end it, if that is wanted. Repeated at each tick until it has ended."""
        if run.stage is Stage.ENDED or run.stop_reason is None:
            return
        if run.stage is Stage.ORDERED:
            self._never_now(run, "cancelled", run.stop_reason)
            return
        grace = self._settings.stop_grace_seconds
        if run.record is not None and run.stage is Stage.LIVE:
            processes.send_to(run.record.keeper_pid, run.record.keeper_start, signal.SIGCONT)
        if not ask_to_stop(self._folders.path(run.fence), run.stop_reason, grace) and run.keeperless is not None:
            run.keeperless.stop(grace)
            self._searches.soon(run)

    def _never(self, run: Run, exit_class: str, message: str) -> Run:
        """Make sure that this run never starts. Where a keeper was faster it stays as it is."""
        self._runs[run.fence] = run
        record = unheard_end(run.fence, run.job_id, exit_class, message, self.clock.now(), None)
        self.crew.withdraw(run.fence)
        if self._folders.bury(run.fence, msgspec.to_builtins(record)):
            self._ended(run, record)
        return run

    def _never_now(self, run: Run, exit_class: str, message: str) -> None:
        self._never(run, exit_class, message)
        if run.stage is Stage.ORDERED:
            self._examine(run)

    def _forget(self, fence: int) -> None:
        run = self._runs.get(fence)
        if run is not None and run.stage is not Stage.ENDED:
            log.warning("run %d is to be forgotten, but it lives: it stays known", fence)
            return
        self._runs.pop(fence, None)
        self._tidier.acknowledge(fence)

    def _set_aside(self, owner: str) -> None:
        for fence in [fence for fence, run in self._runs.items() if run.stage is Stage.ENDED]:
            del self._runs[fence]
        self._tidier.clear()
        self._folders.set_aside(owner, self._runs)

    def _wanted_complete(self, fences: tuple[int, ...]) -> None:
        self._complete = True
        for fence in fences:
            if fence in self._runs:
                self._runs[fence].wanted = True
        self._tell_adopted()
        self._tell_orphans()

    # --- what keepers say ---

    def _heard(self, said: news.News) -> None:
        match said:
            case news.ExitRecord():
                self._ended(self._runs.get(said.fence) or Run(fence=said.fence, stage=Stage.LIVE), said)
            case news.RunRecord():
                self._lives(self._runs.get(said.fence) or Run(fence=said.fence, stage=Stage.ORDERED), said)
            case news.Refused(fence=fence):
                self._gone(fence)

    def _gone(self, fence: int) -> None:
        """The order's keeper has gone, or refused: what has become of the run?"""
        run = self._runs.get(fence)
        if run is not None and run.stage is not Stage.ENDED:
            self._examine(run)

    def _restart_in(self, seconds: float) -> None:
        self.inbox.after(seconds, StartZygote())

    def _lives(self, run: Run, record: news.RunRecord) -> None:
        if run.stage is Stage.ENDED or run.keeper is not None:
            return
        let_go(run, self._descriptors)
        self._runs[run.fence] = run
        run.stage, run.record, run.job_id = Stage.LIVE, record, record.job_id
        if not self.crew.is_at(run.fence):  # else its line tells when it is gone
            self._watch_keeper(run, record)
        if record.port is not None:
            self._ports.keep(run.fence, record.port)
        self._report(run)
        self._ask_stop(run)
        self._leases.keep(run)
        self._ports.look_ahead()

    def _watch_keeper(self, run: Run, record: news.RunRecord) -> None:
        try:
            run.keeper = processes.open_process(record.keeper_pid, record.keeper_start)
        except OSError:  # no descriptor left: then it is looked after at each tick
            return
        if run.keeper is not None:
            self._descriptors.watch(run.keeper, lambda: self._examine(run))
        else:
            self._examine(run)

    def _ended(self, run: Run, record: news.ExitRecord) -> None:
        if run.stage is Stage.ENDED:
            return
        run.stage, run.end, run.job_id = Stage.ENDED, told(record), record.job_id
        self._runs[run.fence] = run
        self._report(run)
        let_go(run, self._descriptors)
        self._ports.release(run.fence)

    def _report(self, run: Run) -> None:
        if run.end is not None:
            self._scheduler.tell(run.end)
        elif run.record is not None:
            self._scheduler.tell(AttemptStarted(fence=run.fence, pid=run.record.pid, at=run.record.started_at))

    # --- what the files say ---

    def _known(self, fence: int, look: bool = True) -> Run | None:
        """From memory, else (`look`) from its folder."""
        run = self._runs.get(fence)
        if run is None and look and self._folders.exists(fence):
            run = self._examine(Run(fence=fence, stage=Stage.ORDERED))
        return run

    def _examine(self, run: Run) -> Run:
        """Learn from the folder and from its processes what has become of a run."""
        self._runs[run.fence] = run
        end, record = self._folders.exit_record(run.fence), self._folders.run_record(run.fence)
        if end is not None:
            self._ended(run, end)
        elif record is not None and record.boot_id != self._boot_id:
            run.record = record
            self._lost(run, "the machine was restarted while the run lived, exit code unknown")
        elif record is not None and processes.lives(record.keeper_pid, record.keeper_start):
            self._lives(run, record)
        elif self._folders.exists(run.fence):
            self._without_keeper(run, record)
        elif run.order is not None and run.stop_reason is None and not self.crew.is_at(run.fence):
            self.crew.give(run.order)  # nobody claimed it: another spare shall
        return run

    def _without_keeper(self, run: Run, record: news.RunRecord | None) -> None:
        """Its keeper is gone, or has not yet written who it is."""
        if self._searches.begin(run, record):
            if record is not None:
                run.job_id = record.job_id
                log.warning("run %d has lost its keeper (pid %d)", run.fence, record.keeper_pid)
            self._report(run)
            self._ask_stop(run)
            self._leases.keep(run)
        self._searches.soon(run)

    def _over(self, run: Run) -> None:
        """No process of a run without a keeper is left."""
        if (end := self._folders.exit_record(run.fence)) is not None:
            self._ended(run, end)
        else:
            self._lost(run, run.lapse or KEEPER_KILLED)

    def _lost(self, run: Run, message: str) -> None:
        record = unheard_end(run.fence, run.job_id, "lost", message, self.clock.now(), run.record)
        try:
            self._folders.write_exit(run.fence, msgspec.to_builtins(record))
        except OSError as error:
            log.warning("the end of run %d could not be written: %s", run.fence, error)
        self._ended(run, record)

    # --- the safety net ---

    def _tick(self) -> None:
        self.inbox.after(self._settings.tick_seconds, Tick())
        if not self._complete:
            self._tell_adopted()
        self.crew.fill(anew=True)
        self._ports.look_ahead()
        for run in list(self._runs.values()):
            self._look_after(run)
        self._tell_orphans()
        self._tidier.look()

    def _look_after(self, run: Run) -> None:
        if run.stage is Stage.ENDED:
            self._report(run)
            return
        if run.stage is not Stage.LIVE or not (run.keeper is not None or self.crew.is_at(run.fence)):
            self._examine(run)
        elif (end := self._folders.exit_record(run.fence)) is not None:
            self._ended(run, end)
        self._ask_stop(run)

    def _tell_adopted(self) -> None:
        self._scheduler.tell(adopted(self._runs.values()))

    def _tell_orphans(self) -> None:
        for orphan in orphans(self._runs.values()) if self._complete else ():
            self._scheduler.tell(orphan)
