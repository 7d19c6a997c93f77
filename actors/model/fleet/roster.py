"""Which workers there are, by id, by name and by key; enrolment, drain, rotation, deletion."""

from __future__ import annotations

from collections.abc import Iterable

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import AllowKeys
from gpuyard.actors.model.errors import InvalidInput, NotFound, WrongState
from gpuyard.actors.model.fleet import keys
from gpuyard.actors.model.fleet.outbox import FleetOutbox
from gpuyard.actors.model.fleet.record import Key, WorkerRecord
from gpuyard.actors.model.fleet.settings import FleetSettings
from gpuyard.actors.model.fleet.states import WorkerState
from gpuyard.actors.model.fleet.worker import Worker
from gpuyard.actors.model.outbox import Now


class Roster:
    """`workers` are all of them, by id, in order of registration."""

    def __init__(self, records: Iterable[WorkerRecord], heard_at: float) -> None:
        ordered = sorted(records, key=lambda record: record.order)
        self.workers = {record.id: Worker(record=record, heard_at=heard_at) for record in ordered}
        self._by_user: dict[str, Worker] = {}
        self._index()

    def speaker(self, user_id: str) -> Worker | None:
        """Whose key the gateway calls so; None for one that is void."""
        return self._by_user.get(user_id)

    def allow_keys(self) -> AllowKeys:
        return AllowKeys(keys={key.public_key: key.user_id for w in self.workers.values() for key in w.record.keys})

    def find(self, worker: str) -> Worker:
        """By id, by name, or by a unique prefix of an id. Raises NotFound."""
        if worker in self.workers:
            return self.workers[worker]
        for found in self.workers.values():
            if found.record.name == worker:
                return found
        alike = [known for known in self.workers if worker and known.startswith(worker)]
        if len(alike) == 1:
            return self.workers[alike[0]]
        many = f": {len(alike)} workers begin with it" if alike else ""
        raise NotFound(f"there is no worker {worker}{many}; `gpuyard workers list` shows all", worker_id=worker)

    def enrol(
        self,
        worker_id: str,
        name: str,
        public_key: str,
        now: Now,
        out: FleetOutbox,
        *,
        ephemeral: bool,
        labels: dict[str, str],
    ) -> Worker:
        """Raises InvalidInput where the name or the key is taken."""
        if any(worker.record.name == name for worker in self.workers.values()):
            raise InvalidInput(f"there is a worker {name} already: choose another name", field="name")
        self._refuse_known(public_key)
        record = WorkerRecord(
            id=worker_id,
            name=name,
            order=max((worker.record.order for worker in self.workers.values()), default=0) + 1,
            created_at=now.wall,
            ephemeral=ephemeral,
            labels=labels,
            keys=keys.first(worker_id, public_key),
        )
        worker = self.workers[worker_id] = Worker(record=record, heard_at=now.monotonic)
        out.records.append(record.row())
        self._keys_changed(out)
        return worker

    def remove(self, worker: Worker, out: FleetOutbox, *, force: bool) -> None:
        """Raises WrongState while it has jobs, without `force`."""
        jobs = worker.jobs
        if jobs and not force:
            raise WrongState(
                f"worker {worker.record.name} has {len(jobs)} job(s) ({', '.join(jobs[:3])}): drain it and wait, or"
                " delete it with --force, which ends them as lost",
                jobs=jobs,
            )
        del self.workers[worker.id]
        out.records.append(worker.record.drop())
        self._keys_changed(out)

    def rotate(self, worker: Worker, public_key: str, until: float | None, out: FleetOutbox) -> None:
        """Raises InvalidInput where the key is taken."""
        self._refuse_known(public_key)
        worker.record.keys = keys.rotated(worker.record, public_key, until)
        out.records.append(worker.record.row())
        self._keys_changed(out)

    def keep_keys(self, worker: Worker, kept: tuple[Key, ...], out: FleetOutbox) -> None:
        """The others are void from now on."""
        if kept != worker.record.keys:
            worker.record.keys = kept
            out.lazy.append(worker.record.row())
            self._keys_changed(out)

    def _refuse_known(self, public_key: str) -> None:
        if any(key.public_key == public_key for w in self.workers.values() for key in w.record.keys):
            raise InvalidInput("this key is another worker's", field="public_key")

    def _keys_changed(self, out: FleetOutbox) -> None:
        self._index()
        out.tell(names.GATEWAY, self.allow_keys())

    def _index(self) -> None:
        self._by_user = {key.user_id: worker for worker in self.workers.values() for key in worker.record.keys}


def has_left_for_good(worker: Worker, settings: FleetSettings, wall: float) -> bool:
    """Is it an ephemeral one that has been offline for long, with nothing of ours on it?"""
    record = worker.record
    if not record.ephemeral or worker.state is not WorkerState.OFFLINE or worker.wants:
        return False
    return record.offline_since is not None and wall - record.offline_since >= settings.ephemeral_kept
