"""What a worker is told: the whole wanted set, and what it may forget.

A run is in it with its order until the worker has reported that it has it; one that an earlier life of the host may
still have is left out until its lease has been waited out, and then stands as `stop`, so that the worker says when its
GPUs are empty. One that the worker reports as ended is not in it. What is not in it lives on.
"""

from __future__ import annotations

import hashlib

import msgspec

from gpuyard.actors.model.commands import RunSpec
from gpuyard.actors.model.fleet.settings import FleetSettings
from gpuyard.actors.model.fleet.worker import Session, Wanted, Worker
from gpuyard.actors.model.wire import STOP, Heartbeat, Sync, Want

WAITED_OUT = "no word from the worker for longer than its lease"


def spec_hash(run: RunSpec) -> tuple[str, int]:
    """What tells two orders apart, and the size of this one in bytes."""
    packed = msgspec.msgpack.encode(run)
    return hashlib.sha256(packed).hexdigest()[:16], len(packed)


def sync(
    worker: Worker, session: Session, settings: FleetSettings, identity: tuple[str, int], complete: bool, leave: bool
) -> Sync:
    """The newest word for the admitted session. `identity` is our database's id and epoch."""
    session.syncs += 1
    beat = session.beat
    return Sync(
        db_id=identity[0],
        db_epoch=identity[1],
        session=session.id,
        n=beat.n,
        sent_at=beat.sent_at,
        want=_wanted(worker, session, settings, complete),
        ack=tuple(sorted(worker.acks)),
        leave=leave,
        heartbeat_seconds=settings.heartbeat,
        complete=complete,
        seq=session.syncs,
        end=dict(worker.ending),
    )


def refusal(beat: Heartbeat, why: str, settings: FleetSettings, identity: tuple[str, int]) -> Sync:
    """To a session that is not listened to: it changes nothing there, and renews no lease."""
    return Sync(
        db_id=identity[0],
        db_epoch=identity[1],
        session=beat.session,
        n=beat.n,
        sent_at=beat.sent_at,
        refused=why,
        heartbeat_seconds=settings.heartbeat,
        complete=False,
    )


def _wanted(worker: Worker, session: Session, settings: FleetSettings, complete: bool) -> dict[int, Want]:
    room = settings.specs_per_sync
    wanted: dict[int, Want] = {}
    for fence in sorted(worker.wants):
        want = worker.wants[fence]
        if want.ended and fence in session.beat.attempts:
            continue  # it waits to be acknowledged
        if want.order is None and not complete:
            continue  # its order may still come
        if want.decided:
            wanted[fence] = Want(action=STOP, reason=want.stop_reason or WAITED_OUT)
        elif want.incarnation != session.incarnation:
            continue
        elif want.stop_reason is not None:
            wanted[fence] = Want(action=STOP, reason=want.stop_reason)
        elif want.order is not None:
            # Of this session alone: an earlier one may have gone down before its journal had the order.
            report = session.beat.attempts.get(fence)
            known = report is not None and report.spec_hash == want.spec_hash
            # In order of fences, and at least one: the rest follows when these are reported.
            sends = not known and (room >= want.size or room == settings.specs_per_sync)
            room = room - want.size if sends else room if known else 0
            wanted[fence] = _run(want, sends, settings)
    return wanted


def _run(want: Wanted, with_spec: bool, settings: FleetSettings) -> Want:
    assert want.order is not None
    return Want(
        spec_hash=want.spec_hash,
        spec=want.order.run if with_spec else None,
        started=want.order.started or want.started_told,
        lease_seconds=want.order.lease_seconds,
        checkpoint_signal=want.order.checkpoint_signal,
        lease_grace=settings.lease_margin / 2,
    )
