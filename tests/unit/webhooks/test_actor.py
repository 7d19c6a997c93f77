"""Webhooks over a real store: what is kept where, whose it is, and what outlives a restart of the actor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.history import History
from gpuyard.actors.model import commands as c, names
from gpuyard.actors.model.errors import InvalidInput, NotAllowed, NotFound, StoreFailed, Unavailable
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.actors.model.webhooks import address
from gpuyard.actors.webhooks import MOST, Webhooks
from tests import leaks
from tests.receiver import receiver
from tests.support import eventually
from tests.support_people import Town, town, viewer_of

HERE = address.networks(["127.0.0.0/8"])
ANN = Viewer(user_id=3, username="ann", level=Level.RESEARCHER)


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


class Post:
    """Webhooks between a real store, a real History and real People."""

    def __init__(self, place: Town, folder: Path) -> None:
        self.town = place
        self.folder = folder / "secrets/webhooks"
        self._data = folder
        place.cast.start(History, names.HISTORY, place.database)
        self.settle()

    def settle(self) -> None:
        self.town.cast.end(names.WEBHOOKS)
        self.town.cast.start(Webhooks, names.WEBHOOKS, self._data, HERE)
        eventually(lambda: self.ask(c.Ready()))

    def ask(self, message: Message) -> Any:
        return self.town.cast.directory.ref(names.WEBHOOKS).ask(message).result(20)

    def add(self, url: str = "https://example.com/hook?token=abc", by: Viewer = ANN, **more: Any) -> Any:
        return self.ask(c.AddWebhook(url=url, by=by, **more))

    def keys(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    with town(tmp_path) as place:
        yield Post(place, tmp_path)
        assert place.cast.crashes == []


def test_one_outlives_a_restart_and_its_secret_is_in_its_file_alone(post: Post) -> None:
    made = post.add(events=("failed",))
    assert made.secret not in repr(made)
    assert (post.folder / made.webhook.id).read_text() == made.secret
    before = post.ask(c.ListWebhooks(by=ANN))
    post.settle()
    assert post.ask(c.ListWebhooks(by=ANN)) == before == [made.webhook]
    stored = b"".join(path.read_bytes() for path in post.town.database.parent.glob("jobs.db*"))
    assert made.secret.encode() not in stored and made.webhook.id.encode() in stored
    assert b"token=abc" not in _audit(post), "an address may be as good as a password"


def _audit(post: Post) -> bytes:
    page = post.town.cast.directory.ref(names.HISTORY).ask(c.ListAudit()).result(10)
    assert [line.action for line in page.entries] == ["webhook_added"]
    return repr(page).encode()


def test_a_change_that_is_not_durable_was_never_made(post: Post) -> None:
    made = post.add()
    store = post.town.cast
    real = store.directory.get(names.STORE)
    store.directory.drop(names.STORE)
    store.play(names.STORE, {c.Record: StoreFailed("the disk is full")})
    with pytest.raises(StoreFailed):
        post.add()
    for change in (
        c.SetWebhook(id=made.webhook.id, enabled=False, by=ANN),
        c.RemoveWebhook(id=made.webhook.id, by=ANN),
    ):
        with pytest.raises(StoreFailed):
            post.ask(change)
    store.end(names.STORE)
    assert real is not None
    store.directory.put(names.STORE, real)
    assert post.ask(c.ListWebhooks(by=ANN)) == [made.webhook]
    post.settle()
    assert post.ask(c.ListWebhooks(by=ANN)) == [made.webhook]
    assert post.keys() == {made.webhook.id}, "the secret of what was never stored is swept away"


def test_to_others_it_does_not_exist(post: Post) -> None:
    made = post.add()
    bob = Viewer(user_id=4, username="bob", level=Level.LEAD)
    for message in (
        c.SetWebhook(id=made.webhook.id, enabled=False, by=bob),
        c.RemoveWebhook(id=made.webhook.id, by=bob),
        c.TestWebhook(id=made.webhook.id, by=bob),
        c.ListDeliveries(id=made.webhook.id, by=bob),
        c.RemoveWebhook(id="../x", by=ANN),
    ):
        with pytest.raises(NotFound):
            post.ask(message)
    with pytest.raises(NotAllowed):
        post.ask(c.ListWebhooks(everybody=True, by=bob))
    assert post.ask(c.ListWebhooks(everybody=True)) == [made.webhook]
    assert post.ask(c.RemoveWebhook(id=made.webhook.id)).id == made.webhook.id
    assert post.keys() == set()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"url": "https://169.254.169.254/"}, InvalidInput),
        ({"events": ("started",)}, InvalidInput),
        ({"scope": "world"}, InvalidInput),
        ({"scope": "team"}, NotAllowed),
        ({"scope": "all"}, NotAllowed),
    ],
)
def test_what_is_wrong_or_not_allowed_leaves_nothing(post: Post, wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        post.add(**wrong)
    assert post.ask(c.ListWebhooks(by=ANN)) == [] and post.keys() == set()


def test_there_is_a_most_for_each_user(post: Post) -> None:
    for _ in range(MOST):
        post.add()
    with pytest.raises(InvalidInput, match=f"{MOST} webhooks already"):
        post.add()
    post.add(by=Viewer(user_id=4, username="bob"))


def test_who_is_deleted_leaves_none(post: Post) -> None:
    root = viewer_of(post.town.add("root", "admin"))
    ann = viewer_of(post.town.add("ann"))
    post.add(by=ann)
    mine = post.add(by=root)
    post.town.ask(c.RemoveUser(user_id=ann.user_id, by=root))
    eventually(lambda: post.ask(c.ListWebhooks(everybody=True)) == [mine.webhook])
    eventually(lambda: post.keys() == {mine.webhook.id})
    post.settle()
    assert post.ask(c.ListWebhooks(everybody=True)) == [mine.webhook]


def test_whoever_waits_for_a_test_is_told_when_the_actor_ends(post: Post) -> None:
    with receiver() as hook:
        hook.behave = lambda request, number: hook.over.wait(60) and None
        made = post.add(hook.url)
        asked = post.town.cast.directory.ref(names.WEBHOOKS).ask(c.TestWebhook(id=made.webhook.id, by=ANN))
        hook.wait(1)
        post.town.cast.end(names.WEBHOOKS)
        assert isinstance(asked.exception(20), Unavailable)
        hook.over.set()
