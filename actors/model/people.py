"""Who asks: levels, their priorities and the identity that every command carries."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final

import msgspec


class Level(IntEnum):
    """A user's level; its value is the base priority of the user's jobs (requirement "Priority Levels")."""

    VIEWER = 0
    RESEARCHER = 10
    LEAD = 20
    ADMIN = 30


LEVELS: Final = {level.name.lower(): level for level in Level}


class Scope(StrEnum):
    """What a token may be used for, within what its user may do.

    read looks; submit puts jobs in the queue and acts on jobs; admin does all else (people, tokens, limits, GPUs,
    approvals). A token holds any of them; none includes another.
    """

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"


class Viewer(msgspec.Struct, frozen=True):
    """The identity behind a command or question.

    Single-user mode: the owner on loopback is user 1, level admin (CONTRACT).
    """

    user_id: int = 1
    username: str = "owner"
    level: Level = Level.ADMIN
    team_id: str | None = None
    address: str = ""
    token_id: int | None = None

    @property
    def is_admin(self) -> bool:
        return self.level >= Level.ADMIN

    @property
    def is_lead(self) -> bool:
        return self.level >= Level.LEAD

    def may_act(self, user_id: int) -> bool:
        """Cancel, hold or release that user's jobs: owner or admin (DESIGN 4, T9)."""
        return self.is_admin or self.user_id == user_id

    def may_see(self, user_id: int) -> bool:
        return self.is_lead or self.user_id == user_id


OWNER = Viewer()
