"""Who may use which route: the one table. A route without a row makes `create_app` fail.

public   no identity is asked for.
viewer   any identity; lists hold what it may see.
see      any identity, about one job: its own, or anybody's for leads and admins. To others the job does not exist: 404.
act      any identity, on one job: its own, or anybody's for admins. A lead sees others' jobs, but may not: 403.
clear    any identity, on one job that has ended: as `see`.
account  any identity, about its own account (for admins anybody's).
lead     leads and admins, about anybody's jobs. admin: admins only.

A row says the level; the scope that a token must have follows from it (`scope_of`). The level and the scope are
checked here, before the route runs; whose job it is, where that is known: by the actor that answers, or in `lookup.py`.
`tests/security/test_matrix.py` holds every row against the running application.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from gpuyard.actors.model.errors import NotAllowed
from gpuyard.actors.model.people import Level, Scope, Viewer


class Rule(StrEnum):
    PUBLIC = "public"
    VIEWER = "viewer"
    SEE = "see"
    ACT = "act"
    CLEAR = "clear"
    ACCOUNT = "account"
    LEAD = "lead"
    ADMIN = "admin"


RULES: dict[tuple[str, str], Rule] = {
    ("GET", "/openapi.json"): Rule.PUBLIC,
    # health
    ("GET", "/healthz"): Rule.PUBLIC,
    ("GET", "/readyz"): Rule.PUBLIC,
    ("GET", "/metrics"): Rule.LEAD,
    # events
    ("GET", "/api/events"): Rule.VIEWER,
    # queue
    ("GET", "/api/queue"): Rule.VIEWER,
    ("GET", "/api/queue/stats"): Rule.VIEWER,
    ("GET", "/api/queue/me"): Rule.VIEWER,
    ("GET", "/api/queue/user/{user_id}"): Rule.LEAD,
    ("GET", "/api/queue/position/{job_id}"): Rule.SEE,
    ("GET", "/api/queue/concurrency"): Rule.VIEWER,
    ("POST", "/api/queue/concurrency"): Rule.ADMIN,
    ("POST", "/api/queue/submit"): Rule.VIEWER,
    ("POST", "/api/queue/process"): Rule.ADMIN,
    ("POST", "/api/queue/pause"): Rule.ADMIN,
    ("POST", "/api/queue/resume"): Rule.ADMIN,
    ("POST", "/api/queue/cleanup"): Rule.ADMIN,
    ("POST", "/api/queue/{job_id}/cancel"): Rule.ACT,
    ("POST", "/api/queue/{job_id}/approve"): Rule.LEAD,
    ("POST", "/api/queue/{job_id}/reject"): Rule.LEAD,
    ("POST", "/api/queue/{job_id}/priority"): Rule.LEAD,
    ("POST", "/api/queue/{job_id}/hold"): Rule.ACT,
    ("POST", "/api/queue/{job_id}/release"): Rule.ACT,
    # jobs
    ("GET", "/api/jobs"): Rule.VIEWER,
    ("POST", "/api/jobs/cancel"): Rule.VIEWER,
    ("GET", "/api/jobs/{job_id}"): Rule.SEE,
    ("DELETE", "/api/jobs/{job_id}"): Rule.CLEAR,
    ("POST", "/api/jobs/{job_id}/cancel"): Rule.ACT,
    ("POST", "/api/jobs/{job_id}/retry"): Rule.CLEAR,
    ("GET", "/api/jobs/{job_id}/logs"): Rule.SEE,
    ("GET", "/api/jobs/{job_id}/logs/stream"): Rule.SEE,
    ("GET", "/api/jobs/{job_id}/progress"): Rule.SEE,
    ("GET", "/api/jobs/{job_id}/events"): Rule.SEE,
    ("GET", "/api/cloud/jobs"): Rule.VIEWER,
    ("POST", "/api/cloud/jobs/cancel"): Rule.VIEWER,
    ("GET", "/api/cloud/jobs/{job_id}"): Rule.SEE,
    ("DELETE", "/api/cloud/jobs/{job_id}"): Rule.CLEAR,
    ("POST", "/api/cloud/jobs/{job_id}/cancel"): Rule.ACT,
    ("POST", "/api/cloud/jobs/{job_id}/retry"): Rule.CLEAR,
    ("GET", "/api/cloud/jobs/{job_id}/logs"): Rule.SEE,
    ("GET", "/api/cloud/jobs/{job_id}/logs/stream"): Rule.SEE,
    ("GET", "/api/cloud/jobs/{job_id}/progress"): Rule.SEE,
    ("GET", "/api/cloud/jobs/{job_id}/events"): Rule.SEE,
    ("POST", "/api/cloud/jobs/submit"): Rule.VIEWER,
    # cloud
    ("GET", "/api/cloud/providers"): Rule.VIEWER,
    ("POST", "/api/cloud/providers/{name}/test"): Rule.ADMIN,
    ("PATCH", "/api/cloud/providers/{name}"): Rule.ADMIN,
    ("GET", "/api/cloud/cost"): Rule.VIEWER,
    ("POST", "/api/cloud/webhooks"): Rule.PUBLIC,
    # approvals
    ("GET", "/api/approvals"): Rule.VIEWER,
    ("POST", "/api/approvals/{approval_id}/approve"): Rule.LEAD,
    ("POST", "/api/approvals/{approval_id}/reject"): Rule.LEAD,
    ("GET", "/api/approvals/rules"): Rule.VIEWER,
    ("POST", "/api/approvals/rules"): Rule.ADMIN,
    ("GET", "/api/approvals/rules/{rule_id}"): Rule.VIEWER,
    ("PATCH", "/api/approvals/rules/{rule_id}"): Rule.ADMIN,
    ("DELETE", "/api/approvals/rules/{rule_id}"): Rule.ADMIN,
    ("POST", "/api/approvals/rules/{rule_id}/test"): Rule.ADMIN,
    # usage
    ("GET", "/api/usage"): Rule.VIEWER,
    # people
    ("GET", "/api/users"): Rule.LEAD,
    ("POST", "/api/users"): Rule.ADMIN,
    ("GET", "/api/users/me"): Rule.VIEWER,
    ("PATCH", "/api/users/{user_id}"): Rule.ADMIN,
    ("DELETE", "/api/users/{user_id}"): Rule.ADMIN,
    ("GET", "/api/teams"): Rule.VIEWER,
    ("POST", "/api/teams"): Rule.ADMIN,
    ("PATCH", "/api/teams/{team_id}"): Rule.ADMIN,
    ("DELETE", "/api/teams/{team_id}"): Rule.ADMIN,
    ("GET", "/api/tokens"): Rule.ACCOUNT,
    ("POST", "/api/tokens"): Rule.ACCOUNT,
    ("DELETE", "/api/tokens/{token_id}"): Rule.ACCOUNT,
    ("GET", "/api/webhooks"): Rule.ACCOUNT,
    ("POST", "/api/webhooks"): Rule.ACCOUNT,
    ("PATCH", "/api/webhooks/{webhook_id}"): Rule.ACCOUNT,
    ("DELETE", "/api/webhooks/{webhook_id}"): Rule.ACCOUNT,
    ("POST", "/api/webhooks/{webhook_id}/test"): Rule.ACCOUNT,
    ("GET", "/api/webhooks/{webhook_id}/deliveries"): Rule.ACCOUNT,
    ("GET", "/api/secrets"): Rule.ACCOUNT,
    ("PUT", "/api/secrets/{name}"): Rule.ACCOUNT,
    ("DELETE", "/api/secrets/{name}"): Rule.ACCOUNT,
    ("GET", "/api/audit"): Rule.ADMIN,
    ("PUT", "/api/users/{user_id}/password"): Rule.ACCOUNT,
    ("POST", "/api/login"): Rule.PUBLIC,
    ("POST", "/api/login/token"): Rule.VIEWER,
    ("POST", "/api/logout"): Rule.ACCOUNT,
    # configs
    ("GET", "/api/configs"): Rule.VIEWER,
    ("GET", "/api/configs/{name}"): Rule.VIEWER,
    ("POST", "/api/configs/{name}/validate"): Rule.VIEWER,
    # charts
    ("GET", "/api/queue/history"): Rule.VIEWER,
    ("GET", "/api/queue/waits"): Rule.VIEWER,
    ("GET", "/api/gpus/history"): Rule.VIEWER,
    ("GET", "/api/gpus/timeline"): Rule.VIEWER,
    # system
    ("GET", "/api/system/status"): Rule.VIEWER,
    # workers
    ("GET", "/api/admin/workers"): Rule.LEAD,
    ("POST", "/api/admin/workers"): Rule.ADMIN,
    ("GET", "/api/admin/workers/{worker}"): Rule.LEAD,
    ("DELETE", "/api/admin/workers/{worker}"): Rule.ADMIN,
    ("POST", "/api/admin/workers/{worker}/drain"): Rule.ADMIN,
    ("POST", "/api/admin/workers/{worker}/undrain"): Rule.ADMIN,
    ("POST", "/api/admin/workers/{worker}/orphans/{fence}/stop"): Rule.ADMIN,
    ("POST", "/api/admin/workers/{worker}/token"): Rule.ADMIN,
    # gpus
    ("POST", "/api/gpus/{gpu}/exclude"): Rule.ADMIN,
    ("POST", "/api/gpus/{gpu}/include"): Rule.ADMIN,
    ("POST", "/api/gpus/{gpu}/clear"): Rule.ADMIN,
    # the page: each part of it asks the API, as whoever looks
    ("GET", "/"): Rule.VIEWER,
    ("GET", "/jobs"): Rule.VIEWER,
    ("GET", "/jobs/{job_id}"): Rule.VIEWER,
    ("GET", "/gpus"): Rule.VIEWER,
    ("GET", "/submit"): Rule.VIEWER,
    ("GET", "/workers"): Rule.VIEWER,
    ("GET", "/approvals"): Rule.VIEWER,
    ("GET", "/admin"): Rule.VIEWER,
    ("GET", "/cloud"): Rule.VIEWER,
    ("GET", "/login"): Rule.PUBLIC,
    ("GET", "/usage"): Rule.VIEWER,
    ("GET", "/ui"): Rule.VIEWER,
    ("GET", "/ui/stream"): Rule.VIEWER,
    ("GET", "/assets/act.js"): Rule.PUBLIC,
    ("GET", "/assets/ages.js"): Rule.PUBLIC,
    ("GET", "/assets/bulk.js"): Rule.PUBLIC,
    ("GET", "/assets/icon.svg"): Rule.PUBLIC,
    ("GET", "/assets/live.js"): Rule.PUBLIC,
    ("GET", "/assets/log.js"): Rule.PUBLIC,
    ("GET", "/assets/login.js"): Rule.PUBLIC,
    ("GET", "/assets/morph.js"): Rule.PUBLIC,
    ("GET", "/assets/page.css"): Rule.PUBLIC,
    ("GET", "/assets/page.js"): Rule.PUBLIC,
    ("GET", "/assets/parts.css"): Rule.PUBLIC,
    ("GET", "/assets/submit.js"): Rule.PUBLIC,
    ("GET", "/assets/theme.js"): Rule.PUBLIC,
    ("GET", "/assets/toml.js"): Rule.PUBLIC,
}

LEVELS = {Rule.LEAD: Level.LEAD, Rule.ADMIN: Level.ADMIN}
READING = frozenset({"GET", "HEAD"})
ADMINISTRATION = frozenset({Rule.ACCOUNT, Rule.LEAD, Rule.ADMIN})


def scope_of(method: str, rule: Rule) -> Scope | None:
    """What a token must be good for here: to look, to put jobs in the queue and act on them, or all else."""
    if rule is Rule.PUBLIC:
        return None
    if method in READING:
        return Scope.READ
    return Scope.ADMIN if rule in ADMINISTRATION else Scope.SUBMIT


def check(rule: Rule, viewer: Viewer, method: str = "GET", scopes: Collection[Scope] = tuple(Scope)) -> None:
    """Raises NotAllowed when `viewer`'s level is below what `rule` asks for, or its token is not for that."""
    needed = LEVELS.get(rule, Level.VIEWER)
    if viewer.level < needed:
        raise NotAllowed(f"this needs level {needed.name.lower()}: ask an admin")
    scope = scope_of(method, rule)
    if scope is not None and scope not in scopes:
        raise NotAllowed(f"this token is not for that: it lacks the scope {scope}")


def is_public(method: str, path: str) -> bool:
    """Is no identity asked for here? Public addresses have no parameters, so that this is one look."""
    return RULES.get((method, path)) is Rule.PUBLIC
