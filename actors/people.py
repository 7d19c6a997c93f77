"""People: who there is, and who may come in. It owns the registers of users, teams and tokens.

A thin shell round `model/accounts*.py`. Changes are rare and go one by one: decide, make durable, and only then tell
everybody (`WatchPeople`) and answer. After a failed write the registers are read again, since nobody knows what of it
came through.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import pykka

from gpuyard.actors import passwords
from gpuyard.actors.base import LATER, Actor, Context, Reply, decline, reply_with
from gpuyard.actors.model import (
    accounts_teams as teams,
    accounts_tokens as tokens,
    accounts_users as users,
    commands as c,
    names,
)
from gpuyard.actors.model.accounts import (
    REGISTERS,
    TOKEN_PREFIX,
    Accounts,
    Change,
    accounts_from,
    credentials,
    newly_nobody,
)
from gpuyard.actors.model.errors import GpuyardError, Unavailable, WrongState
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.views import Credential, PeopleView
from gpuyard.actors.passwords import Slowly

log = logging.getLogger("gpuyard.people")

T = TypeVar("T")

# How long a question for news waits before it is answered that there are none.
NEWS_SECONDS = 2.0
# How long after a failure the registers are read again, and how often a write is looked after.
AGAIN_SECONDS = 1.0


def new_secret() -> str:
    """A new token: 32 random bytes behind a prefix by which it is known when it turns up where it should not."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


class Load(Message, frozen=True, kw_only=True):
    """Read the registers. From: the actor itself, after a failure. Repeat: harmless."""


class Settle(Message, frozen=True, kw_only=True):
    """The store may have answered. From: its thread, and the actor's own timer. Repeat: harmless."""


class NoNews(Message, frozen=True, kw_only=True):
    """A question for news has waited long enough. From: the actor's own timer. Repeat: harmless."""

    number: int


class PasswordSeen(Message, frozen=True, kw_only=True):
    """The thread of passwords is done with a piece of work. From: it. Repeat: harmless."""


class KeepPassword(Message, frozen=True, kw_only=True):
    """A password was hashed. From: the actor itself. Repeat: harmless."""

    command: c.SetPassword
    password_hash: str | None


class OpenSession(Message, frozen=True, kw_only=True):
    """Somebody showed the password of this user, whose hash was this. From: the actor itself. Repeat: another token."""

    user_id: int
    password_hash: str
    address: str


class NoteUse(Message, frozen=True, kw_only=True):
    """Write when tokens were last used. From: the actor itself. Repeat: harmless."""

    used: dict[int, float]


class Writing(NamedTuple):
    """A change on its way to the disk: `stored` is the store's answer, `reply` who waits for the change's."""

    change: Change
    stored: Reply
    reply: Reply | None


