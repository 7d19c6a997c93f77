"""Answers about users, teams, tokens and the audit."""

from __future__ import annotations

from typing import Any

import msgspec

from gpuyard.actors.model.people import Level, Scope
from gpuyard.actors.model.views.base import View


class UserView(View, frozen=True, kw_only=True):
    """`tokens` counts those that can be used now."""

    id: int
    username: str
    level: str
    team_id: str | None
    created_at: str
    disabled: bool
    tokens: int
    last_used_at: str | None
    has_password: bool


class TeamView(View, frozen=True, kw_only=True):
    """`members` are usernames."""

    id: str
    name: str
    created_at: str
    members: list[str]


class TokenView(View, frozen=True, kw_only=True):
    """A token without its secret. `live`: it opens the door now."""

    id: int
    user_id: int
    username: str
    name: str
    scopes: list[str]
    live: bool
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None
    created_by: int | None


class TokenMade(View, frozen=True, kw_only=True):
    """`secret` is the token itself: shown once, kept nowhere."""

    secret: str
    token: TokenView

    def __repr__(self) -> str:
        return f"TokenMade(token={self.token!r})"


class UserAdded(View, frozen=True, kw_only=True):
    """The new user with its first token; `first`: single-user mode ended with it."""

    user: UserView
    made: TokenMade
    first: bool = False


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A token that opens the door, by its digest (SHA-256, hex), and to whom. `expires_at` is epoch seconds."""

    digest: str
    token_id: int
    scopes: tuple[Scope, ...]
    user_id: int
    username: str
    level: Level
    team_id: str | None = None
    expires_at: float | None = None


class PeopleView(View, frozen=True, kw_only=True):
    """Who may come in, as of `revision`; `credentials` is None when the asker has that revision already."""

    revision: int
    single_user: bool
    credentials: list[Credential] | None = None


class AuditEntry(View, frozen=True, kw_only=True):
    """One line of the audit (CONTRACT `GET /api/audit`). `id` says where it is kept: `a…` audit, `e…` event."""

    id: str
    at: str
    user_id: int | None
    username: str
    token_id: int | None
    address: str
    action: str
    job_id: str | None
    subject: str
    detail: dict[str, Any]
    cause: str


class AuditPage(View, frozen=True, kw_only=True):
    """The newest first. `before` is where the next page begins, None at the end."""

    entries: list[AuditEntry]
    before: str | None = None
