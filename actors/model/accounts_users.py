"""What becomes of users: added, changed, deleted. Every rule about them stands here.

There is always an admin who may come in: the last one is not demoted, disabled or deleted.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET

from gpuyard.actors.model import bounds
from gpuyard.actors.model.accounts import (
    TOKEN,
    Accounts,
    Change,
    NewSecret,
    User,
    require_admin,
    token_row,
    user_row,
    user_view,
)
from gpuyard.actors.model.accounts_tokens import LOG_IN, make
from gpuyard.actors.model.commands import AddUser, ChangeUser, ListUsers, RemoveUser, SetPassword
from gpuyard.actors.model.errors import InvalidInput, NotAllowed, NotFound, WrongState
from gpuyard.actors.model.people import LEVELS, Level
from gpuyard.actors.model.registers import DropRecord, audit_line
from gpuyard.actors.model.views import UserAdded, UserView

USERNAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"
OWNERS_ID: Final = 1
MOST_USERS: Final = 10_000
PASSWORD_LENGTH: Final = (12, 256)


def listed(accounts: Accounts, question: ListUsers, now: float) -> list[UserView]:
    """Raises NotAllowed."""
    by = question.by
    if not by.is_lead and not question.only_self:
        raise NotAllowed("only leads and admins see the other users")
    users = sorted(accounts.users.values(), key=lambda user: user.id)
    chosen = [user for user in users if user.deleted_at is None and (not question.only_self or user.id == by.user_id)]
    return [user_view(accounts, user, now) for user in chosen]


def add(accounts: Accounts, command: AddUser, now: float, new_secret: NewSecret) -> Change:
    """Raises NotAllowed, InvalidInput."""
    require_admin(command.by, "add users")
    level = _level(command.level)
    first = accounts.single_user
    if first and level is not Level.ADMIN:
        raise InvalidInput("the first user must be an admin: --level admin", field="level")
    if len(accounts.users) >= MOST_USERS:
        raise InvalidInput(f"there have been {MOST_USERS} users: no more are possible", field="username")
    user = User(
        id=OWNERS_ID if first else max(accounts.users) + 1,
        username=_username(accounts, command.username),
        level=level,
        created_at=now,
        team_id=_team(accounts, command.team_id),
    )
    line = audit_line(
        command.by, now, "user_added", subject(user), command.cause, level=command.level, team_id=user.team_id
    )
    with_user = accounts.with_users(user)
    made = make(with_user, user, now, new_secret, name="first", created_by=command.by.user_id)
    answer = UserAdded(user=user_view(made.accounts, user, now), made=made.answer, first=first)
    return Change(made.accounts, (user_row(user), *made.rows, line), answer)


def change(accounts: Accounts, command: ChangeUser, now: float) -> Change:
    """Raises NotAllowed, NotFound, InvalidInput, WrongState."""
    require_admin(command.by, "change users")
    user = accounts.user(command.user_id)
    values: dict[str, Any] = {}
    if command.username is not UNSET:
        values["username"] = _username(accounts, command.username, user)
    if command.level is not UNSET:
        values["level"] = _level(command.level)
    if command.team_id is not UNSET:
        values["team_id"] = _team(accounts, command.team_id)
    if command.disabled is not UNSET and command.disabled != (user.disabled_at is not None):
        values["disabled_at"] = now if command.disabled else None
    changed = msgspec.structs.replace(user, **values)
    after = accounts.with_users(changed)
    _require_admins(accounts, after, user, now)
    if changed == user:
        return Change(accounts, (), user_view(accounts, user, now))
    said = {name: getattr(command, name) for name in ("username", "level", "team_id", "disabled")}
    detail = {name: value for name, value in said.items() if value is not UNSET}
    line = audit_line(command.by, now, "user_changed", subject(user), command.cause, **detail)
    return Change(after, (user_row(changed), line), user_view(after, changed, now))


def remove(accounts: Accounts, command: RemoveUser, now: float) -> Change:
    """Raises NotAllowed, NotFound, WrongState."""
    require_admin(command.by, "delete users")
    user = accounts.user(command.user_id)
    gone = msgspec.structs.replace(
        user,
        username=f"{user.username} (deleted, {user.id})",  # no name that a user may have: the name is free again
        team_id=None,
        password_hash=None,
        deleted_at=now,
    )
    tokens = {id: token for id, token in accounts.tokens.items() if token.user_id != user.id}
    after = msgspec.structs.replace(accounts.with_users(gone), tokens=tokens)
    _require_admins(accounts, after, user, now)
    line = audit_line(command.by, now, "user_removed", subject(user), command.cause)
    return Change(after, (DropRecord(TOKEN, {"user_id": user.id}), user_row(gone), line))


def by_name(accounts: Accounts, username: str) -> User | None:
    """The user who may come in under this name, whatever its case."""
    for user in accounts.users.values():
        if user.is_active and user.username.casefold() == username.casefold():
            return user
    return None


def check_password(accounts: Accounts, command: SetPassword) -> None:
    """May this password be set? Raises NotFound (also for others than oneself and admins), InvalidInput."""
    by = command.by
    if by.user_id != command.user_id and not by.is_admin:
        raise NotFound(f"there is no user {command.user_id}", user_id=command.user_id)
    user = accounts.user(command.user_id)
    if command.password is None:
        return
    low, high = PASSWORD_LENGTH
    if not low <= len(command.password) <= high:
        raise InvalidInput(f"password must have {low} to {high} characters", field="password")
    if user.username.casefold() in command.password.casefold():
        raise InvalidInput("password must not hold the username", field="password")


def keep_password(accounts: Accounts, command: SetPassword, password_hash: str | None, now: float) -> Change:
    """Who logged in with the password of before is out, but for the one who changes it. Raises NotFound."""
    user = accounts.user(command.user_id)
    changed = msgspec.structs.replace(user, password_hash=password_hash)
    ended = [
        msgspec.structs.replace(token, revoked_at=now)
        for token in accounts.tokens_of(user.id)
        if token.name == LOG_IN and token.is_live(now) and token.id != command.by.token_id
    ]
    action = "password_removed" if password_hash is None else "password_set"
    line = audit_line(command.by, now, action, subject(user), command.cause)
    after = accounts.with_users(changed).with_tokens(*ended)
    return Change(after, (user_row(changed), *map(token_row, ended), line))


def subject(user: User) -> str:
    """How the audit names a user."""
    return f"user {user.id} {user.username}"


def _require_admins(before: Accounts, after: Accounts, user: User, now: float) -> None:
    """Raises WrongState when nobody could come in as an admin any more."""
    if not any(one.is_active and one.level is Level.ADMIN for one in after.users.values()):
        raise WrongState(f"{user.username} is the only admin: make somebody else an admin first")
    if before.admits_an_admin(now) and not after.admits_an_admin(now):
        raise WrongState(f"no other admin than {user.username} has a token: make one first (gpuyard tokens create)")


def _username(accounts: Accounts, name: str, own: User | None = None) -> str:
    if not bounds.matches(USERNAME, name):
        raise InvalidInput(
            "username must be 1 to 64 letters, digits, dots, dashes, underscores and @, beginning with a letter or"
            " digit",
            field="username",
        )
    for user in accounts.users.values():
        if user is not own and user.username.casefold() == name.casefold():
            raise InvalidInput(f"the username {user.username} is taken", field="username")
    return name


def _level(name: str) -> Level:
    if name not in LEVELS:
        raise InvalidInput(f"level must be one of {', '.join(LEVELS)}", field="level")
    return LEVELS[name]


def _team(accounts: Accounts, team_id: str | None) -> str | None:
    if team_id is not None and team_id not in accounts.teams:
        raise InvalidInput(f"there is no team {team_id}", field="team_id")
    return team_id
