"""Identities: job ids and fences.

A fence is the only identity of "this run" (DESIGN 4): one global, ever-growing integer,
`db_epoch * 2**40 + n`, so that a restored backup (which raises `db_epoch`) never hands one out twice.
"""

from __future__ import annotations

FENCE_BITS = 40
JOB_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
JOB_ID_LENGTH = 12


def make_fence(db_epoch: int, n: int) -> int:
    """The fence number `n` (from 1) of database epoch `db_epoch`."""
    return (db_epoch << FENCE_BITS) | n


def fence_epoch(fence: int) -> int:
    return fence >> FENCE_BITS


def job_id_from(random_bytes: bytes) -> str:
    """A job id of 12 letters and digits without look-alikes (Crockford base 32) from 8 random bytes."""
    value = int.from_bytes(random_bytes[:8], "big")
    letters = []
    for _ in range(JOB_ID_LENGTH):
        value, digit = divmod(value, 32)
        letters.append(JOB_ID_ALPHABET[digit])
    return "".join(letters)
