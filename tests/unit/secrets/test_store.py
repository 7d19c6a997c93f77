"""SecretStore over a real store: each change stands in the audit, no value in the database; who leaves leaves none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import (
    CheckSecrets,
    DeleteSecret,
    FetchSecrets,
    ListSecrets,
    Record,
    RemoveUser,
    SetSecret,
)
from gpuyard.actors.model.errors import InvalidInput, NotFound, StoreFailed
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import Viewer
from gpuyard.actors.secret_store import SecretStore
from tests import leaks
from tests.support import eventually
from tests.support_people import Town, town, viewer_of

VALUE = "canary-" + "x" * 40


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Town]:
    with town(tmp_path) as made:
        made.cast.start(SecretStore, names.SECRETS, tmp_path)
        yield made
        assert made.cast.crashes == []


def ask(place: Town, message: Message) -> Any:
    return place.cast.directory.ref(names.SECRETS).ask(message).result(10)


def audit(place: Town) -> list[tuple[str, int, str, str]]:
    with closing(sqlite3.connect(place.database)) as connection:
        query = "SELECT action, user_id, subject, detail FROM audit WHERE action LIKE 'secret%' ORDER BY id"
        return connection.execute(query).fetchall()


def test_it_is_kept_fetched_and_deleted_and_the_audit_tells(place: Town, tmp_path: Path) -> None:
    place.add("root", "admin")
    ann = viewer_of(place.add("ann"))
    message = SetSecret(name="hf", value=VALUE, variable="HF_TOKEN", by=ann)
    assert VALUE not in repr(message)
    view = ask(place, message)
    assert (view.name, view.variable, view.set_by) == ("hf", "HF_TOKEN", "ann")
    assert ask(place, ListSecrets(by=ann)) == [view] and ask(place, ListSecrets()) == []
    assert ask(place, CheckSecrets(names=("hf",), by=ann)) == ""
    assert "no secret hf" in ask(place, CheckSecrets(names=("hf",)))
    assert ask(place, FetchSecrets(fence=1, owner=ann.user_id, names=("hf",))).env == {"HF_TOKEN": VALUE}
    ask(place, DeleteSecret(name="hf", by=ann))
    with pytest.raises(NotFound, match="gpuyard secrets set hf"):
        ask(place, FetchSecrets(fence=1, owner=ann.user_id, names=("hf",)))
    assert audit(place) == [
        ("secret_set", ann.user_id, "hf", '{"variable":"HF_TOKEN"}'),
        ("secret_deleted", ann.user_id, "hf", "{}"),
    ]
    written = [path for path in tmp_path.rglob("*") if path.is_file() and VALUE.encode() in path.read_bytes()]
    assert written == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "../x"},
        {"variable": "GPUYARD_TOKEN"},
        {"name": "gpuyard_x", "variable": ""},
        {"name": "cuda_visible_devices", "variable": ""},
        {"value": ""},
        {"value": "a\0b"},
    ],
)
def test_what_is_wrong_changes_nothing_and_is_not_repeated(place: Town, wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        ask(place, SetSecret(**{"name": "hf", "value": VALUE, **wrong}))
    assert VALUE not in str(refused.value)
    assert ask(place, ListSecrets()) == [] and audit(place) == []


def test_nothing_changes_that_the_audit_cannot_tell_of(place: Town) -> None:
    ask(place, SetSecret(name="hf", value="first"))
    place.cast.play(names.STORE, {Record: StoreFailed("the disk is full")})
    for change in (SetSecret(name="hf", value=VALUE), DeleteSecret(name="hf")):
        with pytest.raises(StoreFailed, match="disk is full"):
            ask(place, change)
    assert ask(place, FetchSecrets(fence=1, owner=1, names=("hf",))).env == {"HF": "first"}


def test_who_leaves_leaves_none_and_the_first_user_takes_over_those_of_the_owner(place: Town) -> None:
    ask(place, SetSecret(name="mine", value=VALUE))
    root = viewer_of(place.add("root", "admin"))
    assert [view.name for view in ask(place, ListSecrets(by=root))] == ["mine"]
    ann = viewer_of(place.add("ann"))
    ask(place, SetSecret(name="hf", value=VALUE, by=ann))
    place.ask(RemoveUser(user_id=ann.user_id, by=root))
    assert eventually(lambda: ask(place, ListSecrets(by=ann)) == [])
    assert [view.name for view in ask(place, ListSecrets(by=root))] == ["mine"]


def test_who_comes_finds_none_of_a_number_that_was_given_before(place: Town) -> None:
    """As after the restore of an older database."""
    place.add("root", "admin")
    ask(place, SetSecret(name="stale", value=VALUE, by=Viewer(user_id=2, username="of another life")))
    ann = viewer_of(place.add("ann"))
    assert ann.user_id == 2
    assert eventually(lambda: ask(place, ListSecrets(by=ann)) == [])
