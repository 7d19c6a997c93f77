"""Whoever may write the database gets back in: with a new token, in the audit, while the server is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuyard.actors.model.accounts import digest_of
from gpuyard.actors.model.commands import ChangeUser, ListUsers, WatchPeople
from gpuyard.actors.model.errors import DatabaseRefused, NotFound, WrongState
from gpuyard.actors.people import new_secret
from gpuyard.actors.store.database import Database
from gpuyard.actors.store.rescue import rescue
from tests import leaks
from tests.support_people import town

NOW = 1_900_000_000.0


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


def test_an_admin_gets_back_in_even_one_that_was_shut_out(tmp_path: Path) -> None:
    with town(tmp_path) as people:
        people.add("root", "admin")
        eve = people.add("eve", "admin")
        people.ask(ChangeUser(user_id=eve.user.id, disabled=True))
        with pytest.raises(DatabaseRefused):
            rescue(people.database, None, NOW, new_secret)
    found = rescue(tmp_path / "jobs.db", "eve", NOW, new_secret)
    other = rescue(tmp_path / "jobs.db", None, NOW, new_secret)
    assert (found.username, other.username) == ("eve", "root")
    with town(tmp_path) as people:
        comes_in = {one.digest: one.username for one in people.ask(WatchPeople()).credentials}
        assert comes_in[digest_of(found.secret)] == "eve" and comes_in[digest_of(other.secret)] == "root"
        assert not any(user.disabled for user in people.ask(ListUsers()))
    database = Database.open(tmp_path / "jobs.db")
    try:
        lines = database.connection.execute("SELECT subject FROM audit WHERE action = 'rescued'").fetchall()
    finally:
        database.close()
    assert lines == [("user 2 eve",), ("user 1 root",)]


def test_only_admins_are_rescued_and_only_where_there_are_users(tmp_path: Path) -> None:
    Database.open(tmp_path / "jobs.db").close()
    with pytest.raises(WrongState, match="no users"):
        rescue(tmp_path / "jobs.db", None, NOW, new_secret)
    with town(tmp_path) as people:
        people.add("root", "admin")
        people.add("ann", "lead")
    for name in ("ann", "nobody"):
        with pytest.raises(NotFound, match="there are: root"):
            rescue(tmp_path / "jobs.db", name, NOW, new_secret)
