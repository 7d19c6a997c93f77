"""What tests of users and tokens share: a real store and a real People, and short ways to ask them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import AddUser, ListUsers
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import LEVELS, OWNER, Viewer
from gpuyard.actors.model.views import UserAdded
from gpuyard.actors.people import People
from gpuyard.actors.queue_store import QueueStore
from tests.answering import Cast, cast
from tests.support import eventually


class Town:
    """A store and People in a folder; `cast` holds them, and whoever else a test needs."""

    def __init__(self, made: Cast, folder: Path) -> None:
        self.cast = made
        self.database = folder / "jobs.db"
        made.start(QueueStore, names.STORE, self.database)
        self.settle()

    def settle(self) -> None:
        """Start People (anew) and wait until it has read its registers."""
        self.cast.end(names.PEOPLE)
        self.cast.start(People, names.PEOPLE)
        eventually(lambda: self.cast.directory.ref(names.PEOPLE).ask(ListUsers()).exception(10) is None)

    def ask(self, message: Message) -> Any:
        """The answer of People; its errors are raised."""
        return self.cast.directory.ref(names.PEOPLE).ask(message).result(10)

    def add(self, username: str, level: str = "researcher", **more: Any) -> UserAdded:
        added: UserAdded = self.ask(AddUser(username=username, level=level, **more))
        return added


@contextmanager
def town(folder: Path) -> Iterator[Town]:
    with cast() as made:
        yield Town(made, folder)


def viewer_of(added: UserAdded) -> Viewer:
    """Who the new user is when it asks with its first token."""
    user = added.user
    return Viewer(
        user_id=user.id,
        username=user.username,
        level=LEVELS[user.level],
        team_id=user.team_id,
        token_id=added.made.token.id,
    )


__all__ = ["OWNER", "Town", "town", "viewer_of"]
