"""Answers about job secrets."""

from __future__ import annotations

from gpuyard.actors.model.views.base import View


class SecretView(View, frozen=True, kw_only=True):
    """A secret without its value. `variable` is what a run finds it in, `set_by` the username of then."""

    name: str
    variable: str
    set_at: str
    set_by: str
    last_used_at: str | None


class SecretValues(View, frozen=True, kw_only=True):
    """Environment variable → value, for one run."""

    env: dict[str, str]

    def __repr__(self) -> str:
        return f"SecretValues({sorted(self.env)})"
