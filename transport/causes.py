"""Why a frame or a connection was refused or ignored: the one list, and what counts it.

Nothing that a peer does ends an actor. What it may not do is counted here by its cause, and `GatewayStats.refused`
(and /metrics) shows it.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum


class Cause(StrEnum):
    """Each member's paragraph says what happened."""

    UNKNOWN_KEY = "unknown_key"
    """A key that is not in the allow-list knocked: refused at the handshake."""
    WRONG_DOMAIN = "wrong_domain"
    """A handshake for another ZAP domain, or not by CURVE: refused."""
    HANDSHAKE = "handshake"
    """No handshake of ours: plaintext, another protocol, too slow, a wrong server key, or nobody there to allow it."""
    ENDED = "ended"
    """A connection ended: closed, lost, or cut off by ZeroMQ because of a frame over 1 MiB (it does not say which)."""
    REVOKED = "revoked"
    """A live connection whose key has left the allow-list said something: ignored."""
    PARTS = "parts"
    """A message of no part or of several: ignored."""
    BAD_FRAME = "bad_frame"
    """Bytes that are no frame: ignored."""
    UNSUPPORTED = "unsupported"
    """A frame of an unknown kind, or one that belongs on another socket: declined."""
    VERSION = "version"
    """A greeting in a version that is not spoken here: declined."""
    NOT_GREETED = "not_greeted"
    """A frame before the greeting: declined."""
    REPLAYED = "replayed"
    """A heartbeat that is not newer than the last one of its session: ignored."""
    FLOOD = "flood"
    """More frames than one peer may send in a second: ignored unread."""
    NOT_ASKED = "not_asked"
    """An answer to a question that this peer was not asked (any more): ignored."""
    NOT_ALLOWED = "not_allowed"
    """A call of an actor or with a message that is not in the table of calls: answered with an error."""
    TOO_MANY_CALLS = "too_many_calls"
    """A peer has too many calls open: answered with Busy."""
    MISROUTED = "misrouted"
    """We were to send to a connection that is gone, or that belongs to another key: not sent."""
    SLOW = "slow"
    """A peer does not take what it is sent (its queue is full): dropped."""
    TOO_LARGE = "too_large"
    """A frame of ours would be larger than a frame may be: not sent."""


class Tally:
    """Counts by cause."""

    def __init__(self) -> None:
        self._counts: Counter[Cause] = Counter()

    def add(self, cause: Cause) -> None:
        self._counts[cause] += 1

    def view(self) -> dict[str, int]:
        """Every cause with its count, also those that never happened: a metric exists before its first event."""
        return {str(cause): self._counts[cause] for cause in Cause}
