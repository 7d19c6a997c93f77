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
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from gpuyard.actors.base import LATER, Actor, Context, Reply
from gpuyard.actors.model import (
    ask,
    cancel,
    change,
    commands as c,
    events as e,
    host_news,
    idle,
    names,
    pauses,
    policy,
    reviews,
    runs,
    submit,
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

log = logging.getLogger("gpuyard.scheduler")

TICK_SECONDS = 5.0
LAZY_SECONDS = 0.02
# News is told a little later, together: who looks does not see it, and the next start has the processor to itself.
NEWS_SECONDS = 0.01
REFUSALS_ALLOWED = 5
# How many questions may wait for the snapshot after a failure.
QUESTIONS_KEPT = 1_000
UNWRITTEN = "the database could not be written: nothing was accepted"


class FlushLazy(Message, frozen=True, kw_only=True):
    """Rows that waited for company go to the store alone. From: the Scheduler's own timer. Repeat: harmless."""


class TellNews(Message, frozen=True, kw_only=True):
    """What happened a moment ago is published. From: the Scheduler's own timer. Repeat: harmless."""


class WakeUp(Message, frozen=True, kw_only=True):
    """A time rule (not_before, back-off) is due. From: the Scheduler's own timer. Repeat: harmless."""


class Waiting(NamedTuple):
    """What is done once commit `number` is durable. `finish` makes the answer from the store's results."""

    number: int
    tells: list[tuple[str, Message]]
    reply: Reply | None
    answer: Any
    finish: Callable[[Deleted, Outbox], Any] | None
    events: list[EventRow]


def _log_no_gpus(yard: Yard, job: Job, reasons: list[Reason]) -> None:
    """The line that people grep for (CONTRACT, end): not its turn is what the job waits for, its GPUs are not right."""
    why = next((r for r in reasons if r.code is ReasonCode.FOREIGN_PROCESS or "error" in r.detail), None)
    if why is not None:
        wanted = list(job.spec.wanted_devices) or [gpu.index for gpu in yard.ledger.known[: job.spec.num_processes]]
        log.warning("Failed to allocate GPUs %s to job %s: %s", wanted, job.job_id, why.text)


def _new_job_id() -> str:
    return job_id_from(os.urandom(8))


def _not_a_start(tell: tuple[str, Message]) -> bool:
    """Starts first: what else leaves with them must not stand between two jobs."""
    return not isinstance(tell[1], c.WantRun)


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
        self._waiting: deque[Waiting] = deque()
        self._lazy: list[Row] = []
        self._news: list[EventRow] = []  # durable, and not yet published
        self._facts: e.GpuFacts | None = None
        self._providers: e.ProviderFacts | None = None
        self._early: list[tuple[Any, Callable[[Yard, Any, Now, Outbox], None]]] = []
        self._adopted = False
        self._ready = False
        self._writable = False
        self._asked: list[tuple[Any, Callable[[Yard, Any, Now], Any], Reply | None]] = []
        self._wake_at = float("inf")
        self._refusals = 0
        self._trouble = ""  # Why the last commit could not be written; empty once one was.

    def started(self) -> None:
        self._rebuild()
        self.inbox.after(TICK_SECONDS, Tick())

    def stopped(self) -> None:
        """Whoever waits for an answer is told at once that none will come, and news goes out before that."""
        if self._news:
            self._tell_news()
        for reply in [one.reply for one in self._waiting] + [reply for _, _, reply in self._asked]:
            if reply is not None and not reply.done():
                reply.set_exception(Unavailable("the scheduler is restarting: try again shortly"))

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
                self._adopted = True
                return self._begin()
            case e.GpuFacts():
                return self._on_facts(message)
            case e.ProviderFacts():
                self._providers = message
                return self._decide(message, self._learn_providers)
            case e.WorkerFacts():
                return self._report(message, host_news.workers_changed)
            case Tick():
                return self._on_tick()
            case TellNews():
                return self._tell_news()
            case FlushLazy():
                return self._flush()
            case WakeUp():
                return self._on_wake_up()
            case e.AttemptAccepted():
                return self._report(message, runs.accepted)
            case e.AttemptProgress():
                return self._report(message, runs.progressed)
            case e.AttemptStarted():
                return self._report(message, runs.started)
            case e.AttemptExited():
                return self._report(message, runs.exited)
            case e.GpuEmptied():
                return self._report(message, runs.emptied)
            case e.GpusLooked():
                return self._report(message, runs.looked)
            case e.ForeignSeen():
                return self._report(message, runs.foreign_seen)
            case e.OrphanSeen():
                return self._report(message, runs.orphan_seen)
            case c.WantAgain():
                return self._report(message, runs.want_again)
            case _:
                return self._on_request(message, reply)

    def _on_request(self, message: Message, reply: Reply | None) -> Any:
        """What the edges ask."""
        match message:
            case c.SubmitJob():
                return self._command(message, submit.submit_one, reply)
            case c.SubmitJobs():
                return self._command(message, submit.submit_many, reply)
            case c.RecallKey():
                return self._question(message, submit.recall, reply)
            case c.CancelJob():
                return self._command(message, cancel.cancel_one, reply)
            case c.CancelJobs():
                return self._command(message, cancel.cancel_many, reply)
            case c.SetPriority():
                return self._command(message, change.set_priority, reply)
            case c.HoldJob():
                return self._command(message, change.hold, reply)
            case c.ReleaseJob():
                return self._command(message, change.release, reply)
            case c.ApproveJob():
                return self._command(message, reviews.approve, reply)
            case c.RejectJob():
                return self._command(message, reviews.reject, reply)
            case c.AddRule():
                return self._command(message, reviews.add_rule, reply)
            case c.ChangeRule():
                return self._command(message, reviews.change_rule, reply)
            case c.RemoveRule():
                return self._command(message, reviews.remove_rule, reply)
            case c.GetRules():
                return self._question(message, reviews.rules, reply)
            case c.TryRule():
                return self._question(message, reviews.try_rule, reply)
            case c.SetLimits():
                return self._command(message, change.set_limits, reply)
            case c.PauseQueue():
                return self._command(message, pauses.pause, reply)
            case c.ResumeQueue():
                return self._command(message, pauses.resume, reply)
            case c.ProcessQueue():
                return self._command(message, change.process, reply)
            case c.DeleteJob():
                return self._delete(message, reply)
            case c.CleanUp():
                return self._clean_up(message, reply, [])
            case c.GetQueue():
                return self._question(message, ask.queue, reply)
            case c.GetLive():
                return self._question(message, ask.live, reply)
            case c.GetLiveUsage():
                return self._question(message, ask.live_usage, reply)
            case c.GetStats():
                return self._question(message, ask.stats, reply)
            case c.GetMyQueue():
                return self._question(message, ask.my_queue, reply)
            case c.GetPosition():
                return self._question(message, ask.position, reply)
            case c.GetLimits():
                return self._question(message, lambda yard, _message, _now: yard.limits, reply)
            case c.GetGpus():
                return self._question(message, lambda yard, _message, _now: ask.gpus(yard), reply)
            case _:
                return self.unsupported(message)

    # --- boot and rebuild --------------------------------------------------------------------------------------

    def _rebuild(self) -> None:
        """Forget everything and read it again; whoever waits for an effect is told that it failed."""
        self._yard, self._ready, self._writable = None, False, False
        self._lazy.clear()
        self._early.clear()
        self._generation += 1
        self._number = 0
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            if one.reply is not None and not one.reply.done():
                one.reply.set_exception(StoreFailed(self._trouble or UNWRITTEN))
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
            self._send(out.tells)
            self.context.ref(names.GPUS).tell(c.WatchGpus())
            self.context.ref(names.WORKERS).tell(c.WatchWorkers())
        self._begin()
        self._answer_those_who_asked()

    def _begin(self) -> None:
        """The first pass, once the store, the keepers and the GPUs have spoken (DESIGN 3, "Boot order")."""
        if self._ready or self._yard is None or not self._writable or self._facts is None or not self._adopted:
            return
        self._ready = True
        log.info("Queue scheduler started with %ds processing interval", TICK_SECONDS)
        self._decide(c.Ready(), self._first_pass)
        early, self._early = self._early, []
        for message, decide in early:
            self._report(message, decide)

    def _first_pass(self, yard: Yard, now: Now, out: Outbox) -> None:
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

    def _command(self, message: Any, decide: Callable[[Yard, Any, Now, Outbox], Any], reply: Reply | None) -> Any:
        """A command of an edge: answered when durable; its errors change nothing."""
        yard = self._ready_yard()
        out = Outbox(message.cause)
        answer = self._try(lambda: decide(yard, message, self._now(), out), out)
        self._emit(out, reply, answer)
        for accepted in answer if isinstance(answer, list) else [answer]:
            if isinstance(accepted, JobAccepted) and accepted.job_id in yard.jobs:
                _log_no_gpus(yard, yard.jobs[accepted.job_id], accepted.reasons)
        return LATER

    def _report(self, message: Any, decide: Callable[[Yard, Any, Now, Outbox], None]) -> None:
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

    def _question(self, message: Any, answer: Callable[[Yard, Any, Now], Any], reply: Reply | None) -> Any:
        """Answered from memory, behind the commits that are under way; behind the snapshot after a failure."""
        if self._yard is None and self._trouble and len(self._asked) < QUESTIONS_KEPT:
            self._asked.append((message, answer, reply))
            return LATER
        yard = self._yard if self._yard is not None and self._trouble else self._ready_yard()
        value = answer(yard, message, self._now())
        if not self._writable and isinstance(value, Stats):
            value = msgspec.structs.replace(value, store_error=self._trouble)
        if not self._waiting:
            return value
        self._waiting.append(Waiting(self._waiting[-1].number, [], reply, value, None, []))
        return LATER

    def _answer_those_who_asked(self) -> None:
        asked, self._asked = self._asked, []
        for message, answer, reply in asked:
            try:
                value = self._question(message, answer, reply)
            except GpuyardError as error:
                value = error
            if reply is None or reply.done() or value is LATER:
                continue
            if isinstance(value, GpuyardError):
                reply.set_exception(value)
            else:
                reply.set_result(value)

    def _on_tick(self) -> None:
        """The safety net: time limits of `processing_held`, reservations that came due, rows left behind."""
        self.inbox.after(TICK_SECONDS, Tick())
        self._decide(Tick(), self._tick)

    @staticmethod
    def _tick(yard: Yard, now: Now, out: Outbox) -> None:
        hold = yard.limits.cancel_hold_seconds
        if yard.processing_held and hold is not None and now.wall - yard.held_since >= hold:
            policy.lift_hold(yard)
        reviews.expire(yard, now, out)
        oldest = now.wall - submit.KEY_LIFETIME
        for key in [key for key, known in yard.keys.items() if known.at < oldest]:
            del yard.keys[key]
        policy.start_what_may(yard, now, out)

    def _on_wake_up(self) -> None:
        self._wake_at = float("inf")
        self._decide(WakeUp(), self._wake_due)

    @staticmethod
    def _wake_due(yard: Yard, now: Now, out: Outbox) -> None:
        reviews.expire(yard, now, out)
        policy.start_what_may(yard, now, out)

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
            self._commit(out, Waiting(0, [], reply, answer, finish, []))
        else:
            effects = Waiting(self._number, out.tells, reply, answer, None, [])
            if self._waiting:
                self._waiting.append(effects)
            else:
                self._perform(effects, ())
        if self._yard is not None:
            idle.note(self._yard, self._now())
        self._set_timer()

    def _commit(self, out: Outbox, effects: Waiting) -> None:
        assert self._yard is not None
        self._number += 1
        self._yard.revision += 1
        rows = self._lazy + out.rows
        self._lazy = []
        events = [row for row in rows if isinstance(row, EventRow)]
        self._waiting.append(effects._replace(number=self._number, events=events))
        told = tuple(sorted(out.tells, key=_not_a_start))
        commit = c.Commit(generation=self._generation, number=self._number, rows=tuple(rows), effects=told)
        self.context.ref(names.STORE).tell(commit)

    def _flush(self) -> None:
        if self._lazy and self._yard is not None:
            self._commit(Outbox(), Waiting(0, [], None, None, None, []))

    def _on_committed(self, event: e.Committed) -> None:
        if event.generation != self._generation:
            return
        self._trouble = ""
        self._refusals = 0
        while self._waiting and self._waiting[0].number <= event.number:
            effects = self._waiting.popleft()
            self._perform(effects, event.results.get(effects.number, ()))

    def _perform(self, effects: Waiting, results: tuple[Deleted, ...]) -> None:
        self._send(effects.tells)
        if effects.events and not self._news:
            self.inbox.after(NEWS_SECONDS, TellNews())
        self._news += effects.events
        if effects.reply is None or effects.reply.done():
            return
        try:
            answer = effects.answer
            if effects.finish is not None:
                after = Outbox()
                answer = effects.finish(results[0], after)
                self._send(after.tells)
        except GpuyardError as error:
            effects.reply.set_exception(error)
        else:
            if answer is not LATER:
                effects.reply.set_result(answer)

    def _tell_news(self) -> None:
        news, self._news = self._news, []
        revision = self._yard.revision if self._yard is not None else 0
        self.context.ref(names.LINK).tell(c.Publish(events=tuple(news), revision=revision))

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

    def _send(self, tells: list[tuple[str, Message]]) -> None:
        for to, message in tells:
            self.context.ref(to).tell(message)

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

    def _now(self) -> Now:
        return Now(self.clock.now(), self.clock.monotonic())
