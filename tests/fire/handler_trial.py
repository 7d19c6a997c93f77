"""A server whose handler meets a fault: it heals and loses nothing, or gives up with one line why. It never limps.

The supervisor and all its actors are the real ones, in this process; the Frontend's place is taken by an edge on the
link. Where a server would have ended with code 70 it is started again on the same data.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as NoAnswer
from pathlib import Path
from typing import NamedTuple

from gpuyard.actors.base import has_ended
from gpuyard.actors.model import commands as c, names
from gpuyard.actors.model.errors import GpuyardError, NotFound
from gpuyard.actors.model.job import JobSpec
from gpuyard.actors.model.message import Ping
from gpuyard.actors.model.views import GpuPage, JobAccepted, JobRecord
from gpuyard.actors.supervisor import GaveUp, Patience, Supervisor
from gpuyard.cli import data_folder, wiring
from gpuyard.cli.settings import ServerSettings
from tests.fire import handlers
from tests.fire.edge import Edge, edge
from tests.fire.handlers import Fault, Handler, How
from tests.support import eventually

GPUS = 4
CODE = 7
# Writes down that it runs; the one that stays waits for a file.
ENDS = ("sh", "-c", f'echo run >> "$0"; exit {CODE}')
STAYS = ("sh", "-c", f'echo run >> "$0"; while [ ! -e "$0.go" ]; do sleep 0.05; done; exit {CODE}')
DEADLINE = 60.0
# So many come and go: what a run brings about has come about by then.
JOBS = 3


def settings(folder: Path) -> ServerSettings:
    made = ServerSettings(
        data_dir=folder / "data",
        configs_dir=folder / "configs",
        simulate_gpus=str(GPUS),
        stop_grace_seconds=1.0,
    )
    data_folder.prepare(made)
    return made


def all_handlers(folder: Path) -> list[Handler]:
    """Those of every actor in the wiring."""
    return handlers.of(wiring.supervisor(settings(folder), []).children)


class Case(NamedTuple):
    """`handler` meets the fault in a server that works; `booting`: while it starts."""

    handler: Handler
    how: How
    booting: bool

    def __str__(self) -> str:
        return f"{self.handler}, {self.how}, {'booting' if self.booting else 'at work'}"


def all_cases(folder: Path) -> list[Case]:
    """Every handler at work; late, and while booting, those that get something then."""
    scout = Trial(folder, Case(Handler("nobody", Ping), How.EXCEPTION, False))
    booting, working = scout.look_around()
    cases = [
        Case(handler, how, False)
        for handler in all_handlers(folder)
        for how in How
        if how is not How.LATE or handler in working
    ]
    return cases + [Case(handler, how, True) for handler in sorted(booting, key=str) for how in How]


class Life:
    """One life of a supervisor on a data folder: boot, run, end. `fault` is on its way from the start."""

    def __init__(self, folder: Path, fault: Fault | None = None) -> None:
        self.settings = settings(folder)
        self.supervisor: Supervisor = wiring.supervisor(self.settings, [])
        self._fault = fault
        if fault is not None:
            self.supervisor.children[:] = [handlers.faulty(child, fault) for child in self.supervisor.children]
        hangs = fault is not None and fault.how is How.HANG
        self.supervisor.patience = Patience(
            start=5.0 if hangs else 20.0,
            stop=1.0 if hangs else 10.0,
            hang=3.0 if hangs else 30.0,
            ping_every=0.1,
            look_every=0.02,
        )
        self.booted = False
        self.gave_up: str | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor")

    @property
    def names(self) -> list[str]:
        return [child.name for child in self.supervisor.children]

    @property
    def sockets(self) -> Path:
        return self.settings.data_dir / data_folder.SOCKETS

    def wait(self, true: Callable[[], bool], message: str) -> None:
        """Until it is true, or the service has given up."""
        eventually(lambda: self.gave_up is not None or true(), DEADLINE, message)

    def _run(self) -> None:
        try:
            self.supervisor.boot()
            self.booted = True
            self.supervisor.run()
        except GaveUp as error:
            self.gave_up = str(error)

    def __enter__(self) -> Life:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.supervisor.stop()
        if self._fault is not None:
            # A server that gave up ends with its process: a thread that hangs is not waited for.
            self._fault.released.set()
        self._thread.join(60)
        self.supervisor.shut_down()
        for name in self.names:
            ref = self.supervisor.directory.get(name)
            eventually(lambda ref=ref: ref is None or has_ended(ref), timeout=20)

    def is_ready(self, edge: Edge) -> bool:
        """Every actor, and the way to them that edges take."""
        if not self.booted or edge.try_to_ask(names.SCHEDULER, c.Ready(), 2.0) is not True:
            return False
        asked = [self.supervisor.directory.ref(name).ask(c.Ready()) for name in self.names]
        try:
            return all(reply.result(2.0) is True for reply in asked)
        except (GpuyardError, NoAnswer):
            return False


class Trial:
    """`problems` is what was broken, `outcome` what became of the server."""

    def __init__(self, folder: Path, case: Case) -> None:
        self.case = case
        self.fault = Fault(case.handler, case.how)
        self.outcome = "never met it"
        self.problems: list[str] = []
        self._folder = folder
        self._asked: dict[str, tuple[str, ...]] = {}
        self._jobs: dict[str, str] = {}
        (folder / "marks").mkdir(parents=True)

    def run(self) -> Trial:
        """Everything, in order; nothing of it is left afterwards."""
        if self.case.booting:
            self.fault.armed.set()
        try:
            with Life(self._folder, self.fault) as life, edge(life.sockets) as client:
                self._meet(life, client)
                if self.outcome == "healed":
                    self._end_well(life, client)
            if self.outcome != "healed":
                # Whoever started the server starts it again.
                with Life(self._folder) as life, edge(life.sockets) as client:
                    self._end_well(life, client)
        except AssertionError as error:
            self._broken(f"it limps ({self.outcome}): {error}")
        finally:
            self._mark("stays.go").touch()
        return self

    def look_around(self) -> tuple[set[Handler], set[Handler]]:
        """Who gets something while the server starts, and who while it works."""
        with Life(self._folder, self.fault) as life:
            eventually(lambda: life.booted and life.supervisor.ready() == [], DEADLINE, "it was never ready")
            # Only edges ask whether somebody is ready.
            booting = {handler for handler in self.fault.seen if handler.message is not c.Ready}
        with Life(self._folder, self.fault) as life, edge(life.sockets) as client:
            eventually(lambda: life.is_ready(client), DEADLINE, "it was never ready")
            self._begin(client)
            self.fault.seen.clear()
            self._bring_about(life, client)
            working = set(self.fault.seen)
            self._end_well(life, client)
            return booting, working

    def _broken(self, text: str) -> None:
        self.problems.append(f"{self.case}: {text}")

    # --- what happens ---

    def _begin(self, client: Edge) -> None:
        """A job that outlives what comes, and room for others beside it."""
        client.ask(names.SCHEDULER, c.SetLimits(changes={"local_job_max_concurrent": GPUS}))
        self._submit(client, "stays", STAYS)
        eventually(lambda: self._runs("stays") == 1, DEADLINE, "the first job never ran")

    def _meet(self, life: Life, client: Edge) -> None:
        """Until the server is well again, or has given up."""
        if not self.case.booting:
            eventually(lambda: life.is_ready(client), DEADLINE, "it was never ready")
            self._begin(client)
            self.fault.armed.set()
            self._bring_about(life, client)
        life.wait(self.fault.met.is_set, "the fault was never met")
        if self.case.how is How.HANG:
            life.wait(lambda: False, "a thread hangs, unnoticed")
        life.wait(lambda: life.is_ready(client), "it was never ready again")
        self.outcome = "healed" if life.gave_up is None else "gave up"
        if life.gave_up is not None and (not life.gave_up or "\n" in life.gave_up):
            self._broken(f"it gave up with {life.gave_up!r}")
        if life.gave_up is not None and self.case.how is not How.HANG and not self.case.booting:
            self._broken(f"it gave up after one {self.case.how}: {life.gave_up}")
        if self.case.how is How.HANG and self.case.handler.actor not in (life.gave_up or ""):
            self._broken(f"it does not say who hangs: {life.gave_up!r}")

    def _bring_about(self, life: Life, client: Edge) -> None:
        """Jobs come and go; a message that nobody sends in such a life is sent as if somebody did."""
        for number in range(JOBS):
            self._submit(client, f"ends-{number}", ENDS, life)
            if self.fault.met.wait(0.3) or life.gave_up is not None:
                return
        if self.case.how is not How.LATE and self.case.handler.actor in life.names:
            life.supervisor.directory.ref(self.case.handler.actor).tell(handlers.blank(self.case.handler.message))

    # --- what must be true afterwards ---

    def _end_well(self, life: Life, client: Edge) -> None:
        """A new submit works, and all that was acknowledged comes to its end, once."""
        eventually(lambda: life.is_ready(client), DEADLINE, "it is not ready")
        for name, program in list(self._asked.items()):
            self._submit(client, name, program)  # Perhaps it never got an answer.
        self._submit(client, "after", ENDS)
        self._mark("stays.go").touch()
        for name, job_id in self._jobs.items():
            record = eventually(lambda job_id=job_id: self._ended(client, job_id), DEADLINE, f"{name!r} never ended")  # type: ignore[misc]
            ended = (record.entry.exit_class, record.entry.exit_code, record.entry.attempt)
            if ended != (f"exit:{CODE}", CODE, 1) or self._runs(name) != 1:
                self._broken(f"{name!r} ended as {ended} after {self._runs(name)} runs: {record.entry.error_message}")
        self._answers(client)

    def _answers(self, client: Edge) -> None:
        """The questions of every edge, and GPUs that are free again."""

        def all_free() -> bool:
            page: GpuPage = client.ask(names.SCHEDULER, c.GetGpus())
            return [gpu.state for gpu in page.gpus] == ["free"] * GPUS

        eventually(all_free, DEADLINE, "GPUs leaked")
        assert client.ask(names.HISTORY, c.ListJobs()).total == len(self._jobs)
        assert isinstance(client.ask(names.WORKERS, c.ListWorkers()), list)
        assert isinstance(client.ask(names.CLOUD, c.ListProviders()), list)
        assert client.ask(names.LINK, c.GetActorStats()).commit_seconds
        assert isinstance(client.try_to_ask(names.LOGS, c.ReadLog(fence=1)), NotFound)

    def _ended(self, client: Edge, job_id: str) -> JobRecord | None:
        found = client.try_to_ask(names.HISTORY, c.GetJob(job_id=job_id))
        assert not isinstance(found, NotFound), f"acknowledged job {job_id} is gone"
        return found if isinstance(found, JobRecord) and found.entry.completed_at else None

    # --- jobs ---

    def _mark(self, name: str) -> Path:
        return self._folder / "marks" / name

    def _runs(self, name: str) -> int:
        return len(self._mark(name).read_text().splitlines()) if self._mark(name).exists() else 0

    def _submit(self, client: Edge, name: str, program: tuple[str, ...], life: Life | None = None) -> None:
        """With its key, until it is acknowledged; or until the service has given up."""
        spec = JobSpec(argv=(*program, str(self._mark(name))), name=name)
        submit = c.SubmitJob(spec=spec, idempotency_key=name, digest=name)
        self._asked.setdefault(name, program)

        def acknowledged() -> bool:
            if life is not None and life.gave_up is not None:
                return True
            answer = client.try_to_ask(names.SCHEDULER, submit, 2.0)
            assert isinstance(answer, JobAccepted), f"the submit of {name!r} was never accepted: {answer!r}"
            if self._jobs.setdefault(name, answer.job_id) != answer.job_id:
                self._broken(f"the same key gave {name!r} a second job")
            return True

        eventually(acknowledged, DEADLINE)
