"""What tests share: waiting for a condition instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(check: Callable[[], T], timeout: float = 10.0, message: str = "") -> T:
    """The first true value of `check`, asked again and again until `timeout` seconds have passed.

    An AssertionError in `check` counts as "not yet"; the last one is raised at the deadline.
    """
    deadline = time.monotonic() + timeout
    pause = 0.001
    while True:
        failure: AssertionError | None = None
        try:
            value = check()
        except AssertionError as error:
            failure = error
        else:
            if value:
                return value
        if time.monotonic() > deadline:
            raise failure or AssertionError(message or f"not true within {timeout} s")
        time.sleep(pause)
        pause = min(0.05, pause * 1.5)
