"""Example answers of the routes of charts."""

from __future__ import annotations

from typing import Any, Final

UUID: Final = "GPU-51111111-0000-4000-8000-000000000000"

CHARTS: Final[dict[str, Any]] = {
    "queue_history": {
        "every_seconds": 10.0,
        "samples": [{"at": "2026-11-22T02:05:00Z", "pending": 3, "running": 2, "gpus_used": 3, "gpus_total": 4}],
    },
    "gpu_history": {
        "every_seconds": 10.0,
        "gpus": [
            {
                "host": "local",
                "uuid": UUID,
                "samples": [{"at": "2026-11-22T02:05:00Z", "utilization": 97, "memory_used_gb": 38.1}],
            }
        ],
    },
    "queue_waits": {
        "jobs": 3,
        "p50_seconds": 4.2,
        "p95_seconds": 380.0,
        "longest_seconds": 380.0,
        "buckets": [{"up_to_seconds": 1.0, "jobs": 0}, {"up_to_seconds": 10.0, "jobs": 2}],
    },
    "gpu_timeline": {
        "since": "2026-11-21T20:05:00Z",
        "until": "2026-11-22T02:05:00Z",
        "spans": [
            {
                "host": "local",
                "uuid": UUID,
                "index": 0,
                "job_id": "3k9w2m7q1x0d",
                "title": "sdxl-lora-7",
                "started_at": "2026-11-22T01:12:00Z",
                "ended_at": None,
                "exit_class": None,
            }
        ],
    },
}
