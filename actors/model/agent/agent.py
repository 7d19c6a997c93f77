"""The agent: makes its host run what the server wants, and tells the server what runs. What the worker process drives.

Pure: the time comes in (`Now.monotonic` is CLOCK_BOOTTIME), effects go into an AgentOutbox. The process makes an Agent
from its journal, hands it every message of its ProcessKeeper, its LocalGPUAllocator and its uplink, performs the
outbox (journal first), and calls `tick` at least every half heartbeat, and by `next_tick`.

It says to the keeper WantRun, WantStop, ForgetRun, RenewLeases, WantedComplete; to the allocator WatchGpus, WatchStart,
WatchRelease; to the uplink SendHeartbeat. Leases are enforced by the keepers and the ProcessKeeper, which are told when
each ends; the agent tells them each renewal.
"""

from __future__ import annotations

from collections.abc import Iterable

from gpuyard.actors.model.agent.journal import Entry
from gpuyard.actors.model.agent.outbox import AgentOutbox
from gpuyard.actors.model.agent.settings import AgentSettings
from gpuyard.actors.model.events import (
    AttemptExited,
    AttemptStarted,
    GpuEmptied,
    GpuFacts,
    LinkChanged,
    OrphanSeen,
    RunsAdopted,
)
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.wire import Sync


class Agent:
    """`session` is a random name for this life of the process, `incarnation` that of the host (boot id, inode of the
    pid namespace, start time of its pid 1). `journal` are the entries on the disk, oldest first; an empty one begins
    with `journal_id`, a random name too."""

    def __init__(
        self,
        settings: AgentSettings,
        session: str,
        incarnation: str,
        journal: Iterable[Entry],
        journal_id: str,
        now: Now,
        out: AgentOutbox,
    ) -> None:
        raise NotImplementedError

    refused: str
    """Why the server gives no work, in words; empty when it does."""

    # --- what the server and the link say ---

    def synced(self, sync: Sync, now: Now, out: AgentOutbox) -> None:
        """What the server wants. An older one than the newest, or one for another session, changes nothing."""
        raise NotImplementedError

    def link_changed(self, link: LinkChanged, now: Now, out: AgentOutbox) -> None:
        """The link stands (a heartbeat leaves at once), or does not."""
        raise NotImplementedError

    # --- what the host says ---

    def adopted(self, event: RunsAdopted, now: Now, out: AgentOutbox) -> None:
        """The ProcessKeeper has looked through its folders: before that no heartbeat leaves and nothing is started."""
        raise NotImplementedError

    def started(self, event: AttemptStarted, now: Now, out: AgentOutbox) -> None:
        """A run lives."""
        raise NotImplementedError

    def exited(self, event: AttemptExited, now: Now, out: AgentOutbox) -> None:
        """A run has ended; its GPUs are watched until they are empty."""
        raise NotImplementedError

    def emptied(self, event: GpuEmptied, now: Now, out: AgentOutbox) -> None:
        """GPUs of an ended run are empty."""
        raise NotImplementedError

    def orphan_seen(self, event: OrphanSeen, now: Now, out: AgentOutbox) -> None:
        """A run lives that is not in the journal."""
        raise NotImplementedError

    def gpu_facts(self, event: GpuFacts, now: Now, out: AgentOutbox) -> None:
        """The newest facts about the GPUs, for the next heartbeat; what can be handed out is said at once."""
        raise NotImplementedError

    # --- time ---

    def tick(self, now: Now, out: AgentOutbox) -> None:
        """A heartbeat, if one is due."""
        raise NotImplementedError

    def next_tick(self, now: Now) -> float:
        """Seconds until `tick` has something to do."""
        raise NotImplementedError

    def leave(self, now: Now, out: AgentOutbox) -> None:
        """The process is asked to end (SIGTERM): say so in a last heartbeat. Runs live on."""
        raise NotImplementedError

    # --- questions ---

    @property
    def may_end(self) -> bool:
        """The server said `leave` (an ephemeral worker has done its job) and nothing is left to report."""
        raise NotImplementedError

    def shortened(self) -> list[Entry]:
        """The entries that say the same as the whole journal, for a new file in its place."""
        raise NotImplementedError
