"""A reference to an actor on another host: the same `tell` and `ask` as one in this process (`actors.base.Ref`).

PeerRef(context.ref(names.GATEWAY), names.GPUS, worker_id).ask(GetGpuFacts())     # on the server
PeerRef(context.ref(names.BULK), names.LOGS, worker_id).ask(ReadLog(fence=7))     # on the server
PeerRef(context.ref(names.BULK), names.BLOBS).ask(GetManifest(blob=…))            # on a worker
"""

from __future__ import annotations

from dataclasses import dataclass

from gpuyard.actors.base import Ref, Reply
from gpuyard.actors.model.commands import CallPeer, TellPeer
from gpuyard.actors.model.message import Message


@dataclass(frozen=True, slots=True)
class PeerRef:
    """`carrier` is the socket's actor, `name` the actor there, `user_id` the worker ("": the server).

    `timeout` (seconds) bounds how long an answer is waited for. Usable from every thread.
    """

    carrier: Ref
    name: str
    user_id: str = ""
    timeout: float = 10.0

    def tell(self, message: Message) -> None:
        """Send without an answer; what can't be sent is logged by the carrier."""
        self.carrier.tell(TellPeer(user_id=self.user_id, to=self.name, message=message, cause=message.cause))

    def ask(self, message: Message) -> Reply:
        """A future of the answer; errors are GpuyardError."""
        return self.carrier.ask(
            CallPeer(user_id=self.user_id, to=self.name, message=message, timeout=self.timeout, cause=message.cause)
        )
