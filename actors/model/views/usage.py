"""Answers about usage."""

from __future__ import annotations

from gpuyard.actors.model.commit import AddUsage
from gpuyard.actors.model.views.base import View


class UsageSums(View, frozen=True, kw_only=True):
    """`rows` are the stored sums; `live` those of the asked fences that have not ended; `usernames` by user id."""

    rows: list[AddUsage]
    live: list[int]
    usernames: dict[int, str]
