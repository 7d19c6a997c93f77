"""Query parameters that several routes take, bounded."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Path, Query

from gpuyard.actors.model.errors import InvalidInput
from gpuyard.actors.model.job import ALIASES, Status

LARGEST = 2**31

JobId = Annotated[str, Path(description="A job's id; for reading also any unique prefix.")]
UserId = Annotated[int, Path(ge=0, le=2**63 - 1)]
Offset = Annotated[int, Query(ge=0, le=LARGEST, description="How many to pass over.")]
StatusFilter = Annotated[
    str | None,
    Query(
        alias="status",
        max_length=200,
        description="One status or several with commas: blocked, pending (or queued), running, completed, failed,"
        " cancelled.",
    ),
]
IDEMPOTENCY_KEY = "Idempotency-Key"
KEY_MEANING = "Per user, for 24 h: the same key and body answer the first job again."
IdempotencyKey = Annotated[str | None, Header(description=KEY_MEANING)]


def statuses(text: str | None) -> tuple[Status, ...]:
    """The statuses that a filter names, without duplicates; none for no filter. Raises InvalidInput."""
    if text is None:
        return ()
    found: dict[Status, None] = {}
    for word in text.split(","):
        word = word.strip().lower()
        status = ALIASES.get(word) or (Status(word) if word in {*Status} else None)
        if status is None:
            raise InvalidInput("status must be one of " + ", ".join([*Status, *ALIASES]), field="status")
        found[status] = None
    return tuple(found)
