"""A test that leaves a thread, a socket or a process behind fails (STYLE, habit 4).

@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()
"""

from __future__ import annotations

import gc
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.support import eventually

# What an open descriptor may be without being a leak: files and devices.
KINDS = ("socket:", "pipe:", "anon_inode:")


def _descriptors() -> Counter[str]:
    """Open sockets, pipes, eventfds …, counted by what they are (an inode number is never the same twice)."""
    found: Counter[str] = Counter()
    for fd in list(Path("/proc/self/fd").iterdir()):
        try:
            target = str(fd.readlink())
        except OSError:
            continue
        if target.startswith(KINDS):
            found[target if target.startswith("anon_inode:") else f"{target} as {fd.name}"] += 1
    return found


def watched() -> Iterator[None]:
    """Yields once; afterwards everything that was not there before must go away within a few seconds."""
    threads = set(threading.enumerate())
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    descriptors = _descriptors()
    yield

    def clean() -> bool:
        left = [thread.name for thread in threading.enumerate() if thread not in threads]
        assert not left, f"threads left behind: {left}"
        assert not (new := _descriptors() - descriptors), f"descriptors left behind: {dict(new)}"
        processes = [c.pid for c in psutil.Process().children(recursive=True) if c.pid not in children]
        assert not processes, f"processes left behind: {processes}"
        return True

    def clean_once_collected() -> bool:
        gc.collect()
        return clean()

    try:
        clean()
    except AssertionError:
        eventually(clean_once_collected, timeout=5)
