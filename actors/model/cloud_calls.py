"""What the book of a provider wants done: calls to the provider. Each is answered once, by a result or a Trouble."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gpuyard.actors.model.cloud_remote import Order


class Upload(msgspec.Struct, frozen=True):
    """Bring the files of `order` there. Answer: name → what the provider calls it (Order.uploads)."""

    order: Order


class Submit(msgspec.Struct, frozen=True):
    """Make the remote job of `order`. Answer: Remote."""

    order: Order


class Find(msgspec.Struct, frozen=True):
    """Which remote jobs of these orders exist? Answer: token → Remotes, those without any left out.

    `anew`: what was written down when they were made does not count, the provider said that it knows no such job.
    `told` is token → remote id, as the provider's own webhooks named them.
    """

    orders: tuple[Order, ...]
    anew: bool = False
    told: Mapping[str, str] = {}


class Poll(msgspec.Struct, frozen=True):
    """How do these stand? (fence, remote id) each. Answer: remote id → RemoteStatus, as far as it is known."""

    jobs: tuple[tuple[int, str], ...]


class Fetch(msgspec.Struct, frozen=True):
    """Append what is new in the remote log to the run's. Answer: Fetched.

    `code` is set for the last read of a failed run: then the answer says why it failed, as far as the log tells.
    """

    fence: int
    remote_id: str
    code: int | None = None


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """`more`: there is more to be read at once. `exit_class` and `message` are what the log tells of a failure."""

    more: bool = False
    exit_class: str = ""
    message: str = ""


class Cancel(msgspec.Struct, frozen=True):
    """End the remote job. Answer: None; that it has ended is seen by a Poll."""

    fence: int
    remote_id: str


class Sweep(msgspec.Struct, frozen=True):
    """Which live remote jobs carry a token that begins with `owner`? Answer: (token, Remote) each."""

    owner: str


class Probe(msgspec.Struct, frozen=True):
    """Does the provider answer? Answer: Health."""


CloudCall = Upload | Submit | Find | Poll | Fetch | Cancel | Sweep | Probe
