"""What a cloud provider is to gpuyard: the one interface, its errors, and where others plug in theirs.

A provider is a class whose instances fulfil `Provider`. Its methods are coroutines; they run on an event loop (and in
a thread) that belongs to this provider alone, so that a slow one delays nobody else. What blocks goes through
`asyncio.to_thread`. A provider remembers nothing: the remote side does, and what it must know it is told.

A third party's package names its class in the entry point group `gpuyard.providers`:

    [project.entry-points."gpuyard.providers"]
    mycloud = "my_package.provider:MyCloud"

The class is called with the settings table `[providers.mycloud]` and the server's data folder, and raises
`NotConfigured` when it cannot work with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from gpuyard.actors.model.cloud_remote import Capabilities, Health, LogPiece, Order, Remote, RemoteStatus

GROUP: Final = "gpuyard.providers"


class ProviderError(Exception):
    """Base of what a provider raises on purpose. The text is a sentence for the job's owner: no secret stands in it."""


class Retryable(ProviderError):
    """The call had no effect, and the same call may work later.

    `unsure`: nobody knows whether it had its effect (no answer in time, a connection that broke). `busy`: the
    provider wants fewer calls, again after `retry_after` seconds. `down`: no call at all will work until somebody
    does something (a refused credential, an unreachable address).
    """

    def __init__(
        self,
        text: str,
        *,
        unsure: bool = False,
        busy: bool = False,
        down: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.unsure, self.busy, self.down, self.retry_after = unsure, busy, down, retry_after

    @property
    def kind(self) -> str:
        """As in `model.cloud_remote.Trouble`."""
        return "busy" if self.busy else "down" if self.down else "unsure" if self.unsure else "retry"


class Refused(ProviderError):
    """The provider refuses this very job, and would again."""

    kind: Final = "final"


class NotConfigured(ProviderError):
    """The settings do not suffice. The text says what to set."""


class Forged(ProviderError):
    """A webhook whose signature is missing, wrong or too old."""


@runtime_checkable
class Provider(Protocol):
    """One cloud provider or cluster engine. All methods but `capabilities` may raise Retryable and Refused."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; does not change while it lives."""

    async def upload(self, order: Order, progress: Callable[[str], None]) -> Mapping[str, str]:
        """Bring `order.spec.sent` there; what is there already, after a crash or of another job, is not sent again.
        Answers name → what `submit` finds in `order.uploads`. `progress` takes a line for the job's log. Only with
        `capabilities.uploads`."""

    async def submit(self, order: Order) -> Remote:
        """Make the remote job, which carries `order.token`. With `capabilities.idempotent` a second call answers the
        first one's job."""

    async def find(self, orders: Sequence[Order]) -> Mapping[str, Sequence[Remote]]:
        """The remote jobs of these orders, by token, ended ones too; the oldest first. Tokens without one are left
        out. Without `capabilities.tokens` these are all jobs that look like the order's: those that are known to be
        another's are left out by the caller."""

    async def sweep(self, owner: str) -> Sequence[tuple[str, Remote]]:
        """Every remote job that has not ended and whose token begins with `owner`. Only with `capabilities.listing`."""

    async def status(self, remote_ids: Sequence[str]) -> Mapping[str, RemoteStatus]:
        """How these stand. One that is left out is not known at this moment; `gone` is a word of the provider's."""

    async def logs(self, remote_id: str, offset: int) -> LogPiece:
        """The log from byte `offset` on, as far as it is there; at most some MiB at once."""

    async def cancel(self, remote_id: str) -> None:
        """Ask for its end; harmless for one that has ended. That it has ended is seen by `status`."""

    async def health(self) -> Health:
        """Does it answer, with our credential? Raises Retryable with a sentence if not."""

    async def close(self) -> None:
        """Let go of connections; nothing is called afterwards."""


class ProviderClass(Protocol):
    """How a provider is made."""

    def __call__(self, settings: Mapping[str, Any], data_dir: Path) -> Provider:
        """Raises NotConfigured. Must not block: no call to the provider yet."""
