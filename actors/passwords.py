"""Passwords, for the page's log-in only: argon2id with the library's parameters (RFC 9106), some 50 ms each.

Slow on purpose, so it runs on a thread of its own, one at a time, and only so many may wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gpuyard.actors.model.errors import Busy

if TYPE_CHECKING:
    from argon2 import PasswordHasher

T = TypeVar("T")

MOST_WAITING: Final = 16


@cache
def _hasher() -> PasswordHasher:
    # Imported when first used: a server whose people have no passwords never loads it.
    from argon2 import PasswordHasher

    return PasswordHasher()


@cache
def _nobodys() -> str:
    """What a name without a password is compared with, so that the answer takes as long as for one that has it."""
    return _hasher().hash("nobody has this password")


def hashed(password: str) -> str:
    return _hasher().hash(password)


def fits(password: str, stored: str | None) -> bool:
    """Is it the password that was stored? Takes its time in every case; None fits nothing."""
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        _hasher().verify(stored or _nobodys(), password)
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


class Slowly:
    """A thread that is started by the first piece of work, and does one after the other."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: set[Future[Any]] = set()

    def do(self, work: Callable[[], T], done: Callable[[Future[T]], None]) -> None:
        """`done` is called in that thread. Raises Busy when too many wait."""
        if len(self._waiting) >= MOST_WAITING:
            raise Busy("too many passwords are being looked at: try again shortly")
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        future = self._thread.submit(work)
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        future.add_done_callback(done)

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
