"""What whoever reaches an actor on another host, or needs a worker's key, tells the gateway, the uplink and the bulk
sockets. Most callers use a remote reference (`gpuyard.transport.peer_ref`), which makes CallPeer and TellPeer."""

from __future__ import annotations

from typing import Any

from gpuyard.actors.model.message import Message
from gpuyard.actors.model.wire import Heartbeat


class SendHeartbeat(Message, frozen=True, kw_only=True):
    """Send this heartbeat to the server. From: the worker's agent. To: the uplink.

    Dropped while the link does not stand (LinkChanged says when it does): the next one says all. Repeat: the server
    ignores an older `n`.
    """

    said: Heartbeat


class CallPeer(Message, frozen=True, kw_only=True):
    """Ask the actor `to` of another host. From: a remote reference. To: the gateway, the uplink, a bulk socket.

    `user_id` names the worker (""  on a worker: the server). `timeout` in seconds. Reply: what that actor answers.
    Errors: its own; Unavailable while the peer is not connected or when it goes; TimedOut; Unsupported for what may
    not be asked there; Busy. Repeat: asks again.
    """

    user_id: str = ""
    to: str
    message: Any
    timeout: float = 10.0


class TellPeer(Message, frozen=True, kw_only=True):
    """Tell the actor `to` of another host, without an answer; what can't be sent is logged. As CallPeer otherwise."""

    user_id: str = ""
    to: str
    message: Any


class IssueToken(Message, frozen=True, kw_only=True):
    """Make a key pair for a worker and the line that starts it. From: WorkerRegistry. To: the gateway.

    Nothing is kept here: the key counts once it stands in AllowKeys. Reply: TokenIssued. Errors: InvalidInput when it
    is not known by which address workers reach this server. Repeat: makes another one.
    """


class GetGatewayStats(Message, frozen=True, kw_only=True):
    """Frames and refusals of the workers' sockets since their start. From: Frontend. To: the gateway, the bulk socket.

    Reply: GatewayStats. Repeat: harmless.
    """
