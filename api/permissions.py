"""Who may use which route: the one table. A route without a row makes `create_app` fail.

public  no identity is asked for.
viewer  any identity; what it may see and do with whose jobs is decided by the actor that answers (`Viewer`).
lead    leads and admins. admin: admins only.
"""

from __future__ import annotations

from enum import StrEnum

from gpuyard.actors.model.errors import NotAllowed
from gpuyard.actors.model.people import Level, Viewer


class Rule(StrEnum):
    PUBLIC = "public"
    VIEWER = "viewer"
    LEAD = "lead"
    ADMIN = "admin"


RULES: dict[tuple[str, str], Rule] = {
    ("GET", "/openapi.json"): Rule.PUBLIC,
    # health
    ("GET", "/healthz"): Rule.PUBLIC,
    ("GET", "/readyz"): Rule.PUBLIC,
    ("GET", "/metrics"): Rule.VIEWER,
    # events
    ("GET", "/api/events"): Rule.VIEWER,
    # queue
    # jobs
    # configs
    # system
}

LEVELS = {Rule.VIEWER: Level.VIEWER, Rule.LEAD: Level.LEAD, Rule.ADMIN: Level.ADMIN}


def check(rule: Rule, viewer: Viewer) -> None:
    """Raises NotAllowed when `viewer`'s level is below what `rule` asks for."""
    needed = LEVELS.get(rule, Level.VIEWER)
    if viewer.level < needed:
        raise NotAllowed(f"this needs level {needed.name.lower()}: ask an admin")


def is_public(method: str, path: str) -> bool:
    """Is no identity asked for here? Public addresses have no parameters, so that this is one look."""
    return RULES.get((method, path)) is Rule.PUBLIC
