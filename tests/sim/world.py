"""One story: a server, some hosts, jobs, everything that goes wrong, and the healing; with the rules that must hold.

The rules, checked at every step:

1. Two trainings of one job never run at once, orphans of a state of the database that is gone among them. (A machine
   that is frozen runs nothing.)
2. A GPU has one training.
3. A training starts only while its attempt is durable and live, its job has not ended, its order is in the journal of
   its host, and only once a fence. So nothing starts after `cancelled`.
4. Nobody is told to stop but those that the server decided to stop or had given up.
5. The server declares no run ended, and no GPU empty, while a training runs.
6. What a worker forgets is durable at the server: the end, and the release of its GPUs.
7. Rows: terminal states never change, fences grow, a GPU has one hold, ended attempts never change (`store.py`).
8. No work goes to a drained worker. Runs of the policy `hold` are never given up for silence.
9. After healing every job ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gpuyard.actors.model.agent import Agent
from gpuyard.actors.model.agent.journal import Ordered
from gpuyard.actors.model.events import AttemptExited, GpuEmptied
from gpuyard.actors.model.fleet import Fleet, FleetSettings
from gpuyard.actors.model.job import JobSpec, Target
from gpuyard.actors.model.registers import DropRecord, PutRecord
from gpuyard.actors.model.violations import violations
from tests.sim.engine import Engine, Violation
from tests.sim.faults import Faults, drawn
from tests.sim.host import Host
from tests.sim.network import Network
from tests.sim.runs import Run
from tests.sim.server import Server
from tests.sim.troubles import Troubles

if TYPE_CHECKING:
    from tests.sim.store import AnyRow

CHAOS = 300.0
HEALING = 2_500.0
SETTINGS = FleetSettings(heartbeat=10.0, offline_after=35.0, lease_margin=10.0, drift=0.0105, key_grace=300.0)
LEASE = 60.0
# How a training ends by itself, and how often.
FATES = [("completed", 0), ("completed", 0), ("completed", 0), ("exit:1", 1), ("requeue", 85)]


class World:
    """`fleet_class` and `agent_class` are the real ones, or ones with a mistake; `worse` makes some faults certain."""

    def __init__(
        self,
        seed: int,
        fleet_class: type[Fleet] = Fleet,
        agent_class: type[Agent] = Agent,
        worse: Callable[[Faults], None] = lambda faults: None,
        telling: bool = False,
    ) -> None:
        self.seed = seed
        self.fleet_class, self.agent_class = fleet_class, agent_class
        self.engine = engine = Engine(seed, telling)
        self.settings = SETTINGS
        self.faults = drawn(engine)
        worse(self.faults)
        self.network = Network(engine, self.faults.weather)
        self.jobs: list[str] = []
        self.hold_jobs: set[str] = set()
        self.running: dict[str, dict[int, tuple[Host, Run]]] = {}
        self.occupied: dict[tuple[str, str], int] = {}
        self.begun: set[tuple[str, int]] = set()
        self.orphans: set[int] = set()
        self.orphans_seen: set[int] = set()
        self.may_stop: set[int] = set()
        self.acked: set[int] = set()
        self.drained: set[str] = set()
        self._pids = 1000
        self.server = Server(self)
        self.hosts: list[Host] = []
        self.clones: list[Host] = []
        self._set_up()
        self.troubles = Troubles(self)

    def _set_up(self) -> None:
        engine = self.engine
        self.server.boot()
        for n in range(engine.random.choice([1, 2, 2, 3])):
            drift = engine.between(-self.faults.drift, self.faults.drift)
            host = Host(self, f"w{n}", f"key-w{n}-1", engine.random.choice([1, 2, 3]), drift, engine.chance(0.3))
            self.hosts.append(host)
            self.server.order(lambda fleet, now, out, h=host: fleet.enrol(h.name, h.name, h.key, now, out))
            engine.after(engine.between(0.1, 5.0), host.boot)
        self.hosts[0].lies = self.faults.liar
        for _ in range(engine.random.randint(2, 6) + self.faults.crowd):
            engine.after(engine.between(1.0, CHAOS * 0.7), self._submit)

    def _submit(self) -> None:
        hold = self.engine.chance(0.15)
        spec = JobSpec(
            argv=("train",),
            target=Target.WORKER,
            num_processes=min(self.engine.random.choice([0, 1, 1, 1, 2]), min(len(h.uuids) for h in self.hosts)),
            lease_seconds=None if hold else LEASE,
            partition_policy="hold" if hold else "lease",
            max_attempts=self.engine.random.choice([1, 3, 5]),
        )
        job_id = self.server.submit(spec)
        if job_id is not None:
            self.engine.say("people", "submit {} ({} GPUs, {})", job_id, spec.num_processes, spec.partition_policy)
            self.jobs.append(job_id)
            if hold:
                self.hold_jobs.add(job_id)

    # --- the story ---------------------------------------------------------------------------------------------

    def play(self) -> None:
        """All of it. Raises Violation."""
        self.engine.run(CHAOS)
        self.troubles.heal()
        self.engine.run(CHAOS + HEALING, self._all_over)
        left = [job for job in self.server.disk.jobs.values() if not self.server.disk.is_terminal(job.job_id)]
        if left:
            raise Violation(f"after healing these have not ended: {[(j.job_id, str(j.status)) for j in left]}")
        wrong = violations(self.server.yard)
        if wrong:
            raise Violation(f"the yard is wrong: {wrong}")

    def _all_over(self) -> bool:
        store = self.server.disk
        return self.server.up and bool(store.jobs) and all(store.is_terminal(job_id) for job_id in store.jobs)

    # --- chance ------------------------------------------------------------------------------------------------

    def next_pid(self) -> int:
        self._pids += 1
        return self._pids

    def fate_of(self, job_id: str) -> tuple[str, int]:
        return self.engine.random.choice(FATES)

    def length_of(self, job_id: str) -> float:
        """Seconds that a training takes."""
        return self.engine.random.choice([3.0, 20.0, 60.0, 150.0]) * self.engine.between(0.5, 1.5)

    # --- what hosts do -----------------------------------------------------------------------------------------

    def starts(self, host: Host, run: Run) -> None:
        fence, job_id = run.folder.fence, run.folder.job_id
        store = self.server.disk
        if (host.name, fence) in self.begun:
            raise Violation(f"{fence} is started twice on {host.name}")
        self.begun.add((host.name, fence))
        if not any(isinstance(entry, Ordered) and entry.want.run.fence == fence for entry in host.disk.journal):
            raise Violation(f"{fence} starts on {host.name} and is not in its journal")
        if fence not in self.orphans:
            if not store.is_live(fence):
                raise Violation(f"{fence} starts, but its attempt is {store.attempts.get(fence)}")
            if store.is_terminal(job_id):
                raise Violation(f"{fence} starts after {job_id} was {store.jobs[job_id].status}")
        for uuid in run.folder.uuids:
            if (host.name, uuid) in self.occupied:
                raise Violation(f"{fence} starts on {uuid} beside {self.occupied[host.name, uuid]}")
            self.occupied[host.name, uuid] = fence
        self.running.setdefault(job_id, {})[fence] = (host, run)
        self._one_a_job(job_id)

    def _one_a_job(self, job_id: str) -> None:
        live = [fence for fence, (host, _) in self.running.get(job_id, {}).items() if not host.frozen]
        if len(live) > 1:
            raise Violation(f"{job_id} runs twice at once: {live}")

    def ends(self, host: Host, run: Run) -> None:
        fence, job_id = run.folder.fence, run.folder.job_id
        self.running.get(job_id, {}).pop(fence, None)
        for uuid in run.folder.uuids:
            self.occupied.pop((host.name, uuid), None)

    def alive_again(self, host: Host) -> None:
        """A machine was thawed, and its overdue timers have fired."""
        for run in host.runs.values():
            if run.training:
                self._one_a_job(run.folder.job_id)

    def lapses(self, host: Host, run: Run) -> None:
        if run.folder.job_id in self.hold_jobs:
            raise Violation(f"{run.folder.fence} of the policy hold is stopped for silence")

    def is_told_to_stop(self, host: Host, fence: int) -> None:
        attempt = self.server.disk.attempts.get(fence)
        over = attempt is not None and not self.server.disk.is_live(fence)
        if not (over or fence in self.may_stop):
            raise Violation(f"{fence} is told to stop on {host.name}, and nobody decided that")

    def forgets(self, host: Host, fence: int) -> None:
        if fence not in self.acked:
            raise Violation(f"{host.name} forgets {fence}, which was never acknowledged")

    # --- what the server says ----------------------------------------------------------------------------------

    def _runs_now(self, fence: int) -> Host | None:
        for runs in self.running.values():
            if fence in runs and not runs[fence][0].frozen:
                return runs[fence][0]
        return None

    def wants_stop(self, fence: int) -> None:
        self.may_stop.add(fence)

    def is_told_of_an_end(self, event: AttemptExited) -> None:
        attempt = self.server.disk.attempts.get(event.fence)
        if attempt is None or attempt.host != event.host:
            return
        host = self._runs_now(event.fence)
        if host is not None:
            raise Violation(f"{event.fence} is declared {event.exit_class} while it runs on {host.name}")
        self.may_stop.add(event.fence)

    def is_told_of_empty_gpus(self, event: GpuEmptied) -> None:
        attempt = self.server.disk.attempts.get(event.fence)
        if attempt is None or attempt.host != event.host or event.host not in self.server.fleet.workers:
            return
        busy = [host.name for host in self.hosts if host.still_draining(event.fence) and not host.frozen]
        host = self._runs_now(event.fence)
        if busy or host is not None:
            raise Violation(f"the GPUs of {event.fence} are declared empty on {event.host}, and they are not")

    def acknowledges(self, fences: tuple[int, ...]) -> None:
        for fence in fences:
            self.acked.add(fence)
            if self.server.disk.is_live(fence):
                raise Violation(f"the end of {fence} is acknowledged and not durable")
            if self.server.disk.holds_gpu(fence):
                raise Violation(f"the end of {fence} is acknowledged and its GPUs are not released")

    def assigns(self, fence: int, worker_id: str) -> None:
        if worker_id in self.drained:
            raise Violation(f"{fence} goes to {worker_id}, which is drained")

    def wrote(self, rows: list[AnyRow]) -> None:
        for row in rows:
            if isinstance(row, PutRecord) and row.register == "worker":
                self._note_drained(row.values)
            elif isinstance(row, DropRecord) and row.register == "worker":
                self.drained.discard(row.where["id"])

    def _note_drained(self, values: dict[str, Any]) -> None:
        (self.drained.add if values["drained"] else self.drained.discard)(values["id"])

    def abandons(self, fences: set[int]) -> None:
        """These attempts are of a state of the database that is gone."""
        self.orphans |= fences

    def begins_anew(self) -> None:
        """The server starts from its disk."""
        self.drained.clear()
        for values in self.server.disk.workers.values():
            self._note_drained(values)

    def fences_of(self, host: Host) -> set[int]:
        worker_ids = {host.name, *(w for w in self.server.disk.workers if w.startswith(host.name))}
        return {fence for fence, attempt in self.server.disk.attempts.items() if attempt.host in worker_ids}
