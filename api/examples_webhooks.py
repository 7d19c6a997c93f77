"""Example answers of the routes of webhooks."""

from __future__ import annotations

from typing import Any, Final

HOOK: Final[dict[str, Any]] = {
    "id": "wh_5f2b8c1d9e3a4f60",
    "user_id": 2,
    "username": "ann",
    "url": "https://example.com/hooks/gpuyard",
    "events": ["completed", "failed", "cancelled"],
    "scope": "own",
    "enabled": True,
    "why": "",
    "waiting": 0,
    "created_at": "2026-11-20T09:00:00.000Z",
    "delivered_at": "2026-11-22T02:05:00.000Z",
    "failing_since": None,
}
DELIVERY: Final[dict[str, Any]] = {
    "id": "msg_5f2b8c1d9e3a4f60812",
    "event": "job.completed",
    "job_id": "k3j5x9w2a7bq",
    "state": "delivered",
    "attempts": 1,
    "created_at": "2026-11-22T02:04:59.000Z",
    "next_at": None,
    "ended_at": "2026-11-22T02:05:00.000Z",
    "status": 200,
    "why": "",
}

# By operation id.
WEBHOOKS: Final[dict[str, Any]] = {
    "list_webhooks": {"webhooks": [HOOK]},
    "add_webhook": HOOK | {"secret": "whsec_" + "x" * 43 + "=", "success": True, "delivered_at": None},
    "change_webhook": HOOK,
    "remove_webhook": HOOK,
    "test_webhook": {"id": "msg_test1f2e3d4c", "ok": True, "status": 204, "why": "", "seconds": 0.12},
    "list_deliveries": {"deliveries": [DELIVERY]},
}
