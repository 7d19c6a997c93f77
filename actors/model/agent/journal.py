"""The journal: what a worker must still know after its own crash. An append-only list of entries.

An entry is written before what it tells of is done, so that a run that lives stands in it whatever happens. What has
ended stays until the server has acknowledged it. The keepers' files know how a run ended; the journal knows that it was
ordered here.
"""

from __future__ import annotations

import msgspec

from gpuyard.actors.model.commands import WantRun


class Began(msgspec.Struct, frozen=True, tag=True):
    """A worker's process begins to write: `id` names the journal for its whole life, `life` counts these beginnings.
    So a copy of a worker's folder can be told from one that moved on."""

    id: str
    life: int = 1


class Obeyed(msgspec.Struct, frozen=True, tag=True):
    """The database whose wishes are followed from now on; only a higher epoch of it replaces it."""

    db_id: str
    db_epoch: int


class Ordered(msgspec.Struct, frozen=True, tag=True):
    """A run that may have been started from now on, in this life of the host."""

    want: WantRun
    spec_hash: str
    incarnation: str


class StopAsked(msgspec.Struct, frozen=True, tag=True):
    """The server said stop; that is never taken back."""

    fence: int
    reason: str


class Ended(msgspec.Struct, frozen=True, tag=True):
    """An end that no keeper can tell: it was never started, or went down with its host."""

    fence: int
    exit_class: str
    message: str
    at: float


class Forgotten(msgspec.Struct, frozen=True, tag=True):
    """The server has acknowledged the end."""

    fence: int


class Highest(msgspec.Struct, frozen=True, tag=True):
    """No fence up to this one is ever started here again. Written when a journal is shortened."""

    fence: int


Entry = Began | Obeyed | Ordered | StopAsked | Ended | Forgotten | Highest
