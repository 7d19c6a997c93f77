"""What all answers have in common."""

from __future__ import annotations

import msgspec


class View(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of all answers: tagged, so that they travel over a link."""
