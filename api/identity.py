"""Who asks. `Authenticator` is the seam: with no users defined it is `OwnerOnLoopback`."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from typing import Protocol

import msgspec

from gpuyard.actors.model.people import OWNER, Viewer
from gpuyard.api import peer
from gpuyard.api.errors import Unauthenticated
from gpuyard.api.heads import Head
from gpuyard.api.peer import Connection, UidOf
from gpuyard.api.settings import LOOPBACK_NAMES


@dataclass(frozen=True, slots=True)
class Caller:
    """What is known of a request's sender: its head (already checked) and its connection."""

    head: Head
    connection: Connection

    @property
    def address(self) -> str:
        return self.connection.client[0] if self.connection.client else ""

    @property
    def on_loopback(self) -> bool:
        """The peer's address is a loopback one."""
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return False

    @property
    def credential(self) -> str:
        """The token of `Authorization: Bearer` or `X-API-Key`, "" without one."""
        scheme, _, token = self.head.one(b"authorization").partition(" ")
        if scheme.lower() == "bearer" and token:
            return token.strip()
        return self.head.one(b"x-api-key")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, the name of their rate bucket, and whether they need none."""

    viewer: Viewer
    key: str
    unlimited: bool = False


class Authenticator(Protocol):
    async def identify(self, caller: Caller) -> Identity:
        """Raises Unauthenticated."""


class OwnerOnLoopback:
    """Single-user mode: who runs the server is its administrator, without a password, from this machine only.

    All must hold: the peer's address is a loopback one, its uid is ours, the Host is a loopback name, and no header
    says that a proxy stands between. A credential is ignored, since there are no users.
    """

    def __init__(self, uid: int | None = None, uid_of: UidOf = peer.uid_of) -> None:
        self._uid = os.geteuid() if uid is None else uid
        self._uid_of = uid_of

    async def identify(self, caller: Caller) -> Identity:
        if caller.head.forwarded:
            raise Unauthenticated("a proxy stands between (forwarding headers): a token is needed")
        if not caller.on_loopback or caller.head.host not in LOOPBACK_NAMES:
            raise Unauthenticated("from beyond this machine a token is needed")
        if await caller.connection.peer_uid(self._uid_of) != self._uid:
            raise Unauthenticated("another user of this machine asks: a token is needed")
        return Identity(msgspec.structs.replace(OWNER, address=caller.address), "owner", unlimited=True)
