"""What becomes of tokens: made, used, revoked. The token itself is in one answer and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from gpuyard.actors.model import bounds
from gpuyard.actors.model.accounts import (
    ALL_SCOPES,
    TOKEN,
    Accounts,
    Change,
    NewSecret,
    Token,
    User,
    digest_of,
    token_row,
    token_view,
)
from gpuyard.actors.model.commands import ListTokens, MakeToken, RevokeToken
from gpuyard.actors.model.errors import InvalidInput, NotAllowed, NotFound, WrongState
from gpuyard.actors.model.people import Scope, Viewer
from gpuyard.actors.model.registers import DropRecord, RecordRow, audit_line
from gpuyard.actors.model.views import TokenMade, TokenView

MOST_LIVE: Final = 100  # of one user
KEPT: Final = 90 * 86_400.0  # seconds that the row of a token is kept after its end
LOG_IN: Final = "log-in"  # the name of a token that a log-in made
SESSION: Final = 12 * 3_600.0  # seconds that a log-in lasts
USE_WRITTEN: Final = 60.0  # seconds between two writes of a token's last use


def listed(accounts: Accounts, question: ListTokens, now: float) -> list[TokenView]:
    """Newest first. Raises NotAllowed."""
    by = question.by
    wanted = None if question.everybody else by.user_id if question.user_id is None else question.user_id
    if wanted != by.user_id and not by.is_admin:
        raise NotAllowed("you see your own tokens only: ask an admin")
    chosen = [token for token in accounts.tokens.values() if wanted is None or token.user_id == wanted]
    return [token_view(accounts, token, now) for token in sorted(chosen, key=lambda token: -token.id)]


def create(accounts: Accounts, command: MakeToken, now: float, new_secret: NewSecret) -> Change:
    """Raises NotAllowed, NotFound, InvalidInput, WrongState."""
    by = command.by
    if accounts.single_user:
        raise WrongState("there are no users yet, so no token is needed: gpuyard users add NAME --level admin")
    user_id = by.user_id if command.user_id is None else command.user_id
    if user_id != by.user_id and not by.is_admin:
        raise NotAllowed("only an admin makes tokens for others")
    user = accounts.user(user_id)
    if command.expires_at is not None and command.expires_at <= now:
        raise InvalidInput("expires_at must lie in the future", field="expires_at")
    _require_room(accounts, user, now)
    made = make(
        accounts,
        user,
        now,
        new_secret,
        name=_name(command.name),
        scopes=tuple(scope for scope in ALL_SCOPES if scope in command.scopes) or ALL_SCOPES,
        expires_at=command.expires_at,
        created_by=by.user_id,
    )
    token = made.answer.token
    line = audit_line(
        by, now, "token_made", _subject(token), command.cause, scopes=token.scopes, expires=token.expires_at
    )
    return Change(made.accounts, (*made.rows, line), made.answer)


def log_in(accounts: Accounts, user: User, address: str, now: float, new_secret: NewSecret, cause: str) -> Change:
    """A token for whoever showed the password of `user`. Raises WrongState."""
    _require_room(accounts, user, now)
    made = make(accounts, user, now, new_secret, name=LOG_IN, expires_at=now + SESSION, created_by=user.id)
    by = Viewer(user_id=user.id, username=user.username, level=user.level, address=address)
    line = audit_line(by, now, "logged_in", _subject(made.answer.token), cause)
    return Change(made.accounts, (*made.rows, line), made.answer)


def make(
    accounts: Accounts,
    user: User,
    now: float,
    new_secret: NewSecret,
    *,
    name: str,
    scopes: Sequence[Scope] = ALL_SCOPES,
    expires_at: float | None = None,
    created_by: int | None = None,
) -> Change:
    """A token of `user`, who may have it. Rows of tokens that ended long ago go, but never the one with the highest
    number: no number is given twice."""
    secret = new_secret()
    last = max(accounts.tokens, default=0)
    token = Token(
        id=last + 1,
        user_id=user.id,
        digest=digest_of(secret),
        created_at=now,
        name=name,
        scopes=tuple(scopes),
        expires_at=expires_at,
        created_by=created_by,
    )
    old = [one for one in accounts.tokens_of(user.id) if one.id != last and _ended(one, now) < now - KEPT]
    rows: list[RecordRow] = [DropRecord(TOKEN, {"id": one.id}) for one in old]
    kept = {id: one for id, one in accounts.tokens.items() if one not in old}
    after = msgspec.structs.replace(accounts, tokens={**kept, token.id: token})
    answer = TokenMade(secret=secret, token=token_view(after, token, now))
    return Change(after, (*rows, token_row(token)), answer)


def revoke(accounts: Accounts, command: RevokeToken, now: float) -> Change:
    """Raises NotFound, WrongState."""
    by = command.by
    token = accounts.tokens.get(command.token_id)
    if token is None or (token.user_id != by.user_id and not by.is_admin):
        raise NotFound(f"you have no token {command.token_id}", token_id=command.token_id)
    if token.revoked_at is not None:
        return Change(accounts, (), token_view(accounts, token, now))
    revoked = msgspec.structs.replace(token, revoked_at=now)
    after = accounts.with_tokens(revoked)
    if accounts.admits_an_admin(now) and not after.admits_an_admin(now):
        raise WrongState("it is the last token of all admins: make another one first (gpuyard tokens create)")
    view = token_view(after, revoked, now)
    line = audit_line(by, now, "token_revoked", _subject(view), command.cause)
    return Change(after, (token_row(revoked), line), view)


def note_use(accounts: Accounts, used: dict[int, float]) -> Change:
    """Remember when tokens were last used, each at most once a minute."""
    changed = []
    for token_id, at in used.items():
        token = accounts.tokens.get(token_id)
        if token is not None and at - (token.last_used_at or 0.0) >= USE_WRITTEN:
            changed.append(msgspec.structs.replace(token, last_used_at=at))
    if not changed:
        return Change(accounts)
    return Change(accounts.with_tokens(*changed), tuple(map(token_row, changed)))


def _require_room(accounts: Accounts, user: User, now: float) -> None:
    if sum(token.is_live(now) for token in accounts.tokens_of(user.id)) >= MOST_LIVE:
        raise WrongState(f"{user.username} has {MOST_LIVE} tokens already: revoke some first")


def _ended(token: Token, now: float) -> float:
    """When it ended; now for one that has not."""
    ends = [at for at in (token.revoked_at, token.expires_at) if at is not None and at <= now]
    return min(ends, default=now)


def _name(name: str) -> str:
    try:
        return bounds.text(name, 64).strip()
    except ValueError as error:
        raise InvalidInput(f"name {error}", field="name") from None


def _subject(token: TokenView) -> str:
    """How the audit names a token."""
    return f"token {token.id} of user {token.user_id} {token.username}"
