"""Gateway: where workers reach the server (DESIGN 8). A ROUTER over TCP behind CURVE and an allow-list.

Takes AllowKeys and SendToPeer (WorkerRegistry), IssueToken (WorkerRegistry, asked), CallPeer and TellPeer (remote
references, asked), GetGatewayStats (Frontend, asked), Ready. Tells WorkerRegistry KeysWanted at its start (until
AllowKeys comes every key is refused) and PeerSaid for each heartbeat of an allowed key, decoded; tells the bulk
socket AllowKeys. A worker without a session is reached neither by SendToPeer nor by CallPeer.

Which connection of a worker CallPeer uses: the one to which the last Sync without `refused` went, else the newest.
"""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from gpuyard.actors.base import Context, Reply
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import AllowKeys, IssueToken, SendToPeer
from gpuyard.actors.model.errors import GpuyardError
from gpuyard.actors.model.events import KeysWanted, PeerSaid
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.views import TokenIssued
from gpuyard.actors.model.wire import Heartbeat
from gpuyard.transport import wire_calls, wire_codec as wire
from gpuyard.transport.bulk_open import BulkOpen, GatewayOpen
from gpuyard.transport.causes import Cause
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.keys import KeyPair
from gpuyard.transport.peer_server import PeerServer, PeerServerSettings
from gpuyard.transport.session import ServerSession
from gpuyard.transport.token import WorkerToken

log = logging.getLogger("gpuyard.transport")


class Gateway(PeerServer):
    """The control socket: heartbeats up, syncs down, questions both ways."""

    purpose = wire.CONTROL
    ours = wire_calls.OF_A_WORKER
    theirs = wire_calls.OF_THE_SERVER

    def __init__(self, context: Context, settings: PeerServerSettings) -> None:
        super().__init__(context, settings)
        self._workers = context.ref(names.WORKERS)
        self._bulk = context.ref(names.BULK)
        self._bulk_port = 0
        self._keys_came = False

    def _address(self) -> Endpoint:
        return self._settings.bind

    def _opened(self) -> None:
        log.info("workers connect to %s", self._advertised())
        self._workers.tell(KeysWanted())
        self._bulk.tell(GatewayOpen())

    def _handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case SendToPeer():
                return self._send_to(message)
            case AllowKeys():
                self._keys_came = True
                self._bulk.tell(message)
                return self._allow(message.keys)
            case BulkOpen(port=port):
                return self._bulk_opened(port)
            case IssueToken():
                return self._issue_token()
            case _:
                return super()._handle(message, reply)

    def _beats(self, route: bytes, session: ServerSession, said: Heartbeat) -> None:
        self._workers.tell(
            PeerSaid(user_id=session.user_id, route=route, said=said, address=session.address, key=session.key)
        )

    def _send_to(self, message: SendToPeer) -> None:
        session = self._sessions.get(message.route)
        if session is None or session.user_id != message.user_id or not session.may_send():
            self._tally.add(Cause.MISROUTED)
            return
        try:
            data = wire.pack_sync(message.sync)
        except GpuyardError as error:
            self._tally.add(Cause.TOO_LARGE)
            log.error("a sync for worker %s can't be sent: %s", message.user_id, error)
            return
        if self._send(message.route, data) and not message.sync.refused:
            self._sessions.prefer(message.user_id, message.route)

    def _greeting(self, session: ServerSession) -> wire.Greeted:
        return msgspec.structs.replace(super()._greeting(session), bulk_port=self._bulk_port)

    def _bulk_opened(self, port: int) -> None:
        """Workers are told anew where it listens."""
        advertise = self._settings.advertise
        self._bulk_port = advertise.port + 1 if advertise and self._settings.bind.port else port
        if self._keys_came:
            self._bulk.tell(AllowKeys(keys=self._keys))
        for route, session in self._sessions:
            if session.may_send():
                self._send(route, wire.pack(self._greeting(session)))

    def _issue_token(self) -> TokenIssued:
        pair, endpoint = KeyPair.new(), self._advertised()
        token = WorkerToken((endpoint,), self._settings.keys.public, pair)
        return TokenIssued(public_key=pair.public, token=token.encode(), endpoint=str(endpoint))
