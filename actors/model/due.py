"""What happens because time has passed: time rules that fall due, and the tick, the safety net behind all events."""

from __future__ import annotations

from gpuyard.actors.model import orphan_news, policy, reviews, submit
from gpuyard.actors.model.outbox import Now, Outbox
from gpuyard.actors.model.yard import Yard


def fell_due(yard: Yard, now: Now, out: Outbox) -> None:
    """A `not_before`, a back-off, a window or an approval's end: the timer of `yard.timers.next`."""
    reviews.expire(yard, now, out)
    policy.start_what_may(yard, now, out)


def tick(yard: Yard, now: Now, out: Outbox) -> None:
    """The time limit of `processing_held`, reservations that came due, what was missed, keys that nobody repeats."""
    hold = yard.limits.cancel_hold_seconds
    if yard.processing_held and hold is not None and now.wall - yard.held_since >= hold:
        policy.lift_hold(yard)
    reviews.expire(yard, now, out)
    orphan_news.look(yard, now, out)
    oldest = now.wall - submit.KEY_LIFETIME
    for key in [key for key, known in yard.keys.items() if known.at < oldest]:
        del yard.keys[key]
    policy.start_what_may(yard, now, out)
