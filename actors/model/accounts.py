"""Accounts: users, teams and tokens as plain data, and what follows from them.

`Accounts` is one state of all registers; it never changes, a change makes a new one (`accounts_users.py`,
`accounts_teams.py`, `accounts_tokens.py`) together with the rows that make it durable.

A user's row stays for ever, so that an id is never given twice: jobs belong to ids. The first user is an admin and
gets id 1, which is the owner's of single-user mode, and with it the jobs of that time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from gpuyard.actors.model.clock import epoch, iso, iso_or_none
from gpuyard.actors.model.errors import NotAllowed, NotFound
from gpuyard.actors.model.people import LEVELS, Level, Scope, Viewer
from gpuyard.actors.model.registers import PutRecord, RecordRow
from gpuyard.actors.model.views import Credential, TeamView, TokenView, UserView

USER, TEAM, TOKEN = "user", "team", "token"
REGISTERS: Final = (TEAM, USER, TOKEN)
ALL_SCOPES: Final = tuple(Scope)
TOKEN_PREFIX: Final = "gy_"

NewSecret = Callable[[], str]


class User(msgspec.Struct, frozen=True, kw_only=True):
    """`deleted_at` set: only the row is left, for its id. Times are epoch seconds."""

    id: int
    username: str
    level: Level
    created_at: float
    team_id: str | None = None
    disabled_at: float | None = None
    deleted_at: float | None = None
    password_hash: str | None = None

    @property
    def is_active(self) -> bool:
        return self.disabled_at is None and self.deleted_at is None


class Team(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    created_at: float


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """`digest` is the SHA-256 of the token in hex; the token itself is kept nowhere."""

    id: int
    user_id: int
    digest: str
    created_at: float
    name: str = ""
    scopes: tuple[Scope, ...] = ALL_SCOPES
    expires_at: float | None = None
    last_used_at: float | None = None
    revoked_at: float | None = None
    created_by: int | None = None

    def is_live(self, now: float) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class Accounts(msgspec.Struct, frozen=True):
    """All users, teams and tokens by id, as they are at one moment."""

    users: Mapping[int, User] = {}
    teams: Mapping[str, Team] = {}
    tokens: Mapping[int, Token] = {}

    @property
    def single_user(self) -> bool:
        """No user was ever added: the owner on loopback needs no credential."""
        return not self.users

    def user(self, user_id: int) -> User:
        """Raises NotFound, also for a deleted one."""
        found = self.users.get(user_id)
        if found is None or found.deleted_at is not None:
            raise NotFound(f"there is no user {user_id}", user_id=user_id)
        return found

    def team(self, team_id: str) -> Team:
        """Raises NotFound."""
        if team_id not in self.teams:
            raise NotFound(f"there is no team {team_id}", team_id=team_id)
        return self.teams[team_id]

    def admits_an_admin(self, now: float) -> bool:
        """Is there an admin who may come in, by a token that does not expire and may do everything?"""
        return any(
            token.expires_at is None
            and token.is_live(now)
            and Scope.ADMIN in token.scopes
            and self.users[token.user_id].is_active
            and self.users[token.user_id].level is Level.ADMIN
            for token in self.tokens.values()
        )

    def tokens_of(self, user_id: int) -> list[Token]:
        return [token for token in self.tokens.values() if token.user_id == user_id]

    def with_users(self, *changed: User) -> Accounts:
        return msgspec.structs.replace(self, users={**self.users, **{user.id: user for user in changed}})

    def with_tokens(self, *changed: Token) -> Accounts:
        return msgspec.structs.replace(self, tokens={**self.tokens, **{token.id: token for token in changed}})

    def with_teams(self, *changed: Team) -> Accounts:
        return msgspec.structs.replace(self, teams={**self.teams, **{team.id: team for team in changed}})


class Change(NamedTuple):
    """What a command does: the state after it, the rows that make it durable, and the answer once they are."""

    accounts: Accounts
    rows: tuple[RecordRow, ...] = ()
    answer: Any = True


def digest_of(token: str) -> str:
    """What is stored and looked up in place of a token. The look-up of a digest tells nothing about the token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def require_admin(by: Viewer, verb: str) -> None:
    if not by.is_admin:
        raise NotAllowed(f"only an admin may {verb}")


