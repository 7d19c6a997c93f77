"""The keys of workers: each stands for its worker until it is dropped. Rotation keeps the old one for a while."""

from __future__ import annotations

from gpuyard.actors.model.fleet.record import Key, WorkerRecord


def first(worker_id: str, public_key: str) -> tuple[Key, ...]:
    return (Key(f"{worker_id}.1", public_key),)


def rotated(record: WorkerRecord, public_key: str, until: float | None) -> tuple[Key, ...]:
    """With a new newest key; the one before it works until `until` (epoch seconds; None: no longer)."""
    newest = record.keys[-1]
    number = int(newest.user_id.rpartition(".")[2]) + 1
    new = Key(f"{record.id}.{number}", public_key)
    return (new,) if until is None else (Key(newest.user_id, newest.public_key, until), new)


def connected(record: WorkerRecord, user_id: str) -> tuple[Key, ...]:
    """Once the newest key has been used by the admitted session, the old one is void."""
    return record.keys[-1:] if record.keys and record.keys[-1].user_id == user_id else record.keys


def unexpired(record: WorkerRecord, wall: float) -> tuple[Key, ...]:
    return tuple(key for key in record.keys if key.until is None or key.until > wall)
