"""When a message is sent again that was not taken: soon at first, then rarely, for a bit more than a day."""

from __future__ import annotations

from typing import Final

# Seconds from one attempt to the next, 28 hours in all; each is stretched or shrunk by up to a fifth.
DELAYS: Final = (5.0, 30.0, 120.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 43_200.0)
SPREAD: Final = 0.2
LONGEST_ASKED: Final = 3_600.0


def next_at(attempts: int, now: float, chance: float, retry_after: float | None = None) -> float | None:
    """When to try again after `attempts` tries; None: not any more. `chance` is from 0 to 1.

    What the receiver asks for counts where it is later, up to an hour.
    """
    if attempts > len(DELAYS):
        return None
    delay = DELAYS[attempts - 1] * (1 - SPREAD + 2 * SPREAD * chance)
    return now + max(delay, min(retry_after or 0.0, LONGEST_ASKED))
