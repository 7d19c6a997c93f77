"""WorkerRegistry: knows the workers, their sessions and leases (DESIGN 3, "know"; DESIGN 8).

A thin shell round `model/fleet`: what workers say (PeerSaid), what the Scheduler wants of them and what administrators
do goes in; rows, answers to workers and facts for the Scheduler come out. A heartbeat is answered without the store;
what an administrator changes is answered, and told to the gateway, once it is durable. After a failed write the fleet
is made anew from the store: runs do not notice.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

import pykka

from gpuyard.actors.base import LATER, Actor, Context, Reply, decline, reply_with
from gpuyard.actors.model import bounds, commands as c, events as e, names
from gpuyard.actors.model.errors import Busy, GpuyardError, InvalidInput, Unavailable, WrongState
from gpuyard.actors.model.fleet import Fleet, FleetOutbox, FleetSettings, Worker, from_row
from gpuyard.actors.model.fleet.leases import unreachable
from gpuyard.actors.model.fleet.record import REGISTER
from gpuyard.actors.model.ids import job_id_from
from gpuyard.actors.model.message import Message, Tick
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.registers import audit_line
from gpuyard.actors.model.views import DatabaseIdentity, TokenIssued, WorkerEnrolled, WorkerView
from gpuyard.actors.model.worker_views import EPHEMERAL, PERSISTENT, view_of

log = logging.getLogger("gpuyard.workers")
T = TypeVar("T")

LONGEST_TICK = 1.0
PATIENCE = 8.0  # in seconds, with the answer of a worker
# What changed by a heartbeat may wait so long for company; what the Scheduler wants goes out at once.
FLUSH_SECONDS = 0.05
NOT_ENABLED = "workers cannot connect: start the server with --zmq-bind ADDRESS:PORT (and --zmq-advertise HOST:PORT)"


class Flush(Message, frozen=True, kw_only=True):
    """Tell what has changed. From: the registry's own timer. Repeat: harmless."""


class Settle(Message, frozen=True, kw_only=True):
    """Somebody who was asked may have answered. From: their threads, and the own timer. Repeat: harmless."""


class Pending(NamedTuple):
    """Waits for `answer`: then `go_on` is called with it, or `give_up` with the error."""

    answer: Reply
    go_on: Callable[[Any], None]
    give_up: Callable[[BaseException], None]


