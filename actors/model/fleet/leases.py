"""When a silent worker's run is lost (DESIGN 8, "Partition policy").

A worker lets a run with a lease live until `sent_at of the newest echoed heartbeat + lease`, on its own clock. The
server heard that heartbeat later than it was sent, so it counts from when it heard it, for a little longer than the
lease (the worker's clock may be slow) and a margin (for the time that stopping takes): after that no process of the run
is left, and its job may start elsewhere. It counts only what the right life of the host says: a rebooted host, or a
clone, beats on without knowing anything of a run that an earlier life may still have.
"""

from __future__ import annotations

from collections.abc import Iterator

from gpuyard.actors.model.fleet.settings import FleetSettings
from gpuyard.actors.model.fleet.worker import Wanted, Worker


def renew(worker: Worker, incarnation: str, now: float) -> None:
    """A heartbeat of this life was heard, and will be answered."""
    for want in worker.wants.values():
        if want.incarnation == incarnation:
            want.base = now


def lapses_at(want: Wanted, settings: FleetSettings) -> float | None:
    """When (server's monotonic) the run is lost if nothing is heard; None for one that is never lost by itself."""
    if want.order is None or want.order.lease_seconds is None:
        return None
    return want.base + settings.waited_out(want.order.lease_seconds)


def lapsed(worker: Worker, settings: FleetSettings, now: float) -> Iterator[Wanted]:
    """Runs that are lost now, for the first time."""
    for want in worker.wants.values():
        if want.live:
            at = lapses_at(want, settings)
            if (at is not None and now >= at) or (at is None and _given_up(worker, want)):
                yield want


def _given_up(worker: Worker, want: Wanted) -> bool:
    """A run of the policy `hold` that somebody cancelled, on a host that was rebooted since. If its present life is one
    that spoke while another did, the other may be running it still."""
    session = worker.session
    if want.stop_reason is None or session is None or session.incarnation == want.incarnation:
        return False
    return session.incarnation not in worker.record.clones


def unreachable(worker: Worker, settings: FleetSettings, now: float) -> tuple[int, ...]:
    """Fences of live runs of which nothing was heard for so long that their worker counts as offline."""
    return tuple(
        want.fence for want in worker.wants.values() if want.live and now - want.base >= settings.offline_after
    )
