"""The rules of users, teams and tokens, whatever is done in whatever order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec import UNSET

from gpuyard.actors.model import (
    accounts_teams as teams,
    accounts_tokens as tokens,
    accounts_users as users,
    commands as c,
)
from gpuyard.actors.model.accounts import (
    REGISTERS,
    TOKEN_PREFIX,
    Accounts,
    Change,
    accounts_from,
    credentials,
    digest_of,
    user_view,
)
from gpuyard.actors.model.errors import GpuyardError, InvalidInput, NotAllowed, NotFound, WrongState
from gpuyard.actors.model.people import LEVELS, OWNER, Level, Scope, Viewer
from gpuyard.actors.model.registers import AppendAudit, DropRecord, PutRecord
from gpuyard.actors.people import new_secret

NOW = 1_700_000_000.0
DAY = 86_400.0


def secrets() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"{TOKEN_PREFIX}secret-{next(numbers)}"


class Bench:
    """Accounts that are changed command by command; `stored` is what the rows alone would make of them."""

    def __init__(self) -> None:
        self.accounts = Accounts()
        self.now = NOW
        self.secret = secrets()
        self.given: list[str] = []
        self.audit: list[AppendAudit] = []
        self.stored: dict[str, dict[Any, dict[str, Any]]] = {register: {} for register in REGISTERS}

    def take(self, change: Change) -> Any:
        for row in change.rows:
            match row:
                case PutRecord():
                    self.stored[row.register][row.values["id"]] = row.values
                case DropRecord():
                    kept = self.stored[row.register]
                    doomed = [id for id, had in kept.items() if all(had[k] == v for k, v in row.where.items())]
                    for id in doomed:
                        del kept[id]
                case AppendAudit():
                    self.audit.append(row)
        self.accounts = change.accounts
        return change.answer

    def add(self, username: str, level: str = "researcher", by: Viewer = OWNER, **more: Any) -> Any:
        command = c.AddUser(username=username, level=level, by=by, **more)
        added = self.take(users.add(self.accounts, command, self.now, self.secret))
        self.given.append(added.made.secret)
        return added

    def make(self, by: Viewer = OWNER, **more: Any) -> Any:
        made = self.take(tokens.create(self.accounts, c.MakeToken(by=by, **more), self.now, self.secret))
        self.given.append(made.secret)
        return made

    def read_back(self) -> Accounts:
        """The accounts as a restart would find them."""
        rows = {}
        for register, found in self.stored.items():
            rows[register] = [dict(row) for row in found.values()]
            for row in rows[register]:
                if "scopes" in row:
                    row["scopes"] = msgspec.json.encode(row["scopes"]).decode()
        return accounts_from(rows)

    def comes_in(self, secret: str) -> bool:
        return digest_of(secret) in {one.digest for one in credentials(self.accounts, self.now)}


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.add("root", "admin")
    return made


def test_a_secret_has_32_random_bytes_behind_its_prefix() -> None:
    found = {new_secret() for _ in range(100)}
    assert len(found) == 100
    assert {len(secret) for secret in found} == {len("gy_") + 43}
    assert all(secret.startswith("gy_") and secret.isascii() and secret.isprintable() for secret in found)


@pytest.mark.parametrize("level", ["viewer", "researcher", "lead"])
def test_the_first_user_must_be_an_admin(level: str) -> None:
    with pytest.raises(InvalidInput, match="first user must be an admin"):
        Bench().add("root", level)


def test_names_are_unique_whatever_their_case_and_free_again_after_a_deletion(bench: Bench) -> None:
    ann = bench.add("Ann")
    for taken in ("ann", "ANN", "Ann"):
        with pytest.raises(InvalidInput, match="taken"):
            bench.add(taken)
    bench.take(users.change(bench.accounts, c.ChangeUser(user_id=ann.user.id, username="ANN"), bench.now))
    bench.take(users.remove(bench.accounts, c.RemoveUser(user_id=ann.user.id), bench.now))
    again = bench.add("ann")
    assert again.user.id == ann.user.id + 1, "an id is never given twice"
    assert not bench.comes_in(ann.made.secret)


@pytest.mark.parametrize(
    "name", ["", " ", "-x", "=1+1", "@x", "a b", "a\n", "ü", "x" * 65, "a(b)", "../x", "a/b", "a,b"]
)
def test_names_that_would_harm_a_table_or_an_address_are_refused(bench: Bench, name: str) -> None:
    with pytest.raises(InvalidInput, match="username must be"):
        bench.add(name)


def test_team_ids_come_from_the_name_and_members_keep_a_team(bench: Bench) -> None:
    team = bench.take(teams.add(bench.accounts, c.AddTeam(name="  Computer Vision & Co. "), bench.now))
    assert (team.id, team.name) == ("computer-vision-co", "Computer Vision & Co.")
    for name, team_id in (("computer vision & CO.", "x"), ("Other", "computer-vision-co"), ("...", None), ("", "y")):
        with pytest.raises(InvalidInput):
            teams.add(bench.accounts, c.AddTeam(name=name, team_id=team_id), bench.now)
    ann = bench.add("ann", team_id=team.id)
    with pytest.raises(WrongState, match="1 members"):
        teams.remove(bench.accounts, c.RemoveTeam(team_id=team.id), bench.now)
    bench.take(users.remove(bench.accounts, c.RemoveUser(user_id=ann.user.id), bench.now))
    bench.take(teams.remove(bench.accounts, c.RemoveTeam(team_id=team.id), bench.now))
    with pytest.raises(NotFound):
        teams.change(bench.accounts, c.ChangeTeam(team_id=team.id, name="x"), bench.now)
    with pytest.raises(InvalidInput, match="no team"):
        bench.add("bob", team_id=team.id)


def test_scopes_are_what_was_asked_in_one_order_and_all_without_a_word(bench: Bench) -> None:
    assert bench.make().token.scopes == ["read", "submit", "admin"]
    assert bench.make(scopes=(Scope.SUBMIT, Scope.READ, Scope.READ)).token.scopes == ["read", "submit"]


def test_tokens_have_bounds(bench: Bench) -> None:
    with pytest.raises(InvalidInput, match="future"):
        bench.make(expires_at=bench.now)
    with pytest.raises(InvalidInput, match="control"):
        bench.make(name="a\nb")
    ann = bench.add("ann")
    for _ in range(tokens.MOST_LIVE - 1):
        bench.make(user_id=ann.user.id)
    with pytest.raises(WrongState, match="revoke some"):
        bench.make(user_id=ann.user.id)
    bench.now += 1
    bench.take(tokens.revoke(bench.accounts, c.RevokeToken(token_id=ann.made.token.id), bench.now))
    bench.make(user_id=ann.user.id)


def test_rows_of_tokens_that_ended_long_ago_go_and_their_numbers_stay_taken(bench: Bench) -> None:
    ann = bench.add("ann")
    old = bench.make(user_id=ann.user.id, expires_at=bench.now + 1)
    bench.now += tokens.KEPT + DAY
    new = bench.make(user_id=ann.user.id)
    assert old.token.id in bench.accounts.tokens, "the highest number stays"
    newer = bench.make(user_id=ann.user.id)
    assert old.token.id not in bench.accounts.tokens
    assert [old.token.id, new.token.id, newer.token.id] == [3, 4, 5]
    assert bench.comes_in(ann.made.secret), "one that has not ended stays"


def test_the_last_token_of_all_admins_is_not_revoked(bench: Bench) -> None:
    root = bench.accounts.users[1]
    second = bench.make(expires_at=bench.now + DAY)
    with pytest.raises(WrongState, match="last token"):
        tokens.revoke(bench.accounts, c.RevokeToken(token_id=1), bench.now)
    bench.make(scopes=(Scope.READ,))
    with pytest.raises(WrongState, match="last token"):
        tokens.revoke(bench.accounts, c.RevokeToken(token_id=1), bench.now)
    bench.take(tokens.revoke(bench.accounts, c.RevokeToken(token_id=second.token.id), bench.now))
    third = bench.make()
    bench.take(tokens.revoke(bench.accounts, c.RevokeToken(token_id=1), bench.now))
    assert user_view(bench.accounts, root, bench.now).tokens == 2
    bench.add("eve", "admin")
    bench.take(tokens.revoke(bench.accounts, c.RevokeToken(token_id=third.token.id), bench.now))


# --- any order -------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["ann", "Ann", "bob", "eve", "=x", "root"])
IDS = st.integers(0, 7)
TIMES = st.sampled_from([0.0, 1.0, 70.0, DAY, 100 * DAY])
SCOPES = st.lists(st.sampled_from(list(Scope)), max_size=3).map(tuple)


class Town(RuleBasedStateMachine):
    """Anybody tries anything. A refusal changes nothing; what happens is durable, told, and leaves a way in."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()

    @initialize()
    def begin(self) -> None:
        self.bench.add("root", "admin")

    def somebody(self, number: int) -> Viewer:
        user = self.bench.accounts.users.get(number)
        if user is None:
            return Viewer(user_id=99, username="nobody", level=Level.VIEWER)
        return Viewer(user_id=user.id, username=user.username, level=user.level, team_id=user.team_id, token_id=7)

    def attempt(self, by: Viewer, act: Callable[[], Any], admins_only: bool = True) -> None:
        before, lines = self.bench.accounts, len(self.bench.audit)
        try:
            act()
        except GpuyardError as error:
            assert isinstance(error, NotAllowed | NotFound | InvalidInput | WrongState)
            assert self.bench.accounts is before and len(self.bench.audit) == lines
            return
        assert by.is_admin or not admins_only
        assert (len(self.bench.audit) == lines + 1) == (self.bench.accounts != before)
        if self.bench.accounts != before:
            assert self.bench.audit[-1].user_id == by.user_id

    @rule(by=IDS, name=NAMES, level=st.sampled_from([*LEVELS, "boss"]), team=st.sampled_from([None, "red"]))
    def add(self, by: int, name: str, level: str, team: str | None) -> None:
        viewer = self.somebody(by)
        self.attempt(viewer, lambda: self.bench.add(name, level, viewer, team_id=team))

    @rule(by=IDS, user=IDS, level=st.sampled_from([UNSET, *LEVELS]), off=st.sampled_from([UNSET, True, False]))
    def change(self, by: int, user: int, level: Any, off: Any) -> None:
        viewer = self.somebody(by)
        command = c.ChangeUser(user_id=user, level=level, disabled=off, by=viewer)
        self.attempt(viewer, lambda: self.bench.take(users.change(self.bench.accounts, command, self.bench.now)))

    @rule(by=IDS, user=IDS)
    def remove(self, by: int, user: int) -> None:
        viewer = self.somebody(by)
        command = c.RemoveUser(user_id=user, by=viewer)
        self.attempt(viewer, lambda: self.bench.take(users.remove(self.bench.accounts, command, self.bench.now)))

    @rule(by=IDS, name=st.sampled_from(["red", "Red", ""]))
    def team(self, by: int, name: str) -> None:
        viewer = self.somebody(by)
        command = c.AddTeam(name=name, by=viewer)
        self.attempt(viewer, lambda: self.bench.take(teams.add(self.bench.accounts, command, self.bench.now)))

    @rule(by=IDS)
    def no_team(self, by: int) -> None:
        viewer = self.somebody(by)
        command = c.RemoveTeam(team_id="red", by=viewer)
        self.attempt(viewer, lambda: self.bench.take(teams.remove(self.bench.accounts, command, self.bench.now)))

    @rule(by=IDS, user=st.none() | IDS, scopes=SCOPES, lives=st.none() | TIMES)
    def make(self, by: int, user: int | None, scopes: tuple[Scope, ...], lives: float | None) -> None:
        viewer = self.somebody(by)
        ends = None if lives is None else self.bench.now + lives

        def act() -> None:
            self.bench.make(viewer, user_id=user, scopes=scopes, expires_at=ends)
            assert viewer.is_admin or user in (None, viewer.user_id)

        self.attempt(viewer, act, admins_only=False)

    @rule(by=IDS, token=st.integers(0, 15))
    def revoke(self, by: int, token: int) -> None:
        viewer = self.somebody(by)
        command = c.RevokeToken(token_id=token, by=viewer)

        def act() -> None:
            view = self.bench.take(tokens.revoke(self.bench.accounts, command, self.bench.now))
            assert viewer.is_admin or view.user_id == viewer.user_id
            assert token not in {one.token_id for one in credentials(self.bench.accounts, self.bench.now)}

        self.attempt(viewer, act, admins_only=False)

    @rule(token=st.integers(0, 15), ago=TIMES)
    def use(self, token: int, ago: float) -> None:
        self.bench.take(tokens.note_use(self.bench.accounts, {token: self.bench.now - ago}))

    @rule(seconds=TIMES)
    def wait(self, seconds: float) -> None:
        self.bench.now += seconds

    @invariant()
    def somebody_may_always_come_in_as_an_admin(self) -> None:
        if not self.bench.accounts.single_user:
            assert self.bench.accounts.admits_an_admin(self.bench.now)

    @invariant()
    def the_rows_are_the_state(self) -> None:
        assert self.bench.read_back() == self.bench.accounts

    @invariant()
    def names_are_unique_and_ids_are_too(self) -> None:
        names = [user.username.casefold() for user in self.bench.accounts.users.values()]
        assert len(set(names)) == len(names)
        assert list(self.bench.accounts.users) == list(range(1, len(names) + 1))

    @invariant()
    def who_comes_in_is_alive_and_known(self) -> None:
        for one in credentials(self.bench.accounts, self.bench.now):
            user, token = self.bench.accounts.users[one.user_id], self.bench.accounts.tokens[one.token_id]
            assert user.is_active and token.is_live(self.bench.now)
            assert (one.level, one.team_id, one.scopes) == (user.level, user.team_id, token.scopes)
            assert user.team_id is None or user.team_id in self.bench.accounts.teams

    @invariant()
    def no_secret_is_in_what_is_stored_or_told(self) -> None:
        told = repr((self.bench.accounts, self.bench.stored, self.bench.audit))
        assert not any(secret in told for secret in self.bench.given)


def test_any_order_of_anything_by_anybody() -> None:
    run_state_machine_as_test(Town, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("text", ["", "gy_x", "ü" * 99, "\ud800"])
def test_any_text_has_a_digest(text: str) -> None:
    assert len(digest_of(text)) == 64
