"""A way back in for whoever lost the administrators' tokens, and may write the database: a new token of an admin.

Only while the server is stopped: a running one holds its accounts in memory and would not know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from gpuyard.actors.model import accounts_tokens
from gpuyard.actors.model.accounts import REGISTERS, Accounts, User, accounts_from, user_row
from gpuyard.actors.model.errors import NotFound, WrongState
from gpuyard.actors.model.people import OWNER, Level
from gpuyard.actors.model.registers import audit_line
from gpuyard.actors.store import registers
from gpuyard.actors.store.database import Database


class Rescued(NamedTuple):
    username: str
    secret: str


def rescue(path: Path, username: str | None, now: float, new_secret: Callable[[], str]) -> Rescued:
    """A token without end of that admin (or the first one there is), who is let in again if shut out.

    Raises DatabaseRefused (in use, damaged …), WrongState without users, NotFound.
    """
    database = Database.open(path)
    try:
        connection = database.connection
        accounts = accounts_from({register: registers.read(connection, register) for register in REGISTERS})
        user = _admin(accounts, username)
        back = msgspec.structs.replace(user, disabled_at=None)
        made = accounts_tokens.make(accounts.with_users(back), back, now, new_secret, name="rescue")
        line = audit_line(OWNER, now, "rescued", f"user {user.id} {user.username}")
        with database.transaction() as writing:
            registers.write(writing, [user_row(back), *made.rows, line])
        return Rescued(user.username, made.answer.secret)
    finally:
        database.close()


def _admin(accounts: Accounts, username: str | None) -> User:
    if accounts.single_user:
        raise WrongState("there are no users: whoever runs the server is its administrator and needs no token")
    admins = [user for user in accounts.users.values() if user.level is Level.ADMIN and user.deleted_at is None]
    for user in sorted(admins, key=lambda user: (user.disabled_at is not None, user.id)):
        if username is None or user.username == username:
            return user
    raise NotFound(f"there is no admin {username}; there are: {', '.join(user.username for user in admins)}")
