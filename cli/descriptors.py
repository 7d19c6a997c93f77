"""May the server open enough files? Each run and each connection costs it some; without them it would limp."""

from __future__ import annotations

import resource
from typing import Final

# What a server with some dozens of runs and viewers needs; what it takes where the hard limit lets it.
LEAST: Final = 256
WANTED: Final = 1024


class TooFew(Exception):
    """The text says how many there are, and how to get more."""


def take_enough() -> int:
    """Raise the soft limit of open files to 1024 where it is lower; the limit now. Raises TooFew under 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < WANTED:
        soft = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft != resource.RLIM_INFINITY and soft < LEAST:
        raise TooFew(
            f"it may open {soft} files, but needs {LEAST}: raise the hard limit with ulimit -n {WANTED},"
            f" or LimitNOFILE={WANTED} in the systemd unit"
        )
    return soft
