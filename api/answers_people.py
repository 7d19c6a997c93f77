"""What the routes of users, teams, tokens and the audit answer."""

from __future__ import annotations

from gpuyard.actors.model.views import AuditEntry, SecretView, TeamView, TokenView, UserView
from gpuyard.api.answers import Answer


class UserList(Answer, frozen=True, kw_only=True):
    users: list[UserView]
    total: int


class UserCreated(UserView, frozen=True, kw_only=True, tag="UserCreated"):
    """The user and its first `token`, which is shown this once. `first`: single-user mode ended with it."""

    token: str
    token_id: int
    first: bool
    success: bool = True


class Me(Answer, frozen=True, kw_only=True):
    """Who asks, and with what. In single-user mode the owner, who needs no token."""

    id: int
    username: str
    level: str
    team_id: str | None
    token_id: int | None
    scopes: list[str]
    single_user: bool
    address: str


class TeamList(Answer, frozen=True, kw_only=True):
    teams: list[TeamView]


class TokenList(Answer, frozen=True, kw_only=True):
    tokens: list[TokenView]


class SecretList(Answer, frozen=True, kw_only=True):
    secrets: list[SecretView]


class TokenCreated(TokenView, frozen=True, kw_only=True, tag="TokenCreated"):
    """`token` is shown this once and kept nowhere."""

    token: str
    success: bool = True


class LoggedIn(Answer, frozen=True, kw_only=True):
    """The token itself is in a cookie that no script can read."""

    username: str
    token_id: int
    expires_at: str | None
    success: bool = True


class Done(Answer, frozen=True, kw_only=True):
    success: bool = True


class UserGone(Answer, frozen=True, kw_only=True):
    id: int
    success: bool = True


class TeamGone(Answer, frozen=True, kw_only=True):
    id: str
    success: bool = True


class AuditList(Answer, frozen=True, kw_only=True):
    """`before` is where the next page begins (`?before=`), null at the end."""

    entries: list[AuditEntry]
    before: str | None