# --- rows and back -----------------------------------------------------------------------------------------------


def user_row(user: User) -> PutRecord:
    values = msgspec.structs.asdict(user) | {"level": user.level.name.lower()}
    return _row(USER, values)


def team_row(team: Team) -> PutRecord:
    return _row(TEAM, msgspec.structs.asdict(team))


def token_row(token: Token) -> PutRecord:
    return _row(TOKEN, msgspec.structs.asdict(token) | {"scopes": [str(scope) for scope in token.scopes]})


def _row(register: str, values: dict[str, Any]) -> PutRecord:
    timed = {name: iso_or_none(value) if name.endswith("_at") else value for name, value in values.items()}
    return PutRecord(register, timed)


def accounts_from(registers: Mapping[str, list[dict[str, Any]]]) -> Accounts:
    """The accounts that are stored. Raises ValueError where a row is not what our programs write."""
    users = [User(**_timed(row) | {"level": LEVELS[row["level"]]}) for row in registers[USER]]
    teams = [Team(**_timed(row)) for row in registers[TEAM]]
    tokens = [Token(**_timed(row) | {"scopes": _scopes(row["scopes"])}) for row in registers[TOKEN]]
    return Accounts(
        {user.id: user for user in users}, {team.id: team for team in teams}, {token.id: token for token in tokens}
    )


def _timed(row: dict[str, Any]) -> dict[str, Any]:
    return {name: epoch(value) if name.endswith("_at") and value is not None else value for name, value in row.items()}


def _scopes(text: str) -> tuple[Scope, ...]:
    return tuple(Scope(word) for word in msgspec.json.decode(text, type=list[str]))


# --- views ---------------------------------------------------------------------------------------------------------


def user_view(accounts: Accounts, user: User, now: float) -> UserView:
    tokens = accounts.tokens_of(user.id)
    used = [token.last_used_at for token in tokens if token.last_used_at is not None]
    return UserView(
        id=user.id,
        username=user.username,
        level=user.level.name.lower(),
        team_id=user.team_id,
        created_at=iso(user.created_at),
        disabled=user.disabled_at is not None,
        tokens=sum(token.is_live(now) for token in tokens),
        last_used_at=iso_or_none(max(used, default=None)),
        has_password=user.password_hash is not None,
    )


def team_view(accounts: Accounts, team: Team) -> TeamView:
    members = [user for user in accounts.users.values() if user.team_id == team.id]
    return TeamView(
        id=team.id,
        name=team.name,
        created_at=iso(team.created_at),
        members=sorted(user.username for user in members),
    )


def token_view(accounts: Accounts, token: Token, now: float) -> TokenView:
    user = accounts.users[token.user_id]
    return TokenView(
        id=token.id,
        user_id=user.id,
        username=user.username,
        name=token.name,
        scopes=[str(scope) for scope in token.scopes],
        live=token.is_live(now) and user.is_active,
        created_at=iso(token.created_at),
        expires_at=iso_or_none(token.expires_at),
        last_used_at=iso_or_none(token.last_used_at),
        revoked_at=iso_or_none(token.revoked_at),
        created_by=token.created_by,
    )


def newly_nobody(before: Accounts, after: Accounts) -> list[int]:
    """Users who have nothing of their own now: they have just left, or just come (after a restore a number may be given
    again). Not the first one, who is the owner of before."""
    if before.single_user:
        return []
    was = before.users
    return [id for id, user in after.users.items() if id not in was or (user.deleted_at and not was[id].deleted_at)]


def credentials(accounts: Accounts, now: float) -> list[Credential]:
    """Every token that opens the door now, and to whom."""
    found = []
    for token in accounts.tokens.values():
        user = accounts.users[token.user_id]
        if token.is_live(now) and user.is_active:
            found.append(
                Credential(
                    digest=token.digest,
                    token_id=token.id,
                    scopes=token.scopes,
                    expires_at=token.expires_at,
                    user_id=user.id,
                    username=user.username,
                    level=user.level,
                    team_id=user.team_id,
                )
            )
    return found
