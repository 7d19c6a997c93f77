"""What the edges ask of People: users, teams and tokens."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import OWNER, Scope, Viewer


class WatchPeople(Message, frozen=True, kw_only=True):
    """Who may come in? Answered when that is not what the asker has `seen`, or after 2 s with no news.

    So the asker always waits for an answer, and a change reaches it in the moment it is durable. With `wait` False it
    is answered at once in any case. `used` tells which tokens were used when (token id → epoch seconds).
    From: Frontend. To: People. Reply: PeopleView. Repeat: harmless.
    """

    seen: int = -1
    used: dict[int, float] = {}
    wait: bool = True


class ListUsers(Message, frozen=True, kw_only=True):
    """All users, by id, or the one who asks. From: Frontend. To: People. Reply: list of UserView.

    `only_self` may be asked by anybody. Errors: NotAllowed (lead). Repeat: harmless.
    """

    only_self: bool = False
    by: Viewer = OWNER


class AddUser(Message, frozen=True, kw_only=True):
    """Add a user with a first token. The first user of all must be an admin: it ends single-user mode and gets id 1.

    From: Frontend. To: People. Reply: UserAdded. Errors: NotAllowed (admin), InvalidInput (name taken or not
    allowed, level, unknown team), StoreFailed. Repeat: InvalidInput (the name is taken).
    """

    username: str
    level: str
    team_id: str | None = None
    by: Viewer = OWNER


class ChangeUser(Message, frozen=True, kw_only=True):
    """Change what is given; `disabled` shuts the user out and keeps it. From: Frontend. To: People. Reply: UserView.

    Errors: NotAllowed (admin), NotFound, InvalidInput, WrongState (the last admin), StoreFailed. Repeat: harmless.
    """

    user_id: int
    username: str | UnsetType = UNSET
    level: str | UnsetType = UNSET
    team_id: str | UnsetType | None = UNSET
    disabled: bool | UnsetType = UNSET
    by: Viewer = OWNER


class RemoveUser(Message, frozen=True, kw_only=True):
    """Delete a user and its tokens; its jobs stay, and its id is never given again. From: Frontend. To: People.

    Reply: True. Errors: NotAllowed (admin), NotFound, WrongState (the last admin), StoreFailed. Repeat: NotFound.
    """

    user_id: int
    by: Viewer = OWNER


class ListTeams(Message, frozen=True, kw_only=True):
    """From: Frontend. To: People. Reply: list of TeamView, by id. Repeat: harmless."""

    by: Viewer = OWNER


class AddTeam(Message, frozen=True, kw_only=True):
    """Add a team; without `team_id` its id is made from the name. From: Frontend. To: People. Reply: TeamView.

    Errors: NotAllowed (admin), InvalidInput (taken, or not allowed as a name), StoreFailed. Repeat: InvalidInput.
    """

    name: str
    team_id: str | None = None
    by: Viewer = OWNER


class ChangeTeam(Message, frozen=True, kw_only=True):
    """Give a team another name. From: Frontend. To: People. Reply: TeamView.

    Errors: NotAllowed (admin), NotFound, InvalidInput, StoreFailed. Repeat: harmless.
    """

    team_id: str
    name: str
    by: Viewer = OWNER


class RemoveTeam(Message, frozen=True, kw_only=True):
    """Delete a team that has no member. From: Frontend. To: People. Reply: True.

    Errors: NotAllowed (admin), NotFound, WrongState (members), StoreFailed. Repeat: NotFound.
    """

    team_id: str
    by: Viewer = OWNER


class ListTokens(Message, frozen=True, kw_only=True):
    """Tokens, without their secrets: the asker's own, or (admins) of `user_id`, or everybody's.

    From: Frontend. To: People. Reply: list of TokenView, newest first. Errors: NotAllowed. Repeat: harmless.
    """

    user_id: int | None = None
    everybody: bool = False
    by: Viewer = OWNER


class MakeToken(Message, frozen=True, kw_only=True):
    """A new token, of oneself or (admins) of `user_id`; no `scopes` means all. From: Frontend. To: People.

    `expires_at` is epoch seconds. Reply: TokenMade. Errors: NotAllowed, NotFound, InvalidInput, WrongState (too many,
    or single-user mode), StoreFailed. Repeat: a second token.
    """

    name: str = ""
    user_id: int | None = None
    scopes: tuple[Scope, ...] = ()
    expires_at: float | None = None
    by: Viewer = OWNER


class RevokeToken(Message, frozen=True, kw_only=True):
    """The token opens no door any more, from the answer on. One's own, or (admins) anybody's.

    From: Frontend. To: People. Reply: TokenView. Errors: NotFound (also for what one may not see), WrongState (the
    last one of all admins), StoreFailed. Repeat: harmless.
    """

    token_id: int
    by: Viewer = OWNER


class SetPassword(Message, frozen=True, kw_only=True):
    """Set the password for the page's log-in, one's own or (admins) of `user_id`; None takes it away.

    Log-ins with the one of before end. From: Frontend. To: People. Reply: True. Errors: NotFound (also for others),
    InvalidInput (too short, too long), Busy, StoreFailed. Repeat: harmless.
    """

    user_id: int
    password: str | None
    by: Viewer = OWNER

    def __repr__(self) -> str:
        return f"SetPassword(user_id={self.user_id})"


class LogIn(Message, frozen=True, kw_only=True):
    """Who knows a password gets a token for half a day. From: Frontend, which limits the rate. To: People.

    Reply: TokenMade, or None when name and password do not belong together (which of them is wrong is not told).
    Errors: WrongState (no users yet, too many tokens), Busy, StoreFailed. Repeat: a second token.
    """

    username: str
    password: str
    address: str = ""

    def __repr__(self) -> str:
        return f"LogIn(username={self.username!r})"
