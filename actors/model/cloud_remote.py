"""What gpuyard and a cloud provider say to each other: an order, how a remote job stands, what a provider can do.

A *token* names one attempt at the provider. It is durable before the first call (it is made of the fence), so that
after a crash the remote job is found again by it and never made twice.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from gpuyard.actors.model.commands.runs import RunSpec

TOKEN_PREFIX: Final = "gy"


def token_of(db_id: str, fence: int) -> str:
    """The client token of an attempt; no two databases share one. Letters, digits and dashes, at most 40.

    >>> token_of("0a1b2c3d4e5f", 1099511627783)
    'gy-0a1b2c3d-1099511627783'
    """
    return f"{owner_of(db_id)}-{fence}"


def owner_of(db_id: str) -> str:
    """What all tokens of one database begin with."""
    kept = "".join(char for char in db_id.lower() if char.isascii() and char.isalnum())
    return f"{TOKEN_PREFIX}-{kept[:8]}"


def fence_in(token: str) -> int | None:
    """The fence that a token was made from; None for what is no token."""
    parts = token.split("-")
    if len(parts) != 3 or parts[0] != TOKEN_PREFIX or not (parts[2].isascii() and parts[2].isdigit()):
        return None
    return int(parts[2])


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt as a provider needs it.

    `spec` is what a keeper would get, `options` is JobSpec.provider_options. `asked_at` (epoch seconds): no remote job
    of this attempt can be older. `uploads` are the files that were uploaded before, name → what the provider calls it.
    """

    token: str
    spec: RunSpec
    name: str = ""
    options: dict[str, Any] = {}
    asked_at: float = 0.0
    uploads: dict[str, str] = {}

    @property
    def fence(self) -> int:
        return self.spec.fence


class Remote(msgspec.Struct, frozen=True, kw_only=True):
    """A job at the provider: its id there, and where a person finds it."""

    id: str
    url: str = ""


class RemoteState(StrEnum):
    """queued     The provider has it and has not begun.
    running    Its program lives.
    completed  It ended well. Final.
    failed     It ended otherwise; `exit_class` says how. Final.
    cancelled  It was stopped, by us or there. Final.
    gone       The provider says, in so many words, that it knows no such job.
    """

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    GONE = "gone"


ENDED: Final = frozenset({RemoteState.COMPLETED, RemoteState.FAILED, RemoteState.CANCELLED})


class RemoteStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a remote job stands. Times are epoch seconds.

    `exit_class` is set for failed ones (`model.story.ENDS`), `exit_code` where the provider tells one. `progress` is
    a short text for people ("3 jobs before it", "40 %"). `cost_usd` is what the provider says it cost so far.
    """

    state: RemoteState
    exit_code: int | None = None
    exit_class: str = ""
    message: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    progress: str = ""
    cost_usd: float | None = None


class LogPiece(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a remote log. `more`: there is more to be read at once."""

    data: bytes = b""
    more: bool = False


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The provider answers. `detail` in words: version, account, cluster."""

    detail: str = ""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider can do, and how it wants to be treated. Seconds may be decimal.

    `idempotent`: a second submit with a token begins no second job, but answers the first. `tokens`: its jobs carry our
    token; without it a job is only found by what it looks like. `listing`: all that carry one can be listed.
    `time_limit`: it ends a job at its limit by itself. `call_seconds` bounds one call (an upload may take
    `upload_seconds`); `settle_seconds` is how long a call that we gave up (or died in) may still make a job there.
    `poll_seconds` is the pause between two looks at running jobs, `batch` how many one look may ask for,
    `calls_at_once` how many calls may be under way.
    """

    logs: bool = True
    idempotent: bool = False
    tokens: bool = True
    listing: bool = False
    time_limit: bool = False
    webhooks: bool = False
    uploads: bool = False
    cost: bool = False
    call_seconds: float = 30.0
    upload_seconds: float = 3600.0
    settle_seconds: float = 60.0
    poll_seconds: float = 5.0
    batch: int = 100
    calls_at_once: int = 16

    def words(self) -> list[str]:
        """What it can do, for people."""
        flags = ("logs", "idempotent", "listing", "time_limit", "webhooks", "uploads", "cost")
        return [name for name in flags if getattr(self, name)]


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A call did not do what it should. `kind`:

    retry  It had no effect; again later.
    busy   The provider wants fewer calls; again after `retry_after` seconds.
    unsure It may have had its effect: nobody answered in time.
    down   The provider as a whole takes no calls (credential refused, unreachable): no use in going on.
    final  The provider refuses this very job, and would again.
    """

    kind: str
    text: str
    retry_after: float | None = None


def plain(value: Any) -> Any:
    """`value` as plain data, for a provider that speaks JSON."""
    return msgspec.to_builtins(value)
