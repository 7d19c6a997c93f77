"""Example answers of the route of usage."""

from __future__ import annotations

from typing import Any, Final

# By operation id.
USAGE: Final[dict[str, Any]] = {
    "get_usage": {
        "first": "2026-11-01",
        "last": "2026-11-22",
        "period": "month",
        "by": ["user"],
        "lines": [
            {
                "period": "2026-11",
                "user_id": 2,
                "username": "ann",
                "team_id": None,
                "place": None,
                "runs": 41,
                "running": 1,
                "run_hours": 61.5,
                "gpu_hours": 123.0,
                "gpu_seconds": 442_800.0,
            }
        ],
        "runs": 41,
        "gpu_hours": 123.0,
    },
}
