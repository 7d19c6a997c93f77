"""Who speaks for a worker: one key, one live session (DESIGN 8).

A key can be copied together with the folder or the machine that holds it, and a host can be rebooted while its old
frames are still on their way. So a worker's word counts only for the session that was admitted:

- the next life of a worker on the same journal, on a host that was not rebooted, is admitted at once: the journal's
  lock proves that the earlier one is gone;
- any other session waits until the admitted one was silent for three heartbeats, and is admitted then;
- a session that speaks in turn with the admitted one is a clone: refused, and reported once for the audit. What its
  journal says of the runs of the other is not believed, even if it is admitted later.

A copy that is first started while the original cannot be heard looks like a reboot, and only a reboot's word makes runs
end before their lease: who copies a machine with its key must not do so in a network outage.
"""

from __future__ import annotations

from enum import Enum, auto

from gpuyard.actors.model.events import PeerSaid
from gpuyard.actors.model.fleet.settings import FleetSettings
from gpuyard.actors.model.fleet.worker import Challenger, Worker
from gpuyard.actors.model.registers import AppendAudit
from gpuyard.actors.model.wire import Heartbeat

CHALLENGERS_KEPT = 32
CLONES_KEPT = 100


class Verdict(Enum):
    """beat: the admitted session goes on · stale: an older frame of it, or of a life that it has replaced ·
    admit: a new session takes its place · wait: it may, once the other has been silent for long enough ·
    clone: both speak (`FIRST_CLONE`: noticed just now)."""

    BEAT = auto()
    STALE = auto()
    ADMIT = auto()
    WAIT = auto()
    CLONE = auto()
    FIRST_CLONE = auto()


def judge(worker: Worker, beat: Heartbeat, settings: FleetSettings, complete: bool, now: float) -> Verdict:
    """What to do with a heartbeat that came with this worker's key. Remembers challengers in `worker`.

    `complete` tells that all runs that the store knows are wanted: before that a reboot cannot be judged.
    """
    session, record = worker.session, worker.record
    if session is not None and session.id == beat.session:
        return Verdict.BEAT if beat.n > session.beat.n else Verdict.STALE
    if not record.incarnation:
        return Verdict.ADMIT
    if beat.journal == record.journal and beat.incarnation == record.incarnation:
        if beat.life < record.life:
            return Verdict.STALE
        # The same life with another session would be a copy of the folder; after our restart it is the one we knew.
        if session is None or beat.life > record.life:
            return Verdict.ADMIT
    verdict = _challenge(worker, beat, now)
    silent = now - worker.heard_at >= settings.silence
    return Verdict.ADMIT if silent and complete else verdict


def clone_audit(worker: Worker, said: PeerSaid, wall: float) -> AppendAudit:
    """The line of the audit that tells of a clone."""
    known = worker.session
    detail = {
        "admitted": {"incarnation": worker.record.incarnation, "address": known.address if known else ""},
        "refused": {"incarnation": said.said.incarnation, "address": said.address},
    }
    return AppendAudit(at=wall, action="worker_clone_refused", address=said.address, subject=worker.id, detail=detail)


def _challenge(worker: Worker, beat: Heartbeat, now: float) -> Verdict:
    """Another session than the admitted one: it waits, or is a clone if both have been heard in turn."""
    challenger = worker.challengers.get(beat.session)
    if challenger is None:
        if len(worker.challengers) >= CHALLENGERS_KEPT:
            worker.challengers.pop(next(iter(worker.challengers)))
        worker.challengers[beat.session] = Challenger(now, beat.n)
        return Verdict.WAIT
    if challenger.clone:
        return Verdict.CLONE
    if worker.session is None or beat.n <= challenger.n or worker.heard_at <= challenger.since:
        return Verdict.WAIT
    challenger.clone = True
    record = worker.record
    if beat.incarnation not in record.clones:
        record.clones = (*record.clones, beat.incarnation)[-CLONES_KEPT:]
    return Verdict.FIRST_CLONE
