"""`gpuyard worker` with an unreliable post office: `python -m tests.net.chaotic_worker SEED FLAGS…`.

Frames are encrypted and a TCP stream loses none, so what is lost, doubled and overtaken has to be so between the socket
and the agent: one in five heartbeats and one in five answers never arrives, one in ten comes twice, and each takes its
own time, so that they overtake each other. The sockets, the server and the agent are the real ones.
"""

from __future__ import annotations

import logging
import random
import sys
from typing import Any, ClassVar

import msgspec

from gpuyard.actors.base import Reply
from gpuyard.actors.model.commands import SendHeartbeat
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.wire import Sync
from gpuyard.cli import worker_wiring
from gpuyard.cli.main import root
from gpuyard.transport.uplink import Uplink

log = logging.getLogger("gpuyard.chaos")

LOST, DOUBLED, LONGEST_DELAY = 0.2, 0.1, 0.8


class Delivered(Message, frozen=True, kw_only=True):
    """Something that was on its way has arrived. From: the actor's own timer."""

    what: Any


class ChaoticUplink(Uplink):
    """Deals with a share of what it carries as a bad network would."""

    random: ClassVar[random.Random]
    carried = lost = doubled = 0

    def stopped(self) -> None:
        log.info("of %d frames %d were lost and %d doubled", self.carried, self.lost, self.doubled)
        super().stopped()

    def _handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case Delivered(what=SendHeartbeat() as beat):
                return super()._handle(beat, reply)
            case Delivered(what=sync):
                return super()._synced(sync)
            case SendHeartbeat():
                return self._carry(message)
            case _:
                return super()._handle(message, reply)

    def _synced(self, sync: Sync) -> None:
        # As the server meant it, not as the newest of several that waited.
        self._carry(msgspec.structs.replace(sync))

    def _carry(self, what: Any) -> None:
        self.carried += 1
        if self.random.random() < LOST:
            self.lost += 1
            return
        copies = 2 if self.random.random() < DOUBLED else 1
        self.doubled += copies - 1
        for _ in range(copies):
            self.inbox.after(self.random.uniform(0, LONGEST_DELAY) ** 2, Delivered(what=what))


if __name__ == "__main__":
    ChaoticUplink.random = random.Random(int(sys.argv.pop(1)))
    worker_wiring.Uplink = ChaoticUplink  # type: ignore[misc]
    root.main(["worker", *sys.argv[1:]])
