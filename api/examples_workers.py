"""Example answers of the routes of workers."""

from __future__ import annotations

from typing import Any, Final

WORKER_ID: Final = "w-5t1b6e2k9v3h"
WORKER: Final[dict[str, Any]] = {
    "id": WORKER_ID,
    "name": "gpu-box",
    "status": "busy",
    "worker_type": "persistent",
    "gpu_count": 4,
    "gpu_name": "NVIDIA A100-SXM4-80GB",
    "gpu_vram_gb": 80.0,
    "labels": {"gpu_type": "a100-80gb", "location": "us-east-1"},
    "current_job_id": "3k9w2m7q1x0d",
    "current_job_ids": ["3k9w2m7q1x0d"],
    "last_heartbeat": "2026-11-22T02:05:00.000Z",
    "connected_at": "2026-11-21T18:00:12.000Z",
    "enrolled_at": "2026-11-20T09:00:00.000Z",
    "drained": False,
    "max_jobs": None,
    "cpu_count": 64,
    "version": "0.1.0",
    "address": "10.0.0.7",
    "why": None,
    "unreachable": [],
    "orphans": [],
    "clock_ahead_seconds": None,
}
TOKEN: Final = "gyw1_" + "x" * 160
ENROLLED: Final[dict[str, Any]] = {
    "success": True,
    "worker_id": WORKER_ID,
    "name": "gpu-box",
    "token": TOKEN,
    "connection_command": f"GPUYARD_WORKER_TOKEN={TOKEN} gpuyard worker",
    "endpoint": "tcp://queue.example.org:8100",
    "worker": WORKER
    | {"status": "connecting", "gpu_count": None, "gpu_name": None, "gpu_vram_gb": None}
    | {"current_job_id": None, "current_job_ids": [], "last_heartbeat": None, "connected_at": None}
    | {"cpu_count": None, "version": None, "address": None, "why": "it has not been heard yet"},
}

FLEET: Final[dict[str, Any]] = {
    "list_workers": {"workers": [WORKER]},
    "get_worker": WORKER,
    "add_worker": ENROLLED,
    "drain_worker": WORKER | {"status": "draining", "drained": True},
    "undrain_worker": WORKER,
    "rotate_worker_token": ENROLLED | {"worker": WORKER},
    "stop_orphan": {"success": True, "worker_id": WORKER_ID, "fence": 1099511627777},
    "delete_worker": {"success": True, "worker_id": WORKER_ID, "name": "gpu-box"},
}
