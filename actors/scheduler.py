"""Scheduler: decides, alone (DESIGN 3). A thin shell round the yard.

A decision changes the yard in memory and leaves as one ordered commit. Its effects leave only once that is durable:
starts, stops and acknowledgements are sent by the store itself, answers and published events when it has said
`Committed`. A question that is asked while a commit is under way is answered behind it, so nobody sees what is not yet
durable. A failed commit voids the generation: the yard is thrown away and built again from the store; until that can be
written, what is durable answers questions, and nothing is decided.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import msgspec

from gpuyard.actors.base import LATER, Actor, Context, Reply, decline, reply_with
from gpuyard.actors.model import (
    change,
    commands as c,
    due,
    events as e,
    idle,
    names,
    orphan_news,
    policy,
    runs,
)
from gpuyard.actors.model.commit import Deleted, EventRow, Row
from gpuyard.actors.model.errors import GpuyardError, InvalidTransition, StoreFailed, Unavailable
from gpuyard.actors.model.ids import job_id_from
from gpuyard.actors.model.job import Job
from gpuyard.actors.model.limits import Limits
from gpuyard.actors.model.message import Message, Tick
from gpuyard.actors.model.outbox import Now, Outbox
from gpuyard.actors.model.reasons import Reason, ReasonCode
from gpuyard.actors.model.views import JobAccepted, JobsDeleted, Stats
from gpuyard.actors.model.yard import LEASE_SECONDS, Yard
from gpuyard.actors.scheduling.decisions import COMMANDS, QUESTIONS, REPORTS, Answer, Decision
from gpuyard.actors.scheduling.effects import Effect, Effects, TellNews, starts_first

log = logging.getLogger("gpuyard.scheduler")

TICK_SECONDS = 5.0
LAZY_SECONDS = 0.02
REFUSALS_ALLOWED = 5
# How many questions may wait for the snapshot after a failure.
QUESTIONS_KEPT = 1_000
UNWRITTEN = "the database could not be written: nothing was accepted"


class FlushLazy(Message, frozen=True, kw_only=True):
    """Rows that waited for company go to the store alone. From: the Scheduler's own timer. Repeat: harmless."""


class WakeUp(Message, frozen=True, kw_only=True):
    """A time rule (not_before, back-off) is due. From: the Scheduler's own timer. Repeat: harmless."""


def _log_no_gpus(yard: Yard, job: Job, reasons: list[Reason]) -> None:
    """The line that people grep for (CONTRACT, end): not its turn is what the job waits for, its GPUs are not right."""
    why = next((r for r in reasons if r.code is ReasonCode.FOREIGN_PROCESS or "error" in r.detail), None)
    if why is not None:
        wanted = list(job.spec.wanted_devices) or [gpu.index for gpu in yard.ledger.known[: job.spec.num_processes]]
        log.warning("Failed to allocate GPUs %s to job %s: %s", wanted, job.job_id, why.text)


def _new_job_id() -> str:
    return job_id_from(os.urandom(8))


