"""The agent: makes its host run what the server wants, and tells the server what runs. What the worker process drives.

Pure: the time comes in (`Now.monotonic` is CLOCK_BOOTTIME), effects go into an AgentOutbox. The process makes an Agent
from its journal, hands it every message of its ProcessKeeper, its LocalGPUAllocator and its uplink, performs the
outbox (journal first), and calls `tick` at least every half heartbeat, and by `next_tick`.

It says to the keeper WantRun, WantStop, ForgetRun, RenewLeases, WantedComplete; to the allocator WatchGpus, WatchStart,
WatchRelease; to the uplink SendHeartbeat. Leases are enforced by the keepers and the ProcessKeeper, which are told when
each ends; the agent tells them each renewal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from gpuyard.actors.model import names
from gpuyard.actors.model.agent import obedience
from gpuyard.actors.model.agent.book import Book
from gpuyard.actors.model.agent.journal import Began, Ended, Entry, Forgotten, Ordered, StopAsked
from gpuyard.actors.model.agent.order import LOST, Order
from gpuyard.actors.model.agent.outbox import AgentOutbox
from gpuyard.actors.model.agent.settings import AgentSettings
from gpuyard.actors.model.commands import (
    ForgetRun,
    RenewLeases,
    SendHeartbeat,
    WantedComplete,
    WantRun,
    WantStop,
    WatchGpus,
    WatchRelease,
    WatchStart,
)
from gpuyard.actors.model.events import (
    AttemptExited,
    AttemptStarted,
    GpuEmptied,
    GpuFacts,
    LinkChanged,
    OrphanSeen,
    RunsAdopted,
)
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.wire import STOP, Heartbeat, Sync, Want

REBOOTED = "the machine was restarted while the run lived, exit code unknown"


class Agent:
    """`session` is a random name for this life of the process, `incarnation` that of the host (boot id, inode of the
    pid namespace, start time of its pid 1). `journal` are the entries on the disk, oldest first; an empty one begins
    with `journal_id`, a random name too. `refused` says in words why the server gives no work; empty when it does."""

    def __init__(
        self,
        settings: AgentSettings,
        session: str,
        incarnation: str,
        journal: Iterable[Entry],
        journal_id: str,
        now: Now,
        out: AgentOutbox,
    ) -> None:
        self.settings = settings
        self.refused = ""
        self._session, self._incarnation = session, incarnation
        self._book = Book(journal)
        self._book.write(Began(self._book.id or journal_id, self._book.life + 1), out)
        self._strays: dict[int, Order] = {}
        self._facts: GpuFacts | None = None
        self._adopted = False
        self._n = 0
        self._newest = (0, -1)
        self._beat_seconds = settings.heartbeat
        self._beat_at = now.monotonic
        self._leave = self._leaving = False
        out.tell(names.GPUS, WatchGpus())

    # --- what the server and the link say ----------------------------------------------------------------------

    def synced(self, sync: Sync, now: Now, out: AgentOutbox) -> None:
        """What the server wants. An older one than the newest, or one for another session, changes nothing."""
        if sync.session != self._session or sync.n > self._n or (sync.n, sync.seq) <= self._newest:
            return
        self._newest = (sync.n, sync.seq)
        self._beat_seconds = sync.heartbeat_seconds
        if sync.refused:
            self.refused = sync.refused
            return
        self.refused = obedience.why_not(self._book, self._strays.values(), sync)
        self._renew(sync, out)
        if self.refused:
            if obedience.is_foreign(self._book, sync):
                for fence in sync.end.keys() & {order.fence for order in self._all()}:
                    self._stop(fence, sync.end[fence], out)
            return
        obedience.follow(self._book, self._strays, sync, out)
        self._leave = sync.leave
        for fence in sync.ack:
            self._forget(fence, out)
        may_start = sync.complete
        for fence, want in sorted(sync.want.items()):
            if want.action == STOP:
                self._stop(fence, want.reason, out)
            elif may_start:
                # In order of fences: `highest` tells what was here once, so none may overtake another.
                may_start = self._run(fence, want, sync, now, out)

    def link_changed(self, link: LinkChanged, now: Now, out: AgentOutbox) -> None:
        """The link stands (a heartbeat leaves at once), or does not."""
        if link.up:
            self._beat(now, out)

    def _renew(self, sync: Sync, out: AgentOutbox) -> None:
        """The server was heard at the latest when it got the heartbeat that it echoes, sent at `sent_at`."""
        until: dict[int, float] = {}
        for order in self._all():
            lease = self._lease(order, sync.want.get(order.fence))
            if lease is None or order.end is not None:
                continue
            at = sync.sent_at + lease
            if order.until is None or at > order.until:
                order.until = until[order.fence] = at
        if until:
            out.tell(names.KEEPER, RenewLeases(until=until))

    def _lease(self, order: Order, want: Want | None) -> float | None:
        if order.want is not None:
            return order.want.lease_seconds
        return want.lease_seconds if want is not None else self.settings.start_within

    def _forget(self, fence: int, out: AgentOutbox) -> None:
        """The server has durably what we know of this end; or it knows that it is over, and nothing here knows of it:
        an earlier life of this process may have told both, and gone down before its journal had that."""
        order = self._book.orders.get(fence) or self._strays.get(fence)
        if order is None or not (order.gone() or (order.end is None and not order.kept)):
            return
        if self._strays.pop(fence, None) is None:
            self._book.write(Forgotten(fence), out)
        out.tell(names.KEEPER, ForgetRun(fence=fence))

    def _stop(self, fence: int, reason: str, out: AgentOutbox) -> None:
        order = self._book.orders.get(fence)
        if order is not None and (order.stop_reason is not None or order.end is not None):
            return
        self._book.write(StopAsked(fence, reason or "stopped"), out)
        order = self._book.orders[fence]
        stray = self._strays.pop(fence, None)
        if stray is not None:
            order.job_id, order.uuids, order.pid = stray.job_id, stray.uuids, stray.pid
            order.started_at, order.end, order.emptied = stray.started_at, stray.end, stray.emptied
        order.kept = True
        if order.end is None:
            out.tell(names.KEEPER, WantStop(fence=fence, reason=reason or "stopped"))

    def _run(self, fence: int, want: Want, sync: Sync, now: Now, out: AgentOutbox) -> bool:
        """Make it live, if it shall and may; False when it has to wait, and all after it with it."""
        order = self._book.orders.get(fence)
        if order is not None:
            if order.kept or order.end is not None or order.stop_reason is not None or order.want is None:
                return True
            # It was written down in an earlier life of this process, which ended before the keeper was told.
            return self._start(order, sync, now, out)
        if want.spec is None or want.spec.fence != fence:
            return False
        if fence not in self._strays and self._too_late(want.lease_seconds, sync, now):
            return False
        run = WantRun(
            run=want.spec,
            started=want.started or fence <= self._book.highest,
            lease_seconds=want.lease_seconds,
            checkpoint_signal=want.checkpoint_signal,
            lease_until=None if want.lease_seconds is None else sync.sent_at + want.lease_seconds,
            lease_grace=want.lease_grace,
        )
        holder = self._holder(fence, run)
        if holder is not None and holder.end is not None and not run.started:
            return False
        self._book.write(Ordered(run, want.spec_hash, self._incarnation), out)
        order = self._book.orders[fence]
        stray = self._strays.pop(fence, None)
        if stray is not None:
            order.kept, order.pid, order.started_at = True, stray.pid, stray.started_at
            order.end, order.emptied = stray.end, stray.emptied
            return True
        if holder is not None and not run.started:
            words = f"its GPU is held by run {holder.fence} of job {holder.job_id or '?'}, which lives here"
            self._end_here(order, words, now, out)
            return True
        return self._start(order, sync, now, out)

    def _start(self, order: Order, sync: Sync, now: Now, out: AgentOutbox) -> bool:
        assert order.want is not None
        if self._too_late(order.want.lease_seconds, sync, now):
            return False
        if order.want.lease_seconds is not None:
            order.until = sync.sent_at + order.want.lease_seconds
        order.kept = True
        self._want_kept(order, out)
        return True

    def _too_late(self, lease: float | None, sync: Sync, now: Now) -> bool:
        """Was the heartbeat that this answers sent so long ago that the server may have given the run up meanwhile?"""
        return now.monotonic >= sync.sent_at + (self.settings.start_within if lease is None else lease)

    def _holder(self, fence: int, run: WantRun) -> Order | None:
        """Another run whose GPUs are not yet empty and would be this one's."""
        wanted = {gpu.uuid for gpu in run.run.gpus}
        others = (o for o in self._all() if o.fence != fence and not o.gone() and wanted.intersection(o.uuids))
        return next(others, None)

    # --- what the host says ------------------------------------------------------------------------------------

    def adopted(self, event: RunsAdopted, now: Now, out: AgentOutbox) -> None:
        """The ProcessKeeper has looked through its folders: before that no heartbeat leaves and nothing is started."""
        if self._adopted:
            return
        self._adopted = True
        for fence in (*event.live, *event.ended):
            if fence in self._book.orders:
                self._book.orders[fence].kept = True
            else:
                self._known(fence)
        for order in self._book.orders.values():
            if order.end is not None:
                self._watch_release(order, out)
            elif order.kept:
                self._want_kept(order, out)
            elif order.incarnation != self._incarnation and order.want is not None:
                self._end_here(order, REBOOTED, now, out)
            elif order.stop_reason is not None:
                order.kept = True
                out.tell(names.KEEPER, WantStop(fence=order.fence, reason=order.stop_reason))
        out.tell(names.KEEPER, WantedComplete(fences=tuple(self._book.orders)))
        self._beat(now, out)

    def started(self, event: AttemptStarted, now: Now, out: AgentOutbox) -> None:
        """A run lives."""
        order = self._known(event.fence)
        if order.end is None and order.started_at is None:
            order.pid, order.started_at = event.pid, event.at
            self._beat(now, out)

    def exited(self, event: AttemptExited, now: Now, out: AgentOutbox) -> None:
        """A run has ended; its GPUs are watched until they are empty."""
        order = self._known(event.fence)
        if order.end is None:
            order.end = event
            order.kept = True
            self._watch_release(order, out)
            self._beat(now, out)

    def emptied(self, event: GpuEmptied, now: Now, out: AgentOutbox) -> None:
        """GPUs of an ended run are empty."""
        order = self._book.orders.get(event.fence) or self._strays.get(event.fence)
        if order is None or order.end is None or order.gone():
            return
        order.emptied.update(event.uuids)
        if order.gone():
            self._beat(now, out)

    def orphan_seen(self, event: OrphanSeen, now: Now, out: AgentOutbox) -> None:
        """A run lives that is not in the journal."""
        order = self._known(event.fence)
        if not order.job_id and not order.uuids:
            order.job_id, order.pid, order.uuids = event.job_id, event.pid, event.uuids
            self._beat(now, out)

    def gpu_facts(self, event: GpuFacts, now: Now, out: AgentOutbox) -> None:
        """The newest facts about the GPUs, for the next heartbeat; what can be handed out is said at once."""
        if self._facts is not None and event.revision < self._facts.revision:
            return
        before, self._facts = self._facts, event
        if _offered(before) != _offered(event):
            self._beat(now, out)

    def _known(self, fence: int) -> Order:
        order = self._book.orders.get(fence) or self._strays.get(fence)
        if order is None:
            order = self._strays[fence] = Order(fence=fence, ordered=False, kept=True)
        return order

    def _end_here(self, order: Order, why: str, now: Now, out: AgentOutbox) -> None:
        """An end that the keeper does not know of."""
        self._book.write(Ended(order.fence, LOST, why, now.wall), out)
        self._watch_release(order, out)

    def _want_kept(self, order: Order, out: AgentOutbox) -> None:
        """Tell the keeper what shall be of it. One that it knows, it tells of."""
        if order.want is not None:
            out.tell(names.KEEPER, msgspec.structs.replace(order.want, lease_until=order.until))
            if order.uuids:
                out.tell(names.GPUS, WatchStart(fence=order.fence, uuids=order.uuids))
        if order.stop_reason is not None:
            out.tell(names.KEEPER, WantStop(fence=order.fence, reason=order.stop_reason))

    @staticmethod
    def _watch_release(order: Order, out: AgentOutbox) -> None:
        if order.uuids:
            out.tell(names.GPUS, WatchRelease(fence=order.fence, uuids=order.uuids))

    # --- time --------------------------------------------------------------------------------------------------

    def tick(self, now: Now, out: AgentOutbox) -> None:
        """A heartbeat, if one is due."""
        if now.monotonic >= self._beat_at:
            self._beat(now, out)

    def next_tick(self, now: Now) -> float:
        """Seconds until `tick` has something to do."""
        return max(0.0, self._beat_at - now.monotonic)

    def leave(self, now: Now, out: AgentOutbox) -> None:
        """The process is asked to end (SIGTERM): say so in a last heartbeat. Runs live on."""
        self._leaving = True
        self._beat(now, out)

    def _beat(self, now: Now, out: AgentOutbox) -> None:
        self._beat_at = now.monotonic + self._beat_seconds
        if not self._adopted:
            return
        self._n += 1
        facts, settings = self._facts, self.settings
        said = Heartbeat(
            version=settings.version,
            session=self._session,
            incarnation=self._incarnation,
            n=self._n,
            sent_at=now.monotonic,
            db_id=self._book.db_id,
            db_epoch=self._book.db_epoch,
            backend=facts.backend if facts is not None else "none",
            gpus=facts.gpus if facts is not None else (),
            facts_age=max(0.0, now.monotonic - facts.observed_at) if facts is not None else 0.0,
            at_once=facts is not None and facts.at_once,
            error=facts.error if facts is not None else None,
            attempts={order.fence: order.report() for order in self._all()},
            max_jobs=settings.max_jobs,
            cpu_count=settings.cpu_count,
            leaving=self._leaving or self.may_end,
            journal=self._book.id,
            life=self._book.life,
            name=settings.name,
            labels=settings.labels,
            persistent=settings.persistent,
            wall=now.wall,
        )
        out.tell(names.UPLINK, SendHeartbeat(said=said))

    # --- questions ---------------------------------------------------------------------------------------------

    @property
    def may_end(self) -> bool:
        """The server said `leave` (an ephemeral worker has done its job) and nothing is left to report."""
        return self._leave and not self._book.orders and not self._strays

    def blobs(self) -> tuple[str, ...]:
        """What its runs brought along: all other content may go."""
        wants = [order.want for order in self._all() if order.want is not None]
        return tuple({file.blob for want in wants for file in want.run.sent.values()})

    def shortened(self) -> list[Entry]:
        """The entries that say the same as the whole journal, for a new file in its place."""
        return self._book.shortened()

    def _all(self) -> Iterator[Order]:
        yield from self._book.orders.values()
        yield from self._strays.values()


def _offered(facts: GpuFacts | None) -> tuple[str, ...] | None:
    return None if facts is None else tuple(gpu.uuid for gpu in facts.gpus if gpu.usable)
