"""What the sockets between hosts tell their own side."""

from __future__ import annotations

from gpuyard.actors.model.message import Message


class KeysWanted(Message, frozen=True, kw_only=True):
    """The allow-list is empty: tell AllowKeys. From: the gateway at its start. To: WorkerRegistry. (The bulk socket
    says it to the gateway.) Until it is answered every key is refused. Repeat: harmless."""


class LinkChanged(Message, frozen=True, kw_only=True):
    """The link to the server stands, or does not any more. From: the uplink. To: the worker's agent.

    Told once it stands (send a heartbeat then) and each time that it is lost or can't be made. `refused`: the server
    does not take this key or version, `reason` says so in words; trying goes on, with a pause. `user_id` is what
    the server calls us, `protocol` the version that both speak. Repeat: harmless.
    """

    up: bool
    reason: str = ""
    refused: bool = False
    user_id: str = ""
    protocol: int = 0