class People(Actor):
    """`new_secret` makes tokens; tests give their own."""

    def __init__(self, context: Context, new_secret: Callable[[], str] = new_secret) -> None:
        super().__init__(context)
        self._new_secret = new_secret
        self._store = context.ref(names.STORE)
        self._accounts: Accounts | None = None
        self._credentials: list[Credential] = []
        # Grows over a restart of this actor too.
        self._revision = int(self.clock.monotonic() * 1_000_000)
        self._loading: Reply | None = None
        self._writing: Writing | None = None
        self._queue: deque[tuple[Message, Reply | None]] = deque()
        self._slowly = Slowly()
        self._seen: deque[Callable[[], None]] = deque()
        self._watchers: dict[int, Reply] = {}
        self._watches = 0

    def started(self) -> None:
        self._load()

    def stopped(self) -> None:
        gone = Unavailable(f"{self.name} is stopping: try again shortly")
        waiting = [reply for _, reply in self._queue] + [self._writing.reply if self._writing else None]
        for reply in [*waiting, *self._watchers.values()]:
            decline(reply, gone)
        self._slowly.close()

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case c.WatchPeople():
                return self._watch(message, reply)
            case c.ListUsers():
                return users.listed(self._known(), message, self.clock.now())
            case c.ListTeams():
                return teams.listed(self._known())
            case c.ListTokens():
                return tokens.listed(self._known(), message, self.clock.now())
            case c.SetPassword():
                return self._set_password(message, reply)
            case c.LogIn():
                return self._log_in(message, reply)
            case PasswordSeen():
                return self._go_on()
            case Settle():
                return self._settle()
            case NoNews():
                return self._say_no_news(message.number)
            case Load():
                return self._load()
            case c.Ready():
                return self._accounts is not None
            case _:
                return self._line_up(message, reply)

    # --- changes ---------------------------------------------------------------------------------------------------

    def _line_up(self, message: Message, reply: Reply | None) -> Any:
        """A change waits for those before it."""
        if not isinstance(message, CHANGES):
            return self.unsupported(message)
        self._known()
        self._enqueue(message, reply)
        return LATER

    def _enqueue(self, message: Message, reply: Reply | None) -> None:
        self._queue.append((message, reply))
        self._next()

    def _next(self) -> None:
        while self._queue and self._writing is None and self._loading is None:
            message, reply = self._queue.popleft()
            try:
                change = self._decide(self._known(), message)
            except GpuyardError as error:
                decline(reply, error)
                continue
            if change.rows:
                stored = self._ask_store(c.Record(rows=change.rows, cause=message.cause))
                self._writing = Writing(change, stored, reply)
            else:
                reply_with(reply, change.answer)

    def _decide(self, accounts: Accounts, message: Message) -> Change:
        now = self.clock.now()
        match message:
            case c.AddUser():
                return users.add(accounts, message, now, self._new_secret)
            case c.ChangeUser():
                return users.change(accounts, message, now)
            case c.RemoveUser():
                return users.remove(accounts, message, now)
            case c.AddTeam():
                return teams.add(accounts, message, now)
            case c.ChangeTeam():
                return teams.change(accounts, message, now)
            case c.RemoveTeam():
                return teams.remove(accounts, message, now)
            case c.MakeToken():
                return tokens.create(accounts, message, now, self._new_secret)
            case c.RevokeToken():
                return tokens.revoke(accounts, message, now)
            case NoteUse():
                return tokens.note_use(accounts, message.used)
            case KeepPassword():
                return users.keep_password(accounts, message.command, message.password_hash, now)
            case OpenSession():
                return self._session(accounts, message, now)
            case _:
                raise AssertionError(f"{type(message).__name__} is no change")

    # --- passwords -------------------------------------------------------------------------------------------------

    def _set_password(self, message: c.SetPassword, reply: Reply | None) -> Any:
        users.check_password(self._known(), message)
        password = message.password
        if password is None:
            self._enqueue(KeepPassword(command=message, password_hash=None, cause=message.cause), reply)
            return LATER

        def then(hashed: str) -> None:
            self._enqueue(KeepPassword(command=message, password_hash=hashed, cause=message.cause), reply)

        return self._in_time(lambda: passwords.hashed(password), then, reply)

    def _log_in(self, message: c.LogIn, reply: Reply | None) -> Any:
        accounts = self._known()
        if accounts.single_user:
            raise WrongState("there are no users yet, so nobody logs in: gpuyard users add NAME --level admin")
        user = users.by_name(accounts, message.username)
        stored = user.password_hash if user is not None else None

        def then(fits: bool) -> None:
            if not fits or user is None or stored is None:
                log.warning("a log-in failed from %s", message.address or "an unknown address")
                reply_with(reply, None)
                return
            session = OpenSession(user_id=user.id, password_hash=stored, address=message.address, cause=message.cause)
            self._enqueue(session, reply)

        return self._in_time(lambda: passwords.fits(message.password, stored), then, reply)

    def _session(self, accounts: Accounts, message: OpenSession, now: float) -> Change:
        """A token, unless the user or the password changed since it was looked at."""
        user = accounts.user(message.user_id)
        if not user.is_active or user.password_hash != message.password_hash:
            return Change(accounts, (), None)
        return tokens.log_in(accounts, user, message.address, now, self._new_secret, message.cause)

    def _in_time(self, work: Callable[[], T], then: Callable[[T], None], reply: Reply | None) -> Any:
        """Do `work` on the thread of passwords, and `then` go on here. Raises Busy."""

        def done(worked: Future[T]) -> None:
            if worked.cancelled():
                return
            error = worked.exception()
            self._seen.append(lambda: decline(reply, error) if error is not None else then(worked.result()))
            with suppress(pykka.ActorDeadError, GpuyardError):
                self.actor_ref.tell(PasswordSeen())

        self._slowly.do(work, done)
        return LATER

    def _go_on(self) -> None:
        while self._seen:
            self._seen.popleft()()

    # --- the store -------------------------------------------------------------------------------------------------

    def _ask_store(self, message: Message) -> Reply:
        answer = self._store.ask(message)
        answer.add_done_callback(lambda _: self._look_again())
        # Should that word get lost (a full inbox), this one comes.
        self.inbox.after(AGAIN_SECONDS, Settle())
        return answer

    def _look_again(self) -> None:
        """In the store's thread."""
        with suppress(pykka.ActorDeadError, GpuyardError):
            self.actor_ref.tell(Settle())

    def _load(self) -> None:
        if self._loading is None and self._writing is None:
            self._loading = self._ask_store(c.LoadRegisters(registers=REGISTERS))

    def _settle(self) -> None:
        """Go on with what the store has answered."""
        if self._loading is not None and self._loading.done():
            loaded, self._loading = self._loading, None
            self._loaded(loaded)
        elif self._writing is not None and self._writing.stored.done():
            written, self._writing = self._writing, None
            self._written(written)
        elif self._loading is not None or self._writing is not None:
            self.inbox.after(AGAIN_SECONDS, Settle())
        self._next()

    def _loaded(self, loaded: Reply) -> None:
        error = loaded.exception()
        if error is not None:
            log.error("users, teams and tokens could not be read: %s", str(error))
            self.inbox.after(AGAIN_SECONDS, Load())
            return
        self._take(accounts_from(loaded.result()))

    def _written(self, written: Writing) -> None:
        error = written.stored.exception()
        if error is not None:
            log.error("a change of users or tokens could not be written: %s", str(error))
            decline(written.reply, error)
            self._load()
            return
        for owner in newly_nobody(self._known(), written.change.accounts):
            self.context.ref(names.SECRETS).tell(c.ForgetSecrets(owner=owner))
            self.context.ref(names.WEBHOOKS).tell(c.ForgetWebhooks(owner=owner))
        self._take(written.change.accounts)
        reply_with(written.reply, written.change.answer)

    def _take(self, accounts: Accounts) -> None:
        """These are the accounts now: whoever asked for news hears it before anybody hears of the change."""
        known = credentials(accounts, self.clock.now())
        changed = self._accounts is None or known != self._credentials or accounts.single_user != self._single_user
        self._accounts, self._credentials = accounts, known
        if changed:
            self._revision += 1
            watchers, self._watchers = self._watchers, {}
            for reply in watchers.values():
                reply_with(reply, self._view(seen=-1))

    # --- questions -------------------------------------------------------------------------------------------------

    def _known(self) -> Accounts:
        if self._accounts is None:
            raise Unavailable("users and tokens are not read yet: try again shortly")
        return self._accounts

    @property
    def _single_user(self) -> bool:
        return self._known().single_user

    def _view(self, seen: int) -> PeopleView:
        fresh = None if seen == self._revision else self._credentials
        return PeopleView(revision=self._revision, single_user=self._single_user, credentials=fresh)

    def _watch(self, message: c.WatchPeople, reply: Reply | None) -> Any:
        if message.used and self._accounts is not None:
            self._enqueue(NoteUse(used=message.used), None)
        if reply is None:
            return None
        if self._accounts is not None and (message.seen != self._revision or not message.wait):
            return self._view(message.seen)
        self._watches += 1
        self._watchers[self._watches] = reply
        self.inbox.after(NEWS_SECONDS, NoNews(number=self._watches))
        return LATER

    def _say_no_news(self, number: int) -> None:
        reply = self._watchers.pop(number, None)
        if self._accounts is None:
            decline(reply, Unavailable("users and tokens are not read yet: try again shortly"))
        else:
            reply_with(reply, self._view(seen=self._revision))


CHANGES = (
    c.AddUser,
    c.ChangeUser,
    c.RemoveUser,
    c.AddTeam,
    c.ChangeTeam,
    c.RemoveTeam,
    c.MakeToken,
    c.RevokeToken,
)
