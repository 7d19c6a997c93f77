"""People over a real store: what it answered is durable, and whoever waits for news hears it first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gpuyard.actors.model import names
from gpuyard.actors.model.accounts import digest_of
from gpuyard.actors.model.commands import (
    AddTeam,
    AddUser,
    ChangeUser,
    ListTokens,
    ListUsers,
    MakeToken,
    RemoveUser,
    RevokeToken,
    WatchPeople,
)
from gpuyard.actors.model.errors import InvalidInput, NotAllowed, StoreFailed, Unavailable, WrongState
from gpuyard.actors.model.views import PeopleView
from tests import leaks
from tests.support import eventually
from tests.support_people import Town, town, viewer_of


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Town]:
    with town(tmp_path) as made:
        yield made


def test_before_the_first_user_there_is_the_owner_alone(people: Town) -> None:
    view: PeopleView = people.ask(WatchPeople())
    assert (view.single_user, view.credentials) == (True, [])
    assert people.ask(ListUsers()) == []
    with pytest.raises(WrongState, match="no users yet"):
        people.ask(MakeToken())
    with pytest.raises(InvalidInput, match="must be an admin"):
        people.add("ann", "researcher")


def test_the_first_user_takes_over_the_owners_id_and_jobs(people: Town) -> None:
    added = people.add("root", "admin")
    assert (added.user.id, added.first, added.user.level) == (1, True, "admin")
    assert people.add("ann").user.id == 2
    assert not people.add("bob").first


def test_accounts_outlive_a_restart_and_the_secret_is_stored_nowhere(people: Town) -> None:
    people.ask(AddTeam(name="Red Team"))
    people.add("root", "admin")
    ann = people.add("ann", "lead", team_id="red-team")
    before = [people.ask(ListUsers()), people.ask(ListTokens(everybody=True)), people.ask(WatchPeople()).credentials]
    people.settle()
    after = [people.ask(ListUsers()), people.ask(ListTokens(everybody=True)), people.ask(WatchPeople()).credentials]
    assert after == before
    found = {one.digest: one for one in people.ask(WatchPeople()).credentials}[digest_of(ann.made.secret)]
    assert (found.username, found.level, found.team_id) == ("ann", 20, "red-team")
    stored = people.database.read_bytes() + people.database.with_name("jobs.db-wal").read_bytes()
    assert ann.made.secret.encode() not in stored
    assert digest_of(ann.made.secret).encode() in stored


def test_news_come_before_the_answer_of_the_change(people: Town) -> None:
    people.add("root", "admin")
    ann = people.add("ann")
    seen = people.ask(WatchPeople()).revision
    news = people.cast.directory.ref(names.PEOPLE).ask(WatchPeople(seen=seen))
    done = people.cast.directory.ref(names.PEOPLE).ask(RevokeToken(token_id=ann.made.token.id))
    heard: list[bool] = []
    done.add_done_callback(lambda _: heard.append(news.done()))
    assert done.result(10).live is False
    assert heard == [True]
    assert [one.username for one in news.result(0).credentials] == ["root"]


def test_without_news_the_watcher_is_answered_in_the_end(people: Town) -> None:
    view = people.ask(WatchPeople())
    again = people.ask(WatchPeople(seen=view.revision))
    assert (again.revision, again.credentials) == (view.revision, None)


def test_changes_stand_in_the_audit_with_who_did_them(people: Town) -> None:
    root = viewer_of(people.add("root", "admin"))
    ann = people.add("ann", by=root)
    people.ask(ChangeUser(user_id=ann.user.id, level="lead", by=root))
    people.ask(RemoveUser(user_id=ann.user.id, by=root, cause="req-7"))
    with closing(sqlite3.connect(people.database)) as connection:
        lines = connection.execute(
            "SELECT action, username, token_id, subject, cause FROM audit ORDER BY id"
        ).fetchall()
    assert [line[0] for line in lines] == ["user_added", "user_added", "user_changed", "user_removed"]
    assert lines[0][1:3] == ("owner", None)
    assert lines[3][1:] == ("root", 1, "user 2 ann", "req-7")


def test_refused_changes_change_nothing(people: Town) -> None:
    root = people.add("root", "admin")
    ann = viewer_of(people.add("ann"))
    seen = people.ask(WatchPeople()).revision
    for message, error in (
        (AddUser(username="ANN", level="viewer"), InvalidInput),
        (AddUser(username="eve", level="admin", by=ann), NotAllowed),
        (ChangeUser(user_id=1, level="lead"), WrongState),
        (ChangeUser(user_id=1, disabled=True), WrongState),
        (RemoveUser(user_id=1), WrongState),
        (RevokeToken(token_id=root.made.token.id), WrongState),
        (ListUsers(by=ann), NotAllowed),
        (ListTokens(user_id=1, by=ann), NotAllowed),
    ):
        with pytest.raises(error):
            people.ask(message)
    assert people.ask(WatchPeople()).revision == seen


def test_uses_are_written_once_a_minute(people: Town) -> None:
    made = people.add("root", "admin").made
    now = people.cast.context("x").clock.now()
    people.ask(WatchPeople(used={made.token.id: now, 99: now}))
    people.ask(WatchPeople(used={made.token.id: now + 1}))

    def stored() -> list[tuple[str]]:
        with closing(sqlite3.connect(people.database)) as connection:
            return connection.execute("SELECT last_used_at FROM token WHERE last_used_at IS NOT NULL").fetchall()

    eventually(stored)
    shown = people.ask(ListTokens(everybody=True))[0].last_used_at
    assert stored() == [(shown,)]
    people.ask(WatchPeople(used={made.token.id: now + 61}))
    eventually(lambda: stored() and stored()[0][0] > shown)


def test_while_the_store_is_away_nothing_is_accepted_and_afterwards_all_is_well(people: Town) -> None:
    people.add("root", "admin")
    people.cast.end(names.STORE)
    with pytest.raises((StoreFailed, Unavailable)):
        people.add("ann")
    assert [user.username for user in people.ask(ListUsers())] == ["root"]
    from gpuyard.actors.queue_store import QueueStore

    people.cast.start(QueueStore, names.STORE, people.database)
    eventually(lambda: people.add("ann").user.id == 2 if len(people.ask(ListUsers())) == 1 else True, timeout=30)
    assert [user.username for user in people.ask(ListUsers())] == ["root", "ann"]
