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
    ("GET", "/api/queue"): Rule.VIEWER,
    ("GET", "/api/queue/stats"): Rule.VIEWER,
    ("GET", "/api/queue/me"): Rule.VIEWER,
    ("GET", "/api/queue/user/{user_id}"): Rule.LEAD,
    ("GET", "/api/queue/position/{job_id}"): Rule.VIEWER,
    ("GET", "/api/queue/concurrency"): Rule.VIEWER,
    ("POST", "/api/queue/concurrency"): Rule.ADMIN,
    ("POST", "/api/queue/submit"): Rule.VIEWER,
    ("POST", "/api/queue/process"): Rule.ADMIN,
    ("POST", "/api/queue/cleanup"): Rule.ADMIN,
    ("POST", "/api/queue/{job_id}/cancel"): Rule.VIEWER,
    ("POST", "/api/queue/{job_id}/approve"): Rule.LEAD,
    ("POST", "/api/queue/{job_id}/reject"): Rule.LEAD,
    ("POST", "/api/queue/{job_id}/priority"): Rule.LEAD,
    ("POST", "/api/queue/{job_id}/hold"): Rule.VIEWER,
    ("POST", "/api/queue/{job_id}/release"): Rule.VIEWER,
    # jobs
    ("GET", "/api/jobs"): Rule.VIEWER,
    ("POST", "/api/jobs/cancel"): Rule.VIEWER,
    ("GET", "/api/jobs/{job_id}"): Rule.VIEWER,
    ("DELETE", "/api/jobs/{job_id}"): Rule.VIEWER,
    ("POST", "/api/jobs/{job_id}/cancel"): Rule.VIEWER,
    ("POST", "/api/jobs/{job_id}/retry"): Rule.VIEWER,
    ("GET", "/api/jobs/{job_id}/logs"): Rule.VIEWER,
    ("GET", "/api/jobs/{job_id}/logs/stream"): Rule.VIEWER,
    ("GET", "/api/jobs/{job_id}/events"): Rule.VIEWER,
    ("GET", "/api/cloud/jobs"): Rule.VIEWER,
    ("POST", "/api/cloud/jobs/cancel"): Rule.VIEWER,
    ("GET", "/api/cloud/jobs/{job_id}"): Rule.VIEWER,
    ("DELETE", "/api/cloud/jobs/{job_id}"): Rule.VIEWER,
    ("POST", "/api/cloud/jobs/{job_id}/cancel"): Rule.VIEWER,
    ("POST", "/api/cloud/jobs/{job_id}/retry"): Rule.VIEWER,
    ("GET", "/api/cloud/jobs/{job_id}/logs"): Rule.VIEWER,
    ("GET", "/api/cloud/jobs/{job_id}/logs/stream"): Rule.VIEWER,
    ("GET", "/api/cloud/jobs/{job_id}/events"): Rule.VIEWER,
    ("POST", "/api/cloud/jobs/submit"): Rule.VIEWER,
    # configs
    ("GET", "/api/configs"): Rule.VIEWER,
    ("GET", "/api/configs/{name}"): Rule.VIEWER,
    ("POST", "/api/configs/{name}/validate"): Rule.VIEWER,
    # system
    ("GET", "/api/system/status"): Rule.VIEWER,
    # gpus
    ("POST", "/api/gpus/{gpu}/exclude"): Rule.ADMIN,
    ("POST", "/api/gpus/{gpu}/include"): Rule.ADMIN,
    ("POST", "/api/gpus/{gpu}/clear"): Rule.ADMIN,
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
