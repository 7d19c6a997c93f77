"""The fleet: all workers, and the only class that the WorkerRegistry actor drives.

Pure: the time comes in, effects go into a FleetOutbox. The actor makes a Fleet from the stored records, hands it every
message below, performs the outbox, calls `tick` at least once a second and `flush` when its inbox is empty (or 50 ms
after the last change), with an outbox of its own: what it tells waits for no record, since its order counts. A Fleet
that was lost is made anew from the records; runs do not notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import (
    AllowKeys,
    ForgetRun,
    RunSpec,
    SendToPeer,
    WantedComplete,
    WantRun,
    WantStop,
)
from gpuyard.actors.model.events import PeerSaid
from gpuyard.actors.model.fleet import keys, leases, sane, syncs
from gpuyard.actors.model.fleet.admission import Verdict, clone_audit, judge
from gpuyard.actors.model.fleet.departed import Departed
from gpuyard.actors.model.fleet.due import Due
from gpuyard.actors.model.fleet.outbox import FleetOutbox
from gpuyard.actors.model.fleet.record import WorkerRecord
from gpuyard.actors.model.fleet.reports import Reports, tell_again, tell_end, tell_lost
from gpuyard.actors.model.fleet.roster import Roster, has_left_for_good
from gpuyard.actors.model.fleet.settings import FleetSettings
from gpuyard.actors.model.fleet.states import WorkerEvent, WorkerState, step
from gpuyard.actors.model.fleet.worker import Session, Wanted, Worker, has_ended, order_of
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.wire import PROTOCOL, Heartbeat, Sync

LISTENED_TO = frozenset({WorkerState.IDLE, WorkerState.BUSY, WorkerState.DRAINING})
IN_TURN = "another machine or process speaks with this worker's key: give each its own (`gpuyard workers add`)"
NOT_YET = "another session of this worker was heard a moment ago: this one is admitted once that is silent"


class Fleet:
    """`db_id` and `db_epoch` are those of our database, `records` the stored workers, `now` the moment of this start:
    every attempt gets a full new lease from it. `counters` counts what was ignored or refused, by cause."""

    def __init__(
        self, settings: FleetSettings, db_id: str, db_epoch: int, records: Iterable[WorkerRecord], now: Now
    ) -> None:
        self.settings = settings
        self.counters: Counter[str] = Counter()
        self.complete = False
        self._identity = (db_id, db_epoch)
        self._roster = Roster(records, now.monotonic)
        self._departed = Departed(settings)
        self._where: dict[int, Worker] = {}
        self._reports = Reports(db_id, db_epoch, self._owner, self.counters)
        self._due = Due(settings, self._identity, now)
        self._retell_at = now.monotonic

    # --- what workers say --------------------------------------------------------------------------------------

    def heard(self, said: PeerSaid, now: Now, out: FleetOutbox) -> None:
        """A heartbeat. Tells the gateway a SendToPeer(Sync) at once, and the Scheduler what it reports (AttemptStarted,
        AttemptExited, GpuEmptied, OrphanSeen). One that is stale, replayed, or of nobody is counted and ignored."""
        worker, beat = self._roster.speaker(said.user_id), said.said
        if worker is None:
            self.counters["unknown_peer"] += 1
            return
        if abs(beat.protocol - PROTOCOL) > 1:
            self._refuse(said, f"version {beat.version}: the server speaks protocol {PROTOCOL} only", "version", out)
            return
        out_of_bounds = sane.wrong(beat)
        if out_of_bounds:
            self._refuse(said, f"a heartbeat that no worker sends: {out_of_bounds}", "malformed", out)
            return
        match judge(worker, beat, self.settings, self.complete, now.monotonic):
            case Verdict.STALE:
                self.counters["stale_beat"] += 1
            case Verdict.WAIT:
                if worker.state not in LISTENED_TO:
                    self._step(worker, WorkerEvent.HEARD)
                self._refuse(said, NOT_YET, "waiting_session", out)
            case Verdict.FIRST_CLONE:
                out.lazy += [clone_audit(worker, said, now.wall), worker.record.row()]
                self._refuse(said, IN_TURN, "clone", out)
            case Verdict.CLONE:
                self._refuse(said, IN_TURN, "clone", out)
            case Verdict.ADMIT:
                self._admit(worker, said, now, out)
                self._beat(worker, said, now, out)
            case Verdict.BEAT:
                self._beat(worker, said, now, out)

    def _admit(self, worker: Worker, said: PeerSaid, now: Now, out: FleetOutbox) -> None:
        """Another life of this worker speaks from now on."""
        beat, record = said.said, worker.record
        stranded = (want for want in worker.wants.values() if want.incarnation != beat.incarnation)
        record.stranded = tuple(want.fence for want in stranded if not want.over)
        record.incarnation, record.journal, record.life = beat.incarnation, beat.journal, beat.life
        record.connected_at, record.offline_since = now.wall, None
        if beat.persistent is not None:
            record.ephemeral = not beat.persistent
        worker.challengers.pop(beat.session, None)
        worker.strays.clear()
        worker.session = Session(
            id=beat.session,
            incarnation=beat.incarnation,
            user_id=said.user_id,
            route=said.route,
            address=said.address,
            beat=beat,
            heard_at=now.monotonic,
            joined_at=now.monotonic,
        )
        out.lazy.append(record.row())
        self._roster.keep_keys(worker, keys.connected(record, said.user_id), out)

    def _beat(self, worker: Worker, said: PeerSaid, now: Now, out: FleetOutbox) -> None:
        """The admitted session says how things are; it is answered at once."""
        beat, session = said.said, worker.session
        assert session is not None
        session.beat, session.heard_at, session.route, session.user_id = beat, now.monotonic, said.route, said.user_id
        session.clock.hear(beat, now.wall)
        worker.heard_at, worker.record.heard_at = now.monotonic, now.wall
        worker.refused = self._reports.other_master(beat)
        if not self._reports.is_foreign(beat):
            leases.renew(worker, beat.incarnation, now.monotonic)
        self._reports.hear(worker, beat, self.complete, out)
        for want in list(worker.wants.values()):
            self._settle(worker, want, beat)
        came_back = worker.state not in LISTENED_TO
        self._step(worker, WorkerEvent.ADMITTED)
        if came_back and worker.record.offline_since is not None:
            worker.record.offline_since = None
            out.lazy.append(worker.record.row())
        if worker.record.drained:
            self._step(worker, WorkerEvent.DRAINED)
        self._step(worker, WorkerEvent.JOB_GIVEN if worker.busy else WorkerEvent.JOBS_DONE)
        if beat.leaving and not worker.busy:
            self._falls_silent(worker, now, out)
        self._due.facts(worker)
        self._send(worker, session, out)

    def _settle(self, worker: Worker, want: Wanted, beat: Heartbeat) -> None:
        """What is acknowledged and no longer reported has been forgotten there, so it is forgotten here."""
        if want.over and want.released and want.ended:
            if want.fence in beat.attempts:
                worker.acks.add(want.fence)
            else:
                self._drop(worker, want.fence)

    def _refuse(self, said: PeerSaid, why: str, counter: str, out: FleetOutbox) -> None:
        self.counters[counter] += 1
        answer = syncs.refusal(said.said, why, self.settings, self._identity)
        out.tell(names.GATEWAY, SendToPeer(user_id=said.user_id, route=said.route, sync=answer))

    # --- time --------------------------------------------------------------------------------------------------

    def tick(self, now: Now, out: FleetOutbox) -> None:
        """What silence and time bring: offline, lost leases, old keys, ephemeral workers that have gone."""
        again = now.monotonic >= self._retell_at
        if again:
            self._retell_at = now.monotonic + self.settings.heartbeat
        for worker in list(self.workers.values()):
            if now.monotonic - worker.heard_at >= self.settings.offline_after:
                self._falls_silent(worker, now, out)
            if again:
                tell_again(worker, now.monotonic, out)
            for want in list(leases.lapsed(worker, self.settings, now.monotonic)):
                self._lose(worker, want, now, out)
            self._roster.keep_keys(worker, keys.unexpired(worker.record, now.wall), out)
            if has_left_for_good(worker, self.settings, now.wall):
                self._remove(worker, out, force=False)
        self._departed.tick(now.monotonic, out)

    def _falls_silent(self, worker: Worker, now: Now, out: FleetOutbox) -> None:
        if worker.state is not WorkerState.OFFLINE:
            self._step(worker, WorkerEvent.SILENT)
            # Across a restart of ours it counts from when it was first missed.
            worker.record.offline_since = worker.record.offline_since or now.wall
            out.lazy.append(worker.record.row())

    def _lose(self, worker: Worker, want: Wanted, now: Now, out: FleetOutbox) -> None:
        want.lost = True
        tell_lost(worker, want, now.monotonic, out)
        self._due.facts(worker)
        self._due.sync(worker)
        if worker.state in LISTENED_TO and not worker.busy:
            self._step(worker, WorkerEvent.JOBS_DONE)

    def flush(self, now: Now, out: FleetOutbox) -> None:
        """Tell the Scheduler WorkerFacts of whom something changed, and workers the Syncs that are due because our side
        changed. Cheap when there is nothing. Into an outbox of its own: facts must not be overtaken by newer ones."""
        for worker in self._due.take_syncs() if self.complete else ():
            if worker.session is not None and worker.state in LISTENED_TO:
                self._send(worker, worker.session, out)
        self._due.tell_changed(now, out)

    def watch(self, now: Now, out: FleetOutbox) -> None:
        """Tell the Scheduler WorkerFacts of all workers (WatchWorkers)."""
        self._due.tell_all(self.workers.values(), now, out)

    # --- what the Scheduler wants (WantRun … with a worker's id as `host`) --------------------------------------

    def want_run(self, want: WantRun, now: Now, out: FleetOutbox) -> None:
        """This run shall live on `want.host`. Repeat: harmless. On a host that is no worker (any more) it is reported
        lost when its lease has been waited out."""
        worker = self.workers.get(want.host)
        if worker is None:
            self._departed.want_run(want, now.monotonic)
            return
        fence = want.run.fence
        known = worker.wants.get(fence)
        if known is None:
            known = self._begin(worker, fence, now)
        if known.order is None:
            known.spec_hash, known.size = syncs.spec_hash(want.run)
        known.order = want
        if not want.again:
            # Nobody can have heard of it yet: whoever has spoken of it was wrong.
            worker.strays.pop(fence, None)
            worker.acks.discard(fence)
        self._hear_early(worker, known, out)
        if worker.record.ephemeral and not worker.record.spent:
            worker.record.spent = True
            out.lazy.append(worker.record.row())
        if worker.busy:
            self._step(worker, WorkerEvent.JOB_GIVEN)
        self._due.facts(worker)
        self._due.sync(worker)

    def want_stop(self, stop: WantStop, now: Now, out: FleetOutbox) -> None:
        """This run shall end. Repeat: harmless."""
        worker = self.workers.get(stop.host)
        if worker is None:
            self._departed.want_stop(stop, now.monotonic)
            return
        if stop.fence in worker.strays and worker.beat is not None and self._reports.is_foreign(worker.beat):
            worker.ending[stop.fence] = stop.reason or "stopped"
            self._due.sync(worker)
            return
        known = worker.wants.get(stop.fence) or self._begin(worker, stop.fence, now)
        known.stop_reason = known.stop_reason or stop.reason or "stopped"
        self._hear_early(worker, known, out)
        self._due.sync(worker)

    def _begin(self, worker: Worker, fence: int, now: Now) -> Wanted:
        record, session = worker.record, worker.session
        incarnation = session.incarnation if session is not None else record.incarnation
        if fence in record.stranded:
            incarnation = ""
        want = worker.wants[fence] = Wanted(fence=fence, base=now.monotonic, incarnation=incarnation)
        self._where[fence] = worker
        return want

    def _hear_early(self, worker: Worker, want: Wanted, out: FleetOutbox) -> None:
        """What its newest heartbeat said of it, before it was wanted or before the Scheduler forgot."""
        beat = worker.beat
        stray = worker.strays.pop(want.fence, None)
        if beat is not None and stray is not None:
            self._reports.of_a_want(worker, want, stray.report, beat, out)
        else:
            tell_end(worker, want, out)

    def forget_run(self, forget: ForgetRun, now: Now, out: FleetOutbox) -> None:
        """The end of this run is durable. The worker is acknowledged once its GPUs are released too."""
        worker = self._where.get(forget.fence) or self.workers.get(forget.host)
        if worker is None:
            self._departed.forget_run(forget, out)
            return
        want = worker.wants.get(forget.fence)
        stray = worker.strays.get(forget.fence)
        if want is not None:
            want.over, want.released = True, want.released or forget.released
            tell_end(worker, want, out)
            acked = want.released and want.ended
        else:
            acked = stray is not None and forget.released and has_ended(stray.report)
        if acked:
            worker.acks.add(forget.fence)
        if worker.state in LISTENED_TO and not worker.busy:
            self._step(worker, WorkerEvent.JOBS_DONE)
        self._due.facts(worker)
        self._due.sync(worker)

    def wanted_complete(self, complete: WantedComplete, now: Now, out: FleetOutbox) -> None:
        """All live attempts on workers have been wanted; until then nothing is an orphan and nobody new is admitted.
        What was wanted earlier and is not any more lives on."""
        self.complete = True
        for worker in self.workers.values():
            self._due.sync(worker)

    # --- what administrators do; `worker` is an id or a name ----------------------------------------------------

    def enrol(
        self,
        worker_id: str,
        name: str,
        public_key: str,
        now: Now,
        out: FleetOutbox,
        *,
        ephemeral: bool = False,
        labels: dict[str, str] | None = None,
    ) -> Worker:
        """A new worker. Raises InvalidInput where the name or the key is taken."""
        worker = self._roster.enrol(worker_id, name, public_key, now, out, ephemeral=ephemeral, labels=labels or {})
        self._due.facts(worker)
        return worker

    def drain(self, worker: str, now: Now, out: FleetOutbox) -> Worker:
        """No new work for it from now on. Raises NotFound. Repeat: harmless."""
        return self._set_drained(self.find(worker), True, out)

    def undrain(self, worker: str, now: Now, out: FleetOutbox) -> Worker:
        """It gets work again. Raises NotFound. Repeat: harmless."""
        return self._set_drained(self.find(worker), False, out)

    def _set_drained(self, worker: Worker, drained: bool, out: FleetOutbox) -> Worker:
        if worker.record.drained != drained:
            worker.record.drained = drained
            out.records.append(worker.record.row())
            self._step(worker, WorkerEvent.DRAINED if drained else WorkerEvent.UNDRAINED)
            if worker.busy:
                self._step(worker, WorkerEvent.JOB_GIVEN)
            self._due.facts(worker)
        return worker

    def rotate(self, worker: str, public_key: str, now: Now, out: FleetOutbox, *, revoke: bool = False) -> Worker:
        """A new key. The old one works until the new one connects or `key_grace` has passed; `revoke` ends it now.
        Raises NotFound, InvalidInput (the key is taken)."""
        found = self.find(worker)
        self._roster.rotate(found, public_key, None if revoke else now.wall + self.settings.key_grace, out)
        return found

    def delete(self, worker: str, now: Now, out: FleetOutbox, *, force: bool = False) -> Worker:
        """The worker is no more and its keys are void. With jobs on it: raises WrongState without `force`; with it,
        runs with a lease are lost once that has been waited out, those of the policy `hold` at once."""
        found = self.find(worker)
        self._remove(found, out, force=force)
        self._departed.tick(now.monotonic, out)
        return found

    def _remove(self, worker: Worker, out: FleetOutbox, *, force: bool) -> None:
        self._roster.remove(worker, out, force=force)
        self._departed.take(worker)
        for fence in worker.wants:
            del self._where[fence]
        self._due.gone(worker)

    # --- questions ---------------------------------------------------------------------------------------------

    @property
    def workers(self) -> dict[str, Worker]:
        """All workers by id, in order of registration."""
        return self._roster.workers

    def find(self, worker: str) -> Worker:
        """By id, by name, or by a unique prefix of an id. Raises NotFound."""
        return self._roster.find(worker)

    def keys(self) -> AllowKeys:
        """The whole allow-list, for a gateway that has just started (KeysWanted). Changes are told by themselves."""
        return self._roster.allow_keys()

    def order_of(self, user_id: str, fence: int) -> RunSpec:
        """What the worker whose key is called so shall run as `fence`. Raises NotAllowed, Unavailable."""
        return order_of(self._roster.speaker(user_id), fence, self.complete)

    def _owner(self, fence: int) -> str:
        worker = self._where.get(fence)
        return worker.id if worker is not None else self._departed.owner(fence)

    # --- small steps -------------------------------------------------------------------------------------------

    def _step(self, worker: Worker, event: WorkerEvent) -> None:
        before, worker.state = worker.state, step(worker.state, event)
        if worker.state is not before:
            self._due.facts(worker)

    def _drop(self, worker: Worker, fence: int) -> None:
        worker.wants.pop(fence, None)
        worker.acks.discard(fence)
        self._where.pop(fence, None)

    def _send(self, worker: Worker, session: Session, out: FleetOutbox) -> None:
        self._due.synced(worker)
        out.tell(
            names.GATEWAY, SendToPeer(user_id=session.user_id, route=session.route, sync=self._sync(worker, session))
        )

    def _sync(self, worker: Worker, session: Session) -> Sync:
        record = worker.record
        unsettled = any(fence not in worker.acks for fence in worker.wants)
        leave = record.ephemeral and record.spent and self.complete and not unsettled
        return syncs.sync(worker, session, self.settings, self._identity, self.complete, leave)
