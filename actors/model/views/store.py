"""Answers of the store about itself."""

from __future__ import annotations

from gpuyard.actors.model.views.base import View


class DatabaseIdentity(View, frozen=True, kw_only=True):
    """`db_id` is the same in every copy; `db_epoch` is raised when an older state takes the place of a newer one."""

    db_id: str
    db_epoch: int