class WorkerRegistry(Actor):
    """`enabled` tells that workers can reach this server at all."""

    def __init__(
        self,
        context: Context,
        settings: FleetSettings | None = None,
        enabled: bool = False,
    ) -> None:
        super().__init__(context)
        self._settings = settings or FleetSettings()
        self._enabled = enabled
        self._store = context.ref(names.STORE)
        self._gateway = context.ref(names.GATEWAY)
        self._fleet: Fleet | None = None
        self._identity: DatabaseIdentity | None = None
        self._pending: list[Pending] = []
        self._flush_soon = self._flush_later = False

    def started(self) -> None:
        self._load()
        self.inbox.after(min(LONGEST_TICK, self._settings.heartbeat / 2), Tick())

    def stopped(self) -> None:
        pending, self._pending = self._pending, []
        for one in pending:
            one.give_up(Unavailable(f"{self.name} is stopping: try again shortly"))

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case e.PeerSaid():
                return self._with_fleet(lambda fleet, now, out: fleet.heard(message, now, out), soon=True)
            case c.WantRun():
                return self._with_fleet(lambda fleet, now, out: fleet.want_run(message, now, out))
            case c.WantStop():
                return self._with_fleet(lambda fleet, now, out: fleet.want_stop(message, now, out))
            case c.ForgetRun():
                return self._with_fleet(lambda fleet, now, out: fleet.forget_run(message, now, out))
            case c.WantedComplete():
                return self._with_fleet(lambda fleet, now, out: fleet.wanted_complete(message, now, out))
            case c.WatchWorkers():
                return self._with_fleet(lambda fleet, now, out: fleet.watch(now, out))
            case e.KeysWanted():
                return self._with_fleet(lambda fleet, now, out: out.tell(names.GATEWAY, fleet.keys()))
            case Tick():
                return self._on_tick()
            case Flush():
                return self._flush()
            case Settle():
                return self._settle()
            case _:
                return self._on_request(message, reply)

    def _on_request(self, message: Message, reply: Reply | None) -> Any:
        """What the edges ask."""
        match message:
            case c.ListWorkers():
                fleet = self._known()
                self._flush()  # who sees a worker may send it a job at once: the Scheduler knows it first
                chosen = fleet.workers.values() if message.worker is None else [fleet.find(message.worker)]
                return [self._view(worker) for worker in chosen]
            case c.AddWorker():
                return self._add(message, reply)
            case c.RotateWorkerToken():
                return self._rotate(message, reply)
            case c.DrainWorker():
                return self._drain(message, reply)
            case c.RemoveWorker():
                return self._remove(message, reply)
            case c.FetchSecrets():
                return self._fetch_secrets(message, reply)
            case c.SetGpuAside():
                return self._set_gpu_aside(message, reply)
            case c.Ready():
                return self._fleet is not None
            case _:
                return self.unsupported(message)

    # --- the fleet, from the store -----------------------------------------------------------------------------

    def _load(self) -> None:
        """Read who there is; whoever waits for a change of before is told that it failed."""
        self._fleet = None
        if self._identity is None:
            self._ask(names.STORE, c.GetIdentity(), self._identified, self._load_failed)
        else:
            self._identified(self._identity)

    def _identified(self, identity: DatabaseIdentity) -> None:
        self._identity = identity
        self._ask(names.STORE, c.LoadRegisters(registers=(REGISTER,)), self._loaded, self._load_failed)

    def _load_failed(self, error: BaseException) -> None:
        """The tick tries again."""
        log.error("the workers could not be read: %s", error)

    def _loaded(self, registers: dict[str, list[dict[str, Any]]]) -> None:
        assert self._identity is not None
        records = [from_row(row) for row in registers[REGISTER]]
        now = self._now()
        self._fleet = Fleet(self._settings, self._identity.db_id, self._identity.db_epoch, records, now)
        out = FleetOutbox()
        out.tell(names.GATEWAY, self._fleet.keys())
        self._fleet.watch(now, out)
        out.tell(names.SCHEDULER, c.WantAgain())
        self._send(out)

    def _known(self) -> Fleet:
        if self._fleet is None:
            raise Unavailable("the workers are not read yet: try again shortly")
        return self._fleet

    def _with_fleet(self, do: Callable[[Fleet, Now, FleetOutbox], None], *, soon: bool = False) -> None:
        """Before the fleet is there nothing is missed: everybody says it again, or is asked to."""
        if self._fleet is None:
            return
        out = FleetOutbox()
        do(self._fleet, self._now(), out)
        self._perform(out)
        if not soon:
            self._flush_next()
        elif not self._flush_later:
            self._flush_later = True
            self.inbox.after(FLUSH_SECONDS, Flush())

    def _flush_next(self) -> None:
        """Behind what waits in the inbox already, so that a burst of orders leaves as one."""
        if self._flush_soon:
            return
        try:
            self._flush_soon = not self.inbox.empty()
            if self._flush_soon:
                self.actor_ref.tell(Flush())
        except Busy:
            self._flush_soon = False
        if not self._flush_soon:
            self._flush()

    def _flush(self) -> None:
        self._flush_soon = self._flush_later = False
        if self._fleet is not None:
            out = FleetOutbox()
            self._fleet.flush(self._now(), out)
            self._perform(out)

    def _on_tick(self) -> None:
        self.inbox.after(min(LONGEST_TICK, self._settings.heartbeat / 2), Tick())
        if self._fleet is None and not self._pending:
            self._load()
        self._with_fleet(lambda fleet, now, out: fleet.tick(now, out), soon=True)

    # --- what workers ask --------------------------------------------------------------------------------------

    def _fetch_secrets(self, message: c.FetchSecrets, reply: Reply | None) -> Any:
        """A worker gets the secrets of the runs that are wanted of it, and no others."""
        run = self._known().order_of(message.worker, message.fence)
        wanted = c.FetchSecrets(fence=run.fence, owner=run.owner, names=run.secrets, cause=message.cause)
        self._ask(names.SECRETS, wanted, partial(reply_with, reply), partial(decline, reply))
        return LATER

    # --- what administrators do --------------------------------------------------------------------------------

    def _add(self, command: c.AddWorker, reply: Reply | None) -> Any:
        self._known()
        name = _checked("name", bounds.worker_name, command.name)
        labels = _checked("labels", bounds.labels, command.labels)
        if command.worker_type not in (PERSISTENT, EPHEMERAL):
            raise InvalidInput(f"worker_type must be {PERSISTENT} or {EPHEMERAL}", field="worker_type")
        if any(worker.record.name == name for worker in self._known().workers.values()):
            raise InvalidInput(f"there is a worker {name} already: choose another name", field="name")

        def enrol(issued: TokenIssued, fleet: Fleet, now: Now, out: FleetOutbox) -> WorkerEnrolled:
            ephemeral = command.worker_type == EPHEMERAL
            found = fleet.enrol(_new_id(), name, issued.public_key, now, out, ephemeral=ephemeral, labels=labels)
            return self._enrolled(found, issued)

        return self._with_token(command, "worker_added", enrol, reply)

    def _rotate(self, command: c.RotateWorkerToken, reply: Reply | None) -> Any:
        self._known().find(command.worker)

        def rotate(issued: TokenIssued, fleet: Fleet, now: Now, out: FleetOutbox) -> WorkerEnrolled:
            found = fleet.rotate(command.worker, issued.public_key, now, out, revoke=command.now)
            return self._enrolled(found, issued)

        return self._with_token(command, "worker_token_rotated", rotate, reply)

    def _drain(self, command: c.DrainWorker, reply: Reply | None) -> Any:
        def drain(fleet: Fleet, now: Now, out: FleetOutbox) -> WorkerView:
            set_to = fleet.drain if command.drained else fleet.undrain
            return self._view(set_to(command.worker, now, out))

        return self._change(command, "worker_drained" if command.drained else "worker_undrained", drain, reply)

    def _remove(self, command: c.RemoveWorker, reply: Reply | None) -> Any:
        def remove(fleet: Fleet, now: Now, out: FleetOutbox) -> WorkerView:
            view = self._view(fleet.find(command.worker))
            fleet.delete(command.worker, now, out, force=command.force)
            return view

        return self._change(command, "worker_removed", remove, reply)

    def _set_gpu_aside(self, message: c.SetGpuAside, reply: Reply | None) -> Any:
        """Done and kept by the worker; whose word it was stands in our audit."""
        worker = self._known().find(message.host)
        there = c.SetGpuAside(uuid=message.uuid, action=message.action, host=worker.id, cause=message.cause)
        subject = f"GPU {message.uuid} of {worker.record.name}"
        line = audit_line(message.by, self.clock.now(), f"gpu_{message.action}", subject, message.cause)

        def done(_: Any) -> None:
            self._store.tell(c.Record(rows=(line,), cause=message.cause))
            reply_with(reply, True)

        call = c.CallPeer(user_id=worker.id, to=names.GPUS, message=there, timeout=PATIENCE, cause=message.cause)
        self._ask(names.GATEWAY, call, done, partial(decline, reply))
        return LATER

    def _with_token(
        self,
        command: c.AddWorker | c.RotateWorkerToken,
        action: str,
        change: Callable[[TokenIssued, Fleet, Now, FleetOutbox], WorkerEnrolled],
        reply: Reply | None,
    ) -> Any:
        """The gateway makes the key pair; only its public half is kept."""
        if not self._enabled:
            raise WrongState(NOT_ENABLED)

        def go_on(issued: TokenIssued) -> None:
            try:
                self._change(command, action, partial(change, issued), reply)
            except GpuyardError as error:
                decline(reply, error)

        self._ask(names.GATEWAY, c.IssueToken(cause=command.cause), go_on, partial(decline, reply))
        return LATER

    def _change(
        self,
        command: c.AddWorker | c.RotateWorkerToken | c.DrainWorker | c.RemoveWorker,
        action: str,
        change: Callable[[Fleet, Now, FleetOutbox], WorkerView | WorkerEnrolled],
        reply: Reply | None,
    ) -> Any:
        """Decide, make it durable with a line of the audit, then tell and answer."""
        fleet, now, out = self._known(), self._now(), FleetOutbox(command.cause)
        answer = change(fleet, now, out)
        view = answer.worker if isinstance(answer, WorkerEnrolled) else answer
        if out.records:
            out.records.append(audit_line(command.by, now.wall, action, view.id, command.cause, name=view.name))

        def done() -> None:
            self._flush()  # the Scheduler knows of it before whoever asked may count on it
            reply_with(reply, answer)

        self._perform(out, done, partial(decline, reply))
        return LATER

    def _enrolled(self, worker: Worker, issued: TokenIssued) -> WorkerEnrolled:
        command = f"GPUYARD_WORKER_TOKEN={issued.token} gpuyard worker"
        return WorkerEnrolled(worker=self._view(worker), token=issued.token, endpoint=issued.endpoint, command=command)

    def _view(self, worker: Worker) -> WorkerView:
        return view_of(worker, unreachable(worker, self._settings, self.clock.monotonic()))

    # --- effects -----------------------------------------------------------------------------------------------

    def _perform(
        self,
        out: FleetOutbox,
        then: Callable[[], None] = lambda: None,
        give_up: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        """Rows first; what is told leaves once they are durable, at once where there are none."""
        if out.lazy:
            self._store.tell(c.Record(rows=tuple(out.lazy), cause=out.cause))
        if not out.records:
            self._send(out)
            then()
            return

        def durable(_: Any) -> None:
            self._send(out)
            then()

        def failed(error: BaseException) -> None:
            log.error("a change of workers could not be written: %s", error)
            give_up(error)
            self._load()

        self._ask(names.STORE, c.Record(rows=tuple(out.records), cause=out.cause), durable, failed)

    def _send(self, out: FleetOutbox) -> None:
        for to, message in out.tells:
            self.context.ref(to).tell(message)

    def _ask(
        self, to: str, message: Message, go_on: Callable[[Any], None], give_up: Callable[[BaseException], None]
    ) -> None:
        answer = self.context.ref(to).ask(message)
        self._pending.append(Pending(answer, go_on, give_up))
        answer.add_done_callback(lambda _: self._look_again())

    def _look_again(self) -> None:
        """In the thread of whoever answered. Should that word get lost (a full inbox), the tick looks too."""
        with suppress(pykka.ActorDeadError, GpuyardError):
            self.actor_ref.tell(Settle())

    def _settle(self) -> None:
        """Go on with what has been answered, in the order of asking."""
        answered = [one for one in self._pending if one.answer.done()]
        self._pending = [one for one in self._pending if one not in answered]
        for one in answered:
            error = one.answer.exception()
            if error is not None:
                one.give_up(error)
            else:
                one.go_on(one.answer.result())

    def _now(self) -> Now:
        return Now(self.clock.now(), self.clock.monotonic())


def _new_id() -> str:
    return f"w-{job_id_from(os.urandom(8))}"


def _checked(field: str, check: Callable[[object], T], value: object) -> T:
    try:
        return check(value)
    except ValueError as error:
        raise InvalidInput(f"{field} {error}", field=field) from None
