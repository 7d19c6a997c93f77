"""The fleet: all workers, and the only class that the WorkerRegistry actor drives.

Pure: the time comes in, effects go into a FleetOutbox. The actor makes a Fleet from the stored records, hands it every
message below, performs the outbox, calls `tick` at least once a second and `flush` when its inbox is empty (or 50 ms
after the last change). A Fleet that was lost is made anew from the records; runs do not notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from gpuyard.actors.model.commands import AllowKeys, ForgetRun, WantedComplete, WantRun, WantStop
from gpuyard.actors.model.events import PeerSaid
from gpuyard.actors.model.fleet.outbox import FleetOutbox
from gpuyard.actors.model.fleet.record import WorkerRecord
from gpuyard.actors.model.fleet.settings import FleetSettings
from gpuyard.actors.model.fleet.worker import Worker
from gpuyard.actors.model.outbox import Now


class Fleet:
    """`db_id` and `db_epoch` are those of our database, `records` the stored workers, `now` the moment of this start:
    every attempt gets a full new lease from it. `counters` counts what was ignored or refused, by cause."""

    def __init__(
        self, settings: FleetSettings, db_id: str, db_epoch: int, records: Iterable[WorkerRecord], now: Now
    ) -> None:
        raise NotImplementedError

    settings: FleetSettings
    workers: dict[str, Worker]
    counters: Counter[str]

    # --- what workers say ---

    def heard(self, said: PeerSaid, now: Now, out: FleetOutbox) -> None:
        """A heartbeat. Tells the gateway a SendToPeer(Sync) at once, and the Scheduler what it reports (AttemptStarted,
        AttemptExited, GpuEmptied, OrphanSeen). One that is stale, replayed, or of nobody is counted and ignored."""
        raise NotImplementedError

    def tick(self, now: Now, out: FleetOutbox) -> None:
        """What silence and time bring: offline, lost leases, old keys, ephemeral workers that have gone."""
        raise NotImplementedError

    def flush(self, now: Now, out: FleetOutbox) -> None:
        """Tell the Scheduler WorkerFacts if something changed that it places by, and workers the Syncs that are due
        because our side changed. Cheap when there is nothing."""
        raise NotImplementedError

    # --- what the Scheduler wants (WantRun … with a worker's id as `host`) ---

    def want_run(self, want: WantRun, now: Now, out: FleetOutbox) -> None:
        """This run shall live on `want.host`. Repeat: harmless. On a host that is no worker (any more) it is reported
        lost when its lease has been waited out."""
        raise NotImplementedError

    def want_stop(self, stop: WantStop, now: Now, out: FleetOutbox) -> None:
        """This run shall end. Repeat: harmless."""
        raise NotImplementedError

    def forget_run(self, forget: ForgetRun, now: Now, out: FleetOutbox) -> None:
        """The end of this run is durable. The worker is acknowledged once its GPUs were reported empty too."""
        raise NotImplementedError

    def wanted_complete(self, complete: WantedComplete, now: Now, out: FleetOutbox) -> None:
        """All live attempts on workers have been wanted; until then nothing is an orphan and nobody new is admitted.
        `fences` may name runs of other hosts too. What is not among them and not told to stop is not wanted any more:
        it lives on as an orphan."""
        raise NotImplementedError

    # --- what administrators do; `worker` is an id or a name ---

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
        raise NotImplementedError

    def drain(self, worker: str, now: Now, out: FleetOutbox) -> Worker:
        """No new work for it from now on. Raises NotFound. Repeat: harmless."""
        raise NotImplementedError

    def undrain(self, worker: str, now: Now, out: FleetOutbox) -> Worker:
        """It gets work again. Raises NotFound. Repeat: harmless."""
        raise NotImplementedError

    def rotate(self, worker: str, public_key: str, now: Now, out: FleetOutbox, *, revoke: bool = False) -> Worker:
        """A new key. The old one works until the new one connects or `key_grace` has passed; `revoke` ends it now.
        Raises NotFound, InvalidInput (the key is taken)."""
        raise NotImplementedError

    def delete(self, worker: str, now: Now, out: FleetOutbox, *, force: bool = False) -> Worker:
        """The worker is no more and its keys are void. With jobs on it: raises WrongState without `force`; with it,
        runs with a lease are lost once that has been waited out, those of the policy `hold` at once."""
        raise NotImplementedError

    # --- questions ---

    def find(self, worker: str) -> Worker:
        """By id, by name, or by a unique prefix of an id. Raises NotFound."""
        raise NotImplementedError

    def keys(self) -> AllowKeys:
        """The whole allow-list, for a gateway that has just started (KeysWanted). Changes are told by themselves."""
        raise NotImplementedError
