"""Who makes trouble, when, and how everything is put right again.

What is left out, because no protocol can bear it: a worker process that is dead or frozen on a host where a run has
also lost its keeper (then nobody is left to enforce its lease), and a copied machine that is first started while the
original cannot be heard (it looks like a reboot).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.sim.host import Host
from tests.sim.network import DOWN, UP, Weather
from tests.sim.runs import Disk, Run
from tests.sim.store import SimStore

if TYPE_CHECKING:
    from tests.sim.world import World

CALM = 65.0


class Troubles:
    def __init__(self, world: World) -> None:
        self.world, self.engine = world, world.engine
        self.over = False
        self._backups: list[SimStore] = []
        self._enrolled = 0
        faults = world.faults
        self._every(faults.server_crash, self._crash_server)
        self._every(faults.server_freeze, self._freeze_server)
        self._every(faults.registry_restart, self._reload_registry)
        self._every(faults.backup if faults.restores else 0.0, self._back_up)
        self._every(faults.worker_crash, self._crash_worker)
        self._every(faults.worker_freeze, self._freeze_worker)
        self._every(faults.keeper_kill, self._kill_keeper)
        self._every(faults.keeper_freeze, self._freeze_keeper)
        self._every(faults.host_crash, self._crash_host)
        self._every(faults.host_freeze, self._freeze_host)
        self._every(faults.partition, self._cut)
        self._every(faults.clone, self._clone)
        self._every(faults.cancel, self._cancel)
        self._every(faults.drain, self._drain)
        self._every(50.0 if faults.restores else 0.0, self._stop_orphan)
        self._every(faults.rotate, self._rotate)
        self._every(faults.delete, self._delete)

    def _every(self, mean: float, do: Callable[[], None]) -> None:
        """Again and again, at random, until healing begins."""
        if not mean:
            return

        def once() -> None:
            if not self.over:
                do()
                self.engine.after(self.engine.random.expovariate(1 / mean), once)

        self.engine.after(self.engine.random.expovariate(1 / mean), once)

    def _host(self) -> Host:
        return self.engine.random.choice(self.world.hosts)

    def _some_run(self) -> tuple[Host, Run] | None:
        host = self._host()
        worker = host.worker
        if host.frozen or worker is None or worker.frozen or not host.runs:
            return None
        return host, self.engine.random.choice(list(host.runs.values()))

    # --- the server --------------------------------------------------------------------------------------------

    def _crash_server(self) -> None:
        server = self.world.server
        if server.up and not self.world.network.calm:
            server.crash()
            self.engine.after(self.engine.random.choice([0.5, 5.0, 30.0, 100.0]), self._restart_server)

    def _restart_server(self) -> None:
        server = self.world.server
        if server.up:
            return
        if self._backups and not self.over and self.engine.chance(0.5):
            server.restore(self.engine.random.choice(self._backups).copy())
        server.boot()

    def _freeze_server(self) -> None:
        server = self.world.server
        if server.up and not server.frozen and not self.world.network.calm:
            server.freeze()
            self.engine.after(self.engine.random.choice([5.0, 40.0, 100.0]), server.thaw)

    def _reload_registry(self) -> None:
        if not self.world.network.calm:
            self.world.server.reload_fleet()

    def _back_up(self) -> None:
        self._backups.append(self.world.server.disk.copy())

    # --- hosts and what runs there -------------------------------------------------------------------------------

    def _crash_worker(self) -> None:
        host = self._host()
        if host.worker is not None and not host.frozen and not host.one_armed() and not self._is_calm(host):
            host.kill_worker()
            self.engine.after(self.engine.random.choice([0.5, 20.0, 90.0]), host.start_worker)

    def _freeze_worker(self) -> None:
        host = self._host()
        worker = host.worker
        if worker is not None and not host.one_armed() and not self._is_calm(host):
            self.engine.say(host.name, "worker process freezes")
            worker.frozen = True
            self.engine.after(self.engine.random.choice([5.0, 40.0, 120.0]), worker.thaw)

    def _kill_keeper(self) -> None:
        chosen = self._some_run()
        if chosen is not None:
            chosen[0].kill_keeper(chosen[1])

    def _freeze_keeper(self) -> None:
        chosen = self._some_run()
        if chosen is not None and chosen[1].keeper:
            chosen[0].freeze_keeper(chosen[1])
            self.engine.after(self.engine.between(5.0, 120.0), chosen[0].thaw_keeper, chosen[1])

    def _crash_host(self) -> None:
        host = self._host()
        if host.up:
            host.crash()
            if self.world.faults.wipes and self.engine.chance(0.5):
                self.engine.say(host.name, "is set up anew: its disk is empty")
                host.disk = Disk()
            self.engine.after(self.engine.random.choice([2.0, 20.0, 100.0]), self._boot, host)

    def _boot(self, host: Host) -> None:
        if not host.up:
            host.boot()

    def _freeze_host(self) -> None:
        host = self._host()
        if host.up and not host.frozen and not self._is_calm(host):
            host.freeze()
            self.engine.after(self.engine.random.choice([5.0, 50.0, 150.0]), host.thaw)

    def _clone(self) -> None:
        """A copy of a machine is started while the original is heard well; both speak."""
        host, network = self._host(), self.world.network
        if not self._is_heard_well(host):
            return
        clone = Host(
            self.world, f"{host.name}-clone{len(self.world.clones)}", host.key, len(host.uuids), 0.0, host.at_once
        )
        clone.uuids = host.uuids
        clone.disk = host.disk.copy()
        self.world.clones.append(clone)
        for name in (host.name, clone.name):
            network.calm.add(name)
            self.engine.after(CALM, network.calm.discard, name)
        clone.boot()
        self.engine.after(self.engine.between(60.0, 200.0), clone.crash)

    def _is_heard_well(self, host: Host) -> bool:
        server = self.world.server
        worker = server.fleet.workers.get(host.name) if server.up else None
        if worker is None or worker.session is None or self.world.network.cut & {(host.name, UP), (host.name, DOWN)}:
            return False
        awake = host.worker is not None and not host.worker.asleep
        return awake and self.engine.now - worker.heard_at < 12.0 and worker.session.incarnation == host.incarnation

    def _is_calm(self, host: Host) -> bool:
        """Was a copy of it just started? Then the original goes on to be heard."""
        return host.name in self.world.network.calm

    # --- the network -------------------------------------------------------------------------------------------

    def _cut(self) -> None:
        host = self._host()
        ways = self.engine.random.choice([(UP, DOWN), (UP,), (DOWN,)])
        cut = {(host.name, way) for way in ways} - self.world.network.cut
        if self._is_calm(host):
            return
        self.engine.say("network", "cut {}", sorted(cut))
        self.world.network.cut |= cut
        self.engine.after(self.engine.random.choice([8.0, 30.0, 60.0, 75.0, 180.0]), self._mend, cut)

    def _mend(self, cut: set[tuple[str, str]]) -> None:
        self.world.network.cut -= cut
        self.engine.say("network", "mended {}", sorted(cut))

    # --- people ------------------------------------------------------------------------------------------------

    def _cancel(self) -> None:
        if self.world.jobs:
            job_id = self.engine.random.choice(self.world.jobs)
            self.engine.say("people", "cancel {}", job_id)
            self.world.server.cancel(job_id)

    def _stop_orphan(self) -> None:
        host = self._host()
        found = [fence for fence in self.world.orphans_seen if self.world.server.stop_orphan(host.worker_id, fence)]
        if found:
            self.engine.say("people", "stop the orphans {} on {}", found, host.worker_id)

    def _drain(self) -> None:
        host = self._host()
        verb = "undrain" if host.name in self.world.drained else "drain"
        self.engine.say("people", "{} {}", verb, host.name)
        if verb == "undrain":
            self.world.drained.discard(host.name)
        self.world.server.order(lambda fleet, now, out: getattr(fleet, verb)(host.name, now, out))

    def _rotate(self) -> None:
        host = self._host()
        key, revoke = f"{host.key}+", self.engine.chance(0.4)
        if self.world.server.order(lambda fleet, now, out: fleet.rotate(host.name, key, now, out, revoke=revoke)):
            self.engine.say("people", "rotate the key of {}{}", host.name, ", at once" if revoke else "")
            self._backups.clear()
            self.engine.after(self.engine.random.choice([1.0, 30.0, 100.0]), self._take_key, host, key)

    def _take_key(self, host: Host, key: str) -> None:
        """Somebody starts the worker with its new token, if the server really has it."""
        if key in self._durable_keys(host) and host.worker is not None and not host.frozen and not host.one_armed():
            host.kill_worker()
            host.key = key
            host.start_worker()

    def _durable_keys(self, host: Host) -> list[str]:
        record = self.world.server.disk.workers.get(host.worker_id)
        return [] if record is None else [key["public_key"] for key in record["keys"]]

    def _delete(self) -> None:
        """A worker with jobs is deleted by force, and its machine enrolled anew, later, under another id."""
        host, world = self._host(), self.world
        held = {fence for fence in world.fences_of(host) if world.server.disk.attempts[fence].job_id in world.hold_jobs}
        if held or len(world.hosts) < 2 or host in world.clones:
            return
        if world.server.order(lambda fleet, now, out: fleet.delete(host.name, now, out, force=True)):
            self.engine.say("people", "delete {} by force", host.name)
            self._backups.clear()

    # --- healing -----------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Everything works from now on; the consequences are still to come."""
        world, network = self.world, self.world.network
        self.over = True
        self.engine.say("healing", "begins")
        network.weather = Weather()
        network.cut.clear()
        world.faults.failed_commits = 0.0
        world.server.thaw()
        if not world.server.up:
            world.server.boot()
        for clone in world.clones:
            if clone.up:
                clone.crash()
        for host in world.hosts:
            host.lies = False
            self._heal_host(host)
        self.engine.after(60.0, self._set_right)
        self.engine.after(400.0, self._give_up_holds)
        self.engine.after(800.0, self._give_up_workers)

    def _heal_host(self, host: Host) -> None:
        if not host.up:
            host.boot()
        host.thaw()
        if host.worker is not None and host.worker.frozen:
            host.worker.thaw()
        host.start_worker()
        for run in list(host.runs.values()):
            host.thaw_keeper(run)

    def _set_right(self) -> None:
        """What an administrator does in the end: undrain, hand out lost keys, enrol deleted machines again."""
        server = self.world.server
        for host in self.world.hosts:
            if host.worker_id not in server.disk.workers:
                self._enrolled += 1
                name, key = f"{host.name}n{self._enrolled}", f"{host.key}-again"
                host.worker_id = name
                server.order(lambda fleet, now, out, n=name, k=key: fleet.enrol(n, n, k, now, out))
                self._restart_with(host, key)
                continue
            self.world.drained.discard(host.worker_id)
            server.order(lambda fleet, now, out, n=host.worker_id: fleet.undrain(n, now, out))
            keys = self._durable_keys(host)
            if host.key != keys[-1]:
                self._restart_with(host, keys[-1])

    def _restart_with(self, host: Host, key: str) -> None:
        host.kill_worker()
        host.key = key
        self.engine.after(1.0, host.start_worker)

    def _give_up_workers(self) -> None:
        """In the end, by deleting the worker that has one of which nothing can be known."""
        server = self.world.server
        for host in self.world.hosts:
            worker = server.fleet.workers.get(host.worker_id)
            if worker is not None and set(worker.jobs) & self.world.hold_jobs:
                self.engine.say("people", "delete {} by force", worker.id)
                server.order(lambda fleet, now, out, n=host.worker_id: fleet.delete(n, now, out, force=True))
                self.engine.after(30.0, self._set_right)

    def _give_up_holds(self) -> None:
        """An administrator decides about runs of the policy `hold` that nobody can say anything of."""
        for job_id in self.world.hold_jobs:
            self.world.server.cancel(job_id)
