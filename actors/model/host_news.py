"""What the registry tells of the workers, and what follows: who arrives starts jobs, who goes gives back its GPUs."""

from __future__ import annotations

from gpuyard.actors.model import orphan_news, policy
from gpuyard.actors.model.events import WorkerFacts
from gpuyard.actors.model.hosts import BUSY, IDLE, Host, need_of
from gpuyard.actors.model.outbox import Now, Outbox
from gpuyard.actors.model.shapes import WORKERS_CHANGED, Pool
from gpuyard.actors.model.yard import Yard

ONLINE = "online"


def workers_changed(yard: Yard, facts: WorkerFacts, now: Now, out: Outbox) -> None:
    """New facts about workers; one that arrives, frees up or is undrained gets the next job at once."""
    first = not yard.hosts.first_heard
    learned = yard.hosts.learn(facts, now)
    freed = orphan_news.learn(yard, facts, now, out)
    for fact in facts.workers:
        host = yard.hosts.find(fact.worker_id)
        if host is not None and host.ledger.at_once and host.ledger.releasing:
            freed |= _release(yard, host, now, out)
    for host in yard.hosts.with_holds():
        if yard.hosts.is_gone(host.id):
            freed |= _release(yard, host, now, out)
    if not first:
        _tell_story(yard, learned.turned, learned.gone, now, out)
    if learned.reshaped:
        _look_again(yard, now)
    if learned.arrived:
        policy.lift_hold(yard)
    if learned.arrived or learned.changed or learned.reshaped or freed:
        policy.start_what_may(yard, now, out)


def _look_again(yard: Yard, now: Now) -> None:
    """Other workers match than before: shapes that none matched may stand in their lanes, and the other way round."""
    yard.shapes.wake(WORKERS_CHANGED, now.wall)
    for job in yard.shapes.heads(Pool.WORKER):
        if not yard.hosts.matching(need_of(job)):
            yard.shapes.park(job, WORKERS_CHANGED)


def _release(yard: Yard, host: Host, now: Now, out: Outbox) -> bool:
    """Close the holds of ended attempts there: its GPUs are empty the moment a run ends, or it is no more."""
    ended = {host.ledger.holds[uuid].fence for uuid in host.ledger.releasing}
    for fence in sorted(ended):
        yard.release(fence, (), now, out)
    return bool(ended)


def _tell_story(yard: Yard, turned: list[tuple[Host, str]], gone: list[Host], now: Now, out: Outbox) -> None:
    """Idle and busy are one here: the jobs' own events tell them apart."""
    for host, before in turned:
        was, state = _story_state(before), _story_state(host.fact.state)
        if was != state:
            kind = "worker_changed"
            if not was:
                kind = "worker_added"
            out.lazy.append(yard.event(out, now, kind, worker_id=host.id, name=host.name, state=state))
    for host in gone:
        out.lazy.append(yard.event(out, now, "worker_removed", worker_id=host.id, name=host.name))


def _story_state(state: str) -> str:
    return ONLINE if state in (IDLE, BUSY) else state
