"""What is stored of a worker: the register `worker`, one row each."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gpuyard.actors.model.registers import DropRecord, PutRecord

REGISTER: Final = "worker"


class Key(msgspec.Struct, frozen=True):
    """One public key (CURVE, Z85) of a worker. `user_id` is what AllowKeys calls it: the worker's id, a dot, a number
    that grows with each rotation. `until` (epoch seconds) is set for an old key that still works for a while."""

    user_id: str
    public_key: str
    until: float | None = None


class WorkerRecord(msgspec.Struct, kw_only=True):
    """A worker as it is stored. Times are epoch seconds.

    `order` is that of registration. `incarnation` is the life of the host that was admitted last, `journal` the
    identity of its journal and `life` the number of its start on it; `stranded` are fences that an earlier incarnation
    may have: they wait out their lease. `clones` are incarnations that spoke while another one did: what they say of
    its runs is not believed. `spent`: an ephemeral one that was given its job. `heard_at` and `connected_at` are
    written now and then, for show; `offline_since` is None while it is heard.
    """

    id: str
    name: str
    order: int
    created_at: float
    ephemeral: bool = False
    labels: dict[str, str] = {}
    keys: tuple[Key, ...] = ()
    drained: bool = False
    spent: bool = False
    incarnation: str = ""
    journal: str = ""
    life: int = 0
    stranded: tuple[int, ...] = ()
    clones: tuple[str, ...] = ()
    connected_at: float | None = None
    heard_at: float | None = None
    offline_since: float | None = None

    def row(self) -> PutRecord:
        """As the store takes it: plain columns; lists and objects become JSON there."""
        return PutRecord(REGISTER, msgspec.to_builtins(self))

    def drop(self) -> DropRecord:
        return DropRecord(REGISTER, {"id": self.id})


def from_row(row: dict[str, Any]) -> WorkerRecord:
    """As `LoadRegisters` gives it: lists and objects as JSON text, booleans as numbers."""
    values = dict(row)
    for name in ("labels", "keys", "stranded", "clones"):
        if isinstance(values.get(name), str):
            values[name] = msgspec.json.decode(values[name])
    return msgspec.convert(values, WorkerRecord, strict=False)
