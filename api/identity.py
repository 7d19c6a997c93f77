"""Who asks. `Authenticator` is the seam: the owner on loopback as long as there are no users, by token afterwards."""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from gpuyard.actors.model.accounts import ALL_SCOPES, TOKEN_PREFIX, digest_of
from gpuyard.actors.model.people import OWNER, Scope, Viewer
from gpuyard.actors.model.views import Credential
from gpuyard.api import peer
from gpuyard.api.errors import CrossSite, Unauthenticated
from gpuyard.api.heads import Head
from gpuyard.api.known import KnownPeople
from gpuyard.api.peer import Connection, UidOf
from gpuyard.api.proxies import parsed
from gpuyard.api.settings import LOOPBACK_NAMES

COOKIE = "gpuyard_session"
# Over TLS: a browser takes a cookie of such a name only over TLS, and from this very host.
SECURE_COOKIE = f"__Host-{COOKIE}"


@dataclass(frozen=True, slots=True)
class Caller:
    """What is known of a request's sender: its head (already checked) and its connection."""

    head: Head
    connection: Connection

    @property
    def address(self) -> str:
        """The sender's, also when a trusted proxy stands between (arrivals.py)."""
        client = self.head.scope.get("client") or self.connection.client
        return client[0] if client else ""

    @property
    def on_loopback(self) -> bool:
        """The sender's address is a loopback one."""
        ip = parsed(self.address)
        return ip is not None and ip.is_loopback

    @property
    def token_of_page(self) -> str:
        """What a page sends along with each change (`X-CSRF-Token`), "" without it."""
        return self.head.one(b"x-csrf-token")

    @property
    def changes(self) -> bool:
        """Does the request more than look?"""
        return self.head.scope["method"] not in ("GET", "HEAD", "OPTIONS")

    @property
    def credential(self) -> str:
        """The token of `Authorization: Bearer`, `X-API-Key` or the page's cookie, "" without one."""
        scheme, _, token = self.head.one(b"authorization").partition(" ")
        if scheme.lower() == "bearer" and token:
            return token.strip()
        return self.head.one(b"x-api-key") or self.cookie

    @property
    def cookie(self) -> str:
        """A page of another site can't use it: it is SameSite=Strict, and Origin and Sec-Fetch-Site were checked."""
        wanted = cookie_name(self.head.scope.get("scheme"))
        for part in self.head.one(b"cookie").split(";"):
            name, _, value = part.strip().partition("=")
            if name == wanted:
                return value
        return ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, the name of their rate bucket and whether they need none, and what the token may be used for."""

    viewer: Viewer
    key: str
    unlimited: bool = False
    scopes: tuple[Scope, ...] = ALL_SCOPES
    csrf: str = ""


def cookie_name(scheme: str | None) -> str:
    """The name of the page's log-in on a connection of this scheme."""
    return SECURE_COOKIE if scheme == "https" else COOKIE


def csrf_of(session: str) -> str:
    """What proves that a change comes from a page that was shown in this log-in; known to its pages only."""
    return hashlib.sha256(b"gpuyard page " + session.encode()).hexdigest()[:32]


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


class NobodyAlone:
    """A server that others can reach has no owner who needs no token, not even before it has users."""

    async def identify(self, caller: Caller) -> Identity:
        raise Unauthenticated("this server can be reached over a network, and has no users: nobody may come in")


LONGEST_TOKEN = 256
MOST_KNOWN = 10_000


class ByToken:
    """As long as there are no users `alone` decides and a credential is ignored; afterwards the token says who asks."""

    def __init__(self, people: KnownPeople, alone: Authenticator) -> None:
        self._people = people
        self._alone = alone
        # (token's digest, address) → what was known when it came last, and the identity made from it.
        self._known: dict[tuple[str, str], tuple[Credential, Identity]] = {}

    async def identify(self, caller: Caller) -> Identity:
        people = self._people
        if not people.certain:
            await people.make_certain()
        if people.single_user:
            return await self._alone.identify(caller)
        token = caller.credential
        if not token:
            raise Unauthenticated("a token is needed: Authorization: Bearer TOKEN (gpuyard: --token-file FILE)")
        if not token.startswith(TOKEN_PREFIX) or len(token) > LONGEST_TOKEN:
            raise Unauthenticated("that is no token of this server")
        digest = digest_of(token)
        found = people.credential(digest)
        if found is None:
            raise Unauthenticated("the token is unknown, revoked or expired, or its user is disabled")
        identity = self._identity(digest, caller.address, found)
        csrf = csrf_of(token) if token == caller.cookie else ""
        if csrf and caller.changes and not hmac.compare_digest(csrf, caller.token_of_page):
            raise CrossSite("a change from the page carries its X-CSRF-Token: load the page again")
        return replace(identity, csrf=csrf) if csrf else identity

    def _identity(self, digest: str, address: str, found: Credential) -> Identity:
        known = self._known.get((digest, address))
        if known is not None and known[0] is found:
            return known[1]
        viewer = Viewer(
            user_id=found.user_id,
            username=found.username,
            level=found.level,
            team_id=found.team_id,
            address=address,
            token_id=found.token_id,
        )
        identity = Identity(viewer, f"user {found.user_id}", scopes=found.scopes)
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[digest, address] = (found, identity)
        return identity
