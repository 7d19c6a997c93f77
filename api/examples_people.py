"""Example answers of the routes of users, teams, tokens and the audit."""

from __future__ import annotations

from typing import Any, Final

USER: Final[dict[str, Any]] = {
    "id": 2,
    "username": "ann",
    "level": "researcher",
    "team_id": "vision",
    "created_at": "2026-11-20T09:00:00.000Z",
    "disabled": False,
    "tokens": 1,
    "last_used_at": "2026-11-22T02:05:00.000Z",
    "has_password": False,
}
SECRET: Final = "gy_" + "x" * 43
TEAM: Final[dict[str, Any]] = {
    "id": "vision",
    "name": "Vision",
    "created_at": "2026-11-20T08:55:00.000Z",
    "members": ["ann"],
}
TOKEN: Final[dict[str, Any]] = {
    "id": 3,
    "user_id": 2,
    "username": "ann",
    "name": "laptop",
    "scopes": ["read", "submit"],
    "live": True,
    "created_at": "2026-11-20T09:00:00.000Z",
    "expires_at": "2027-02-18T09:00:00.000Z",
    "last_used_at": None,
    "revoked_at": None,
    "created_by": 1,
}
AUDIT: Final[dict[str, Any]] = {
    "id": "a17",
    "at": "2026-11-22T02:05:00.000Z",
    "user_id": 1,
    "username": "root",
    "token_id": 1,
    "address": "192.0.2.7",
    "action": "user_changed",
    "job_id": None,
    "subject": "user 2 ann",
    "detail": {"level": "lead"},
    "cause": "9f2c51d07a3be846",
}

JOB_SECRET: Final[dict[str, Any]] = {
    "name": "hf",
    "variable": "HF_TOKEN",
    "set_at": "2026-11-20T09:00:00.000Z",
    "set_by": "ann",
    "last_used_at": "2026-11-22T02:05:00.000Z",
}

# By operation id.
PEOPLE: Final[dict[str, Any]] = {
    "list_secrets": {"secrets": [JOB_SECRET]},
    "set_secret": JOB_SECRET | {"last_used_at": None},
    "delete_secret": JOB_SECRET,
    "list_users": {"users": [USER], "total": 1},
    "add_user": USER | {"token": SECRET, "token_id": 3, "first": False, "success": True},
    "change_user": USER,
    "remove_user": {"id": 2, "success": True},
    "who_am_i": {
        "id": 2,
        "username": "ann",
        "level": "researcher",
        "team_id": "vision",
        "token_id": 3,
        "scopes": ["read", "submit"],
        "single_user": False,
        "address": "192.0.2.7",
    },
    "list_teams": {"teams": [TEAM]},
    "add_team": TEAM,
    "change_team": TEAM,
    "remove_team": {"id": "vision", "success": True},
    "list_tokens": {"tokens": [TOKEN]},
    "create_token": TOKEN | {"token": SECRET, "success": True},
    "log_in": {"username": "ann", "token_id": 9, "expires_at": "2026-11-22T14:05:00.000Z", "success": True},
    "log_in_by_token": {"username": "ann", "token_id": 9, "expires_at": "2026-11-22T14:05:00.000Z", "success": True},
    "log_out": {"success": True},
    "set_password": {"success": True},
    "read_audit": {"entries": [AUDIT], "before": "a17e812"},
    "revoke_token": TOKEN | {"live": False, "revoked_at": "2026-11-22T02:05:00.000Z"},
}
