"""Uplink: a worker's link to the server (DESIGN 8). A DEALER with the worker's own CURVE key out of its token.

Takes SendHeartbeat (the agent; dropped while the link does not stand), CallPeer and TellPeer (remote references,
asked), Ready. Tells the agent LinkChanged (stands, fell, could not be made and why) and each Sync that arrives; of
several that waited, only the last. Tells the bulk socket Dial, once the server has accepted us (a Sync that does not
refuse us), and HangUp when it has not: a clone must not be asked for a worker's logs.

It never gives up: a denied key or a server that is away is tried again, with growing pauses. Whether to end is the
agent's to decide.
"""

from __future__ import annotations

import logging
from typing import Any

from gpuyard.actors.base import Context, Reply
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import SendHeartbeat
from gpuyard.actors.model.errors import GpuyardError
from gpuyard.actors.model.events import LinkChanged
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.wire import Sync
from gpuyard.transport import wire_calls, wire_codec as wire
from gpuyard.transport.dial import Dial, HangUp, WhereTo
from gpuyard.transport.peer_client import PeerClient, PeerClientSettings

log = logging.getLogger("gpuyard.transport")


class Uplink(PeerClient):
    """The control socket: heartbeats up, syncs down, questions both ways."""

    purpose = wire.CONTROL
    ours = wire_calls.OF_THE_SERVER
    theirs = wire_calls.OF_A_WORKER

    def __init__(self, context: Context, settings: PeerClientSettings) -> None:
        super().__init__(context, settings)
        self._agent = context.ref(names.AGENT)
        self._bulk = context.ref(names.BULK)
        self._told: LinkChanged | None = None
        self._bulk_port = 0
        self._accepted = False

    def _handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case SendHeartbeat():
                return self._beat(message)
            case WhereTo():
                return self._tell_bulk()
            case _:
                return super()._handle(message, reply)

    def _beat(self, message: SendHeartbeat) -> None:
        try:
            if not self._say(message.said):
                log.debug("heartbeat %d was not sent: the link does not stand", message.said.n)
        except GpuyardError as error:
            log.error("heartbeat %d can't be sent: %s", message.said.n, error)

    def _stands(self, greeted: wire.Greeted) -> None:
        self._bulk_port = greeted.bulk_port
        self._tell_agent(LinkChanged(up=True, user_id=greeted.user_id, protocol=greeted.protocol))
        self._tell_bulk()

    def _fell(self, reason: str, refused: bool) -> None:
        self._tell_agent(LinkChanged(up=False, reason=reason, refused=refused))

    def _tell_agent(self, news: LinkChanged) -> None:
        if news == self._told:
            return
        self._told = news
        if news.up:
            log.debug("the link to the server stands: this is worker %s", news.user_id)
        else:
            log.debug("the link to the server does not stand: %s", news.reason)
        self._agent.tell(news)

    def _synced(self, sync: Sync) -> None:
        self._agent.tell(sync)
        accepted = not sync.refused
        if accepted != self._accepted:
            self._accepted = accepted
            self._tell_bulk()

    def _tell_bulk(self) -> None:
        if not self._accepted:
            self._bulk.tell(HangUp())
        elif self._bulk_port and self.dialled is not None:
            self._bulk.tell(Dial(endpoint=str(self.dialled.at(self._bulk_port))))