class Scheduler(Actor):
    """`default_limits` are in force until somebody changes one; `lease_seconds` is the lease of a job on a worker that
    names none."""

    def __init__(self, context: Context, default_limits: Limits, lease_seconds: float = LEASE_SECONDS) -> None:
        super().__init__(context)
        self._default_limits = default_limits
        self._lease_seconds = lease_seconds
        self._yard: Yard | None = None
        self._generation = int(self.clock.monotonic() * 1_000_000)
        self._number = 0
        self._effects = Effects(context, self._in, self._revision)
        self._lazy: list[Row] = []
        self._facts: e.GpuFacts | None = None
        self._providers: e.ProviderFacts | None = None
        self._early: list[tuple[Any, Decision]] = []
        self._adopted: e.RunsAdopted | None = None
        self._ready = False
        self._writable = False
        self._asked: list[tuple[Any, Answer, Reply | None]] = []
        self._wake_at = float("inf")
        self._refusals = 0
        self._trouble = ""  # Why the last commit could not be written; empty once one was.

    def started(self) -> None:
        self._rebuild()
        self.inbox.after(TICK_SECONDS, Tick())

    def stopped(self) -> None:
        """Whoever waits for an answer is told at once that none will come; news goes out before that."""
        self._effects.tell_news()
        restarting = Unavailable("the scheduler is restarting: try again shortly")
        self._effects.void(restarting)
        for _, _, reply in self._asked:
            decline(reply, restarting)

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case c.Ready():
                return self._ready
            case e.SnapshotLoaded():
                return self._on_snapshot(message)
            case e.Committed():
                return self._on_committed(message)
            case e.CommitFailed():
                return self._on_commit_failed(message)
            case e.RunsAdopted():
                return self._on_adopted(message)
            case e.GpuFacts():
                return self._on_facts(message)
            case e.ProviderFacts():
                self._providers = message
                return self._decide(message, self._learn_providers)
            case Tick():
                return self._on_tick()
            case TellNews():
                return self._effects.tell_news()
            case FlushLazy():
                return self._flush()
            case WakeUp():
                return self._on_wake_up()
            case c.DeleteJob():
                return self._delete(message, reply)
            case c.CleanUp():
                return self._clean_up(message, reply, [])
            case _:
                return self._by_the_core(message, reply)

    def _by_the_core(self, message: Message, reply: Reply | None) -> Any:
        """All else is decided or answered by one function of the core."""
        if (report := REPORTS.get(type(message))) is not None:
            return self._report(message, report)
        if (command := COMMANDS.get(type(message))) is not None:
            return self._command(message, command, reply)
        if (question := QUESTIONS.get(type(message))) is not None:
            return self._question(message, question, reply)
        return self.unsupported(message)

    # --- boot and rebuild --------------------------------------------------------------------------------------

    def _rebuild(self) -> None:
        """Forget everything and read it again; whoever waits for an effect is told that it failed."""
        self._yard, self._ready, self._writable = None, False, False
        self._lazy.clear()
        self._early.clear()
        self._generation += 1
        self._number = 0
        self._effects.void(StoreFailed(self._trouble or UNWRITTEN))
        self.context.ref(names.STORE).tell(c.LoadSnapshot(generation=self._generation))

    def _on_snapshot(self, event: e.SnapshotLoaded) -> None:
        if event.generation != self._generation or self._writable:
            return
        self._writable = event.writable
        self._yard = Yard(event.snapshot, _new_job_id, self._default_limits, self._lease_seconds)
        if self._facts is not None:
            self._yard.ledger.learn(self._facts)
        if event.writable:
            out = Outbox(event.cause)
            runs.want_all(self._yard, out)
            self._effects.send(out.tells)
            self.context.ref(names.GPUS).tell(c.WatchGpus())
            self.context.ref(names.WORKERS).tell(c.WatchWorkers())
        self._begin()
        self._answer_those_who_asked()

    def _begin(self) -> None:
        """The first pass, once the store, the keepers and the GPUs have spoken (DESIGN 3, "Boot order")."""
        if self._ready or self._yard is None or not self._writable or self._facts is None or self._adopted is None:
            return
        self._ready = True
        log.info("Queue scheduler started with %ds processing interval", TICK_SECONDS)
        self._decide(c.Ready(), self._first_pass)
        early, self._early = self._early, []
        for message, decide in early:
            self._report(message, decide)

    def _on_adopted(self, event: e.RunsAdopted) -> None:
        self._adopted = event
        if self._ready:
            self._decide(event, self._learn_adopted)
        else:
            self._begin()

    def _learn_adopted(self, yard: Yard, now: Now, out: Outbox) -> None:
        if self._adopted is not None and orphan_news.adopted(yard, self._adopted, now, out):
            policy.start_what_may(yard, now, out)

    def _first_pass(self, yard: Yard, now: Now, out: Outbox) -> None:
        self._learn_adopted(yard, now, out)
        orphan_news.look(yard, now, out)
        runs.release_ended(yard, now, out)
        self._learn_providers(yard, now, out)
        policy.start_what_may(yard, now, out)

    def _on_facts(self, facts: e.GpuFacts) -> None:
        self._facts = facts
        if self._yard is None:
            return
        if not self._ready:
            self._yard.ledger.learn(facts)
            self._begin()
            return
        self._report(facts, runs.facts_changed)

    def _learn_providers(self, yard: Yard, now: Now, out: Outbox) -> None:
        if self._providers is not None and yard.clouds.learn(self._providers):
            policy.start_what_may(yard, now, out)

    # --- decisions ---------------------------------------------------------------------------------------------

    def _command(self, message: Any, decide: Decision, reply: Reply | None) -> Any:
        """A command of an edge: answered when durable; its errors change nothing."""
        yard = self._ready_yard()
        out = Outbox(message.cause)
        answer = self._try(lambda: decide(yard, message, self._now(), out), out)
        self._emit(out, reply, answer)
        for accepted in answer if isinstance(answer, list) else [answer]:
            if isinstance(accepted, JobAccepted) and accepted.job_id in yard.jobs:
                _log_no_gpus(yard, yard.jobs[accepted.job_id], accepted.reasons)
        return LATER

    def _report(self, message: Any, decide: Decision) -> None:
        """A fact told by another actor; before the first pass it waits for it."""
        if not self._ready:
            # While the database cannot be written nothing waits: all of it is told again after the next snapshot.
            if self._yard is None or self._writable:
                self._early.append((message, decide))
            return
        self._decide(message, lambda yard, now, out: decide(yard, message, now, out))

    def _decide(self, message: Message, decide: Callable[[Yard, Now, Outbox], None]) -> None:
        if self._yard is None or not self._ready:
            return
        yard, out = self._yard, Outbox(message.cause)
        self._try(lambda: decide(yard, self._now(), out), out)
        self._emit(out, None, None)

    @staticmethod
    def _try(decide: Callable[[], Any], out: Outbox) -> Any:
        """An error after a change was made is a bug: never go on with a half-changed yard."""
        try:
            return decide()
        except GpuyardError as error:
            if isinstance(error, InvalidTransition) or out.rows or out.lazy:
                raise RuntimeError(f"a decision failed half-way: {error}") from error
            raise

    def _delete(self, message: c.DeleteJob, reply: Reply | None) -> Any:
        yard, out = self._ready_yard(), Outbox(message.cause)
        change.delete(yard, message, self._now(), out)
        self._emit(out, reply, None, lambda result, after: change.deleted(yard, result, after, message.job_id))
        return LATER

    def _clean_up(self, message: c.CleanUp, reply: Reply | None, gone: list[str]) -> Any:
        """A step and, once it is durable, the next one; answered when all is done. `gone` are the jobs so far."""
        yard, out = self._ready_yard(), Outbox(message.cause)

        def go_on(result: Deleted, after: Outbox) -> Any:
            gone.extend(change.deleted(yard, result, after).job_ids)
            if change.more_to_clean(result):
                return self._clean_up(message, reply, gone)
            return JobsDeleted(job_ids=gone)

        change.clean_up(yard, message, self._now(), out)
        self._emit(out, reply, None, go_on)
        return LATER

    def _question(self, message: Any, answer: Answer, reply: Reply | None) -> Any:
        """Answered from memory, behind the commits that are under way; behind the snapshot after a failure."""
        if self._yard is None and self._trouble and len(self._asked) < QUESTIONS_KEPT:
            self._asked.append((message, answer, reply))
            return LATER
        yard = self._yard if self._yard is not None and self._trouble else self._ready_yard()
        value = answer(yard, message, self._now())
        if not self._writable and isinstance(value, Stats):
            value = msgspec.structs.replace(value, store_error=self._trouble)
        if not self._effects.waiting:
            return value
        self._effects.add_behind_all(Effect(0, [], reply, value, None, []))
        return LATER

    def _answer_those_who_asked(self) -> None:
        asked, self._asked = self._asked, []
        for message, answer, reply in asked:
            try:
                value = self._question(message, answer, reply)
            except GpuyardError as error:
                decline(reply, error)
            else:
                if value is not LATER:
                    reply_with(reply, value)

    def _on_tick(self) -> None:
        """The safety net: time limits of `processing_held`, reservations that came due, rows left behind."""
        self.inbox.after(TICK_SECONDS, Tick())
        self._decide(Tick(), due.tick)

    def _on_wake_up(self) -> None:
        self._wake_at = float("inf")
        self._decide(WakeUp(), due.fell_due)

    # --- commits and effects -----------------------------------------------------------------------------------

    def _emit(
        self,
        out: Outbox,
        reply: Reply | None,
        answer: Any,
        finish: Callable[[Deleted, Outbox], Any] | None = None,
    ) -> None:
        """Send the rows to the store and keep the effects until they are durable."""
        if out.lazy and not self._lazy:
            self.inbox.after(LAZY_SECONDS, FlushLazy())
        self._lazy += out.lazy
        if out.rows:
            self._commit(out, Effect(0, [], reply, answer, finish, []))
        else:
            self._effects.add_behind_all(Effect(self._number, out.tells, reply, answer, None, []))
            self._settle()

    def _settle(self) -> None:
        """What a decision leaves to do, kept out of the way of the commit that follows from it."""
        if self._yard is not None:
            idle.note(self._yard, self._now())
        self._set_timer()

    def _commit(self, out: Outbox, effect: Effect) -> None:
        assert self._yard is not None
        self._number += 1
        self._yard.revision += 1
        rows = self._lazy + out.rows
        self._lazy = []
        events = [row for row in rows if isinstance(row, EventRow)]
        self._effects.add(effect._replace(number=self._number, events=events))
        told = starts_first(out.tells)
        commit = c.Commit(
            generation=self._generation,
            number=self._number,
            rows=tuple(rows),
            effects=told,
            awaited=effect.reply is not None,
        )
        self.context.ref(names.STORE).tell(commit)

    def _flush(self) -> None:
        if self._lazy and self._yard is not None:
            self._commit(Outbox(), Effect(0, [], None, None, None, []))

    def _on_committed(self, event: e.Committed) -> None:
        if event.generation != self._generation:
            return
        self._trouble = ""
        self._refusals = 0
        self._effects.committed(event.number, event.results)
        self._settle()

    def _on_commit_failed(self, event: e.CommitFailed) -> None:
        if event.generation != self._generation:
            return
        log.error("commit %d failed: %s; rebuilding from the store", event.number, event.error)
        self._refusals = 0 if event.disk else self._refusals + 1
        if self._refusals > REFUSALS_ALLOWED:
            # Not the disk: this program and its database disagree. Limping on would answer 503 for ever.
            raise RuntimeError(f"the store refused {self._refusals} commits in a row: {event.error}")
        self._trouble = event.detail or UNWRITTEN
        self._rebuild()

    def _set_timer(self) -> None:
        wake_at = self._yard.timers.next if self._yard is not None else None
        if wake_at is not None and wake_at < self._wake_at:
            self._wake_at = wake_at
            self.inbox.after(max(0.0, wake_at - self.clock.now()), WakeUp())

    def _ready_yard(self) -> Yard:
        if self._yard is None or not self._ready:
            if self._trouble:
                raise StoreFailed(self._trouble)
            raise Unavailable("the scheduler is starting: try again shortly")
        return self._yard

    def _in(self, seconds: float, message: Message) -> None:
        self.inbox.after(seconds, message)

    def _revision(self) -> int:
        return self._yard.revision if self._yard is not None else 0

    def _now(self) -> Now:
        return Now(self.clock.now(), self.clock.monotonic())
