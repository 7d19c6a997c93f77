"""Single key presses from a terminal, without waiting for Enter; the terminal is always put back."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gpuyard.cli.terminal import is_terminal


@contextmanager
def pressed() -> Iterator[Keys]:
    """Keys of the terminal on stdin; where there is none, no key is ever pressed."""
    if not is_terminal(sys.stdin):
        yield Keys(None)
        return
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)  # Ctrl-C still interrupts
        yield Keys(fd)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


class Keys:
    """What is pressed on one terminal."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def within(self, seconds: float) -> str:
        """The keys that are pressed within `seconds`, at once when there are any; empty when none was."""
        if self._fd is None:
            time.sleep(seconds)
            return ""
        ready, _, _ = select.select([self._fd], [], [], seconds)
        return os.read(self._fd, 64).decode("utf-8", "replace") if ready else ""
