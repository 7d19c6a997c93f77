"""Example answers of the cloud routes."""

from __future__ import annotations

from typing import Any, Final

PROVIDER: Final[dict[str, Any]] = {
    "name": "slurm",
    "enabled": True,
    "health": "ok",
    "circuit": "closed",
    "running": 3,
    "cost_usd": 41.5,
    "capabilities": ["logs", "listing", "time_limit", "uploads"],
    "configured": True,
    "why": "",
    "retry_at": None,
    "prices": {"a100": 2.0},
    "default_hardware": "a100",
}

CLOUD: Final[dict[str, Any]] = {
    "list_providers": {"providers": [PROVIDER]},
    "test_provider": {"success": True, "name": "ray", "detail": "Ray 2.60.0", "seconds": 0.02},
    "set_provider": PROVIDER | {"enabled": False, "health": "disabled"},
    "cloud_cost": {
        "by": "provider",
        "costs": [{"key": "slurm", "jobs": 12, "cost_usd": 41.5, "estimated_usd": 60.0, "unpriced": 0}],
        "total_usd": 41.5,
        "total_jobs": 12,
    },
    "hear_webhook": {"success": True},
}
