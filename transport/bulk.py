"""The bulk sockets: job files and logs, on a connection of their own, so that a heartbeat never waits behind them.

`Bulk` (server) listens on the port after the gateway's, behind the same keys; `BulkUplink` (worker) connects once the
uplink was accepted. Both carry calls only. The server asks a worker's log reader (ReadLog, a piece at a time and only
while somebody follows: the window is one piece a follower); a worker asks the server's blobs (GetManifest, ReadChunk)
and for the secrets of its runs (FetchSecrets; only a worker that the server has accepted dials this socket).

Both take CallPeer and TellPeer (remote references, asked) and Ready. `Bulk` takes AllowKeys (the gateway) and
GetGatewayStats (Frontend, asked), and tells the gateway BulkOpen. `BulkUplink` takes Dial and HangUp (the uplink).
Logs are dropped first: more than `LOG_CALLS` open questions for logs of one worker are answered with Busy.
"""

from __future__ import annotations

from typing import Any, Final

from gpuyard.actors.base import Context, Reply
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import CallPeer
from gpuyard.actors.model.errors import Busy
from gpuyard.actors.model.message import Message
from gpuyard.transport import wire_calls, wire_codec as wire
from gpuyard.transport.bulk_open import BulkOpen, GatewayOpen
from gpuyard.transport.causes import Cause
from gpuyard.transport.dial import Dial, HangUp, WhereTo
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.peer_client import PeerClient, PeerClientSettings
from gpuyard.transport.peer_server import PeerServer, PeerServerSettings

LOG_CALLS: Final = 8


class Bulk(PeerServer):
    """The server's bulk socket."""

    purpose = wire.BULK
    ours = wire_calls.BULK_OF_A_WORKER
    theirs = wire_calls.BULK_OF_THE_SERVER

    def __init__(self, context: Context, settings: PeerServerSettings) -> None:
        super().__init__(context, settings)
        self._gateway = context.ref(names.GATEWAY)

    def _address(self) -> Endpoint:
        bind = self._settings.bind
        return bind.at(bind.port + 1 if bind.port else 0)

    def _opened(self) -> None:
        self._gateway.tell(BulkOpen(port=self._socket.port))

    def _handle(self, message: Message, reply: Reply | None) -> Any:
        if isinstance(message, GatewayOpen):
            return self._opened()
        return super()._handle(message, reply)

    def _ask(self, call: CallPeer, reply: Reply | None) -> Any:
        if self._calls.open_to(self._sessions.reach(call.user_id)) >= LOG_CALLS:
            self._tally.add(Cause.TOO_MANY_CALLS)
            raise Busy(f"{LOG_CALLS} pieces of logs of worker {call.user_id} are on their way: try again shortly")
        return super()._ask(call, reply)


class BulkUplink(PeerClient):
    """A worker's bulk socket."""

    purpose = wire.BULK
    ours = wire_calls.BULK_OF_THE_SERVER
    theirs = wire_calls.BULK_OF_A_WORKER

    def __init__(self, context: Context, settings: PeerClientSettings) -> None:
        super().__init__(context, settings)
        self._endpoint: Endpoint | None = None

    def _opened(self) -> None:
        self.context.ref(names.UPLINK).tell(WhereTo())

    def _endpoints(self) -> tuple[Endpoint, ...]:
        return (self._endpoint,) if self._endpoint is not None else ()

    def _handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case Dial(endpoint=endpoint):
                return self._go_to(Endpoint.parse(endpoint))
            case HangUp():
                return self._go_to(None)
            case _:
                return super()._handle(message, reply)

    def _go_to(self, endpoint: Endpoint | None) -> None:
        if endpoint == self._endpoint:
            return
        self._endpoint = endpoint
        self._leave("the server has not accepted this worker" if endpoint is None else "the server has moved")
        if endpoint is not None:
            self._dial()
