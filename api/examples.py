"""One example answer for each route, shown in the OpenAPI document. Tests hold them against the answers' types."""

from __future__ import annotations

from typing import Any, Final

from gpuyard.api.examples_charts import CHARTS
from gpuyard.api.examples_cloud import CLOUD
from gpuyard.api.examples_people import PEOPLE
from gpuyard.api.examples_rules import RULES
from gpuyard.api.examples_usage import USAGE
from gpuyard.api.examples_webhooks import WEBHOOKS
from gpuyard.api.examples_workers import FLEET

JOB_ID: Final = "3k9w2m7q1x0d"

LIMITS: Final[dict[str, Any]] = {
    "max_concurrent": 5,
    "user_max_concurrent": 2,
    "team_max_concurrent": 10,
    "enable_fair_share": False,
    "local_gpu_max_concurrent": 6,
    "local_job_max_concurrent": 2,
    "local_cpu_job_max_concurrent": 8,
    "user_max_gpus": None,
    "starvation_threshold_minutes": 60.0,
    "reserve_after_seconds": 300.0,
    "cancel_hold_seconds": None,
    "approval_expiry_hours": None,
}

REASON: Final[dict[str, Any]] = {
    "code": "GpusBusy",
    "text": "It needs 2 GPUs; 1 of 4 is free.",
    "detail": {"needed": 2, "free": 1, "total": 4},
    "blocking_jobs": ["7c1n4d8z0r2v"],
    "unblock": "gpuyard jobs cancel 7c1n4d8z0r2v",
    "never": False,
}

ENTRY: Final[dict[str, Any]] = {
    "id": 12,
    "job_id": JOB_ID,
    "user_id": 1,
    "team_id": None,
    "provider": "local",
    "config_name": "my-training-config",
    "job_type": "local",
    "target": "auto",
    "priority": 30,
    "priority_name": "urgent",
    "priority_override": None,
    "effective_priority": 30,
    "status": "pending",
    "phase": None,
    "position": 1,
    "queued_at": "2026-11-22T02:05:00.000Z",
    "started_at": None,
    "completed_at": None,
    "estimated_cost": 0.0,
    "requires_approval": False,
    "approval_id": None,
    "attempt": 1,
    "max_attempts": 3,
    "error_message": None,
    "num_processes": 2,
    "allocated_gpus": None,
    "worker_id": None,
    "worker_name": None,
    "progress": None,
    "reasons": [REASON],
    "metadata": {"run_name": "sdxl-lora-7"},
    "name": None,
    "held": False,
    "cost_usd": None,
    "exit_code": None,
    "exit_class": None,
    "retry_of": None,
    "fence": None,
    "command": ["accelerate", "launch", "train.py", "--lr", "1e-4"],
    "device_ids": [],
    "time_limit": 43200.0,
    "window": None,
    "secrets": [],
}

RUNNING: Final = ENTRY | {
    "status": "running",
    "phase": "running",
    "position": None,
    "started_at": "2026-11-22T02:05:00.210Z",
    "allocated_gpus": [0, 1],
    "reasons": [],
    "fence": 1099511627788,
}

ATTEMPT: Final[dict[str, Any]] = {
    "fence": 1099511627788,
    "number": 1,
    "phase": "exited",
    "host": "local",
    "gpus": [0, 1],
    "assigned_at": "2026-11-22T02:05:00.120Z",
    "started_at": "2026-11-22T02:05:00.210Z",
    "ended_at": "2026-11-22T03:17:41.000Z",
    "pid": 41712,
    "exit_code": 0,
    "exit_class": "completed",
    "error": None,
    "gpu_uuids": ["GPU-5f3c", "GPU-9d1a"],
}

JOB: Final = RUNNING | {
    "status": "completed",
    "phase": None,
    "completed_at": "2026-11-22T03:17:41.000Z",
    "exit_code": 0,
    "exit_class": "completed",
    "created_at": "2026-11-22T02:05:00.000Z",
    "finished_at": "2026-11-22T03:17:41.000Z",
    "duration_seconds": 4360.79,
    "is_active": False,
    "is_terminal": True,
    "queue_position": None,
    "attempts": [ATTEMPT],
}

EVENT: Final[dict[str, Any]] = {
    "id": 812,
    "at": "2026-11-22T02:05:00.000Z",
    "kind": "job_submitted",
    "job_id": JOB_ID,
    "user_id": 1,
    "by": "owner",
    "data": {},
    "cause": "9f2c51d07a3be846",
}

SUBMITTED: Final[dict[str, Any]] = {
    "success": True,
    "job_id": JOB_ID,
    "status": "running",
    "allocated_gpus": [0, 1],
    "allocated_worker_id": None,
    "queue_position": None,
    "requires_approval": False,
    "error": None,
    "reason": None,
    "reasons": [],
    "idempotent_hit": False,
    "approval_id": None,
    "dry_run": False,
    "estimated_cost": 0.0,
}

CHANGED: Final[dict[str, Any]] = {
    "success": True,
    "job_id": JOB_ID,
    "status": "pending",
    "phase": None,
    "processing_held": False,
}

DEVICE: Final[dict[str, Any]] = {
    "index": 0,
    "name": "A100",
    "memory_gb": 40,
    "allocated": True,
    "job_id": JOB_ID,
    "uuid": "GPU-8a4f1c1e-0000-4000-8000-000000000000",
    "state": "held",
    "reason": None,
    "memory_used_gb": 31.5,
    "utilization": 97,
    "temperature_c": 64,
    "power_w": 312.0,
    "worker_id": None,
    "worker": None,
}

ASIDE: Final[dict[str, Any]] = {"success": True, "uuid": DEVICE["uuid"], "index": 0, "state": "free", "worker": None}

LOCAL: Final[dict[str, Any]] = {
    "running_jobs": 1,
    "pending_jobs": 0,
    "cpu_running_jobs": 0,
    "allocated_gpus": [0, 1],
    "available_gpus": [2, 3],
    "total_gpus": 4,
    "max_concurrent_gpus": 6,
    "max_concurrent_jobs": 2,
}

WORKERS: Final[dict[str, Any]] = {
    "total_workers": 0,
    "idle_workers": 0,
    "busy_workers": 0,
    "offline_workers": 0,
    "draining_workers": 0,
    "connecting_workers": 0,
    "running_jobs": 0,
    "pending_jobs": 0,
}

STATS: Final = {
    "queue_depth": 3,
    "running": 2,
    "total_pending": 3,
    "total_running": 3,
    "by_status": {"pending": 3, "running": 3, "completed": 41},
    "by_user": {"1": 2, "2": 4},
    "avg_wait_seconds": 45.2,
    "processing_held": False,
    "local": LOCAL,
    "workers": WORKERS,
    "pending_by_reason": {},
    "gpu_idle_seconds": 12.5,
    "paused": [],
    "store_error": None,
} | LIMITS

STATUS: Final[dict[str, Any]] = {
    "timestamp": 1704067200.0,
    "load_avg_5min": 2.5,
    "memory_percent": 45.2,
    "gpus": [DEVICE],
    "gpu_inventory": {
        "backend": "cuda",
        "count": 4,
        "capabilities": {"allocation": True, "models": {"A100": 4}, "memory_gb_total": 160},
        "error": None,
    },
    "gpu_allocation": {
        "allocated_gpus": [0, 1],
        "available_gpus": [2, 3],
        "running_local_jobs": 1,
        "devices": [DEVICE],
        "worker_devices": [DEVICE | {"uuid": "GPU-1b2c", "worker_id": "w-5t1b6e2k9v3h", "worker": "gpu-box"}],
    },
    "uptime_seconds": 86400.0,
}

MINE: Final[dict[str, Any]] = {
    "pending_count": 1,
    "running_count": 1,
    "blocked_count": 0,
    "best_position": 1,
    "pending_jobs": [ENTRY],
    "running_jobs": [RUNNING],
}

POSITION: Final[dict[str, Any]] = {
    "job_id": JOB_ID,
    "position": 1,
    "status": "pending",
    "priority": 30,
    "queued_at": "2026-11-22T02:05:00.000Z",
    "estimated_wait_seconds": 1260.0,
    "estimated_wait_low": 900.0,
    "estimated_wait_high": 2400.0,
    "reasons": [REASON],
}

DESCRIPTION: Final[dict[str, Any]] = {
    "command": ["accelerate", "launch", "train.py", "--lr", "1e-4"],
    "workdir": ".",
    "num_processes": 2,
    "time_limit": "12h",
}

# By operation id.
EXAMPLES: Final[dict[str, Any]] = {
    **PEOPLE,
    **CHARTS,
    **RULES,
    **USAGE,
    **WEBHOOKS,
    **FLEET,
    **CLOUD,
    "list_queue": {"entries": [RUNNING, ENTRY], "total": 2, "total_pending": 1, "total_running": 1},
    "queue_stats": STATS,
    "my_queue": MINE,
    "user_queue": MINE,
    "queue_position": POSITION,
    "submit_job": SUBMITTED,
    "submit_cloud_job": SUBMITTED
    | {
        "success": False,
        "job_id": None,
        "status": "rejected",
        "allocated_gpus": None,
        "error": "provider_not_configured",
        "reason": "The cloud provider replicate is not configured.",
    },
    "cancel_waiting_job": CHANGED | {"status": "cancelled"},
    "approve_job": CHANGED,
    "reject_job": CHANGED | {"status": "failed"},
    "set_priority": {
        "success": True,
        "job_id": JOB_ID,
        "previous_effective_priority": 30,
        "new_effective_priority": 45,
        "priority_override": 45,
    },
    "hold_job": CHANGED,
    "release_job": CHANGED,
    "get_limits": LIMITS,
    "set_limits": LIMITS | {"success": True},
    "pause_queue": {"success": True, "paused": ["local"], "dispatched": 0, "job_ids": []},
    "resume_queue": {"success": True, "paused": [], "dispatched": 1, "job_ids": [JOB_ID]},
    "process_queue": {"success": True, "dispatched": 1, "job_ids": [JOB_ID]},
    "clean_up_queue": {"success": True, "deleted": 42, "days": 30},
    "list_jobs": {"jobs": [JOB], "total": 1},
    "get_job": {"job": JOB | {"events": [EVENT], "config_hash": None, "workdir": "/home/me/project"}},
    "cancel_job": CHANGED | {"status": "running", "phase": "stopping", "processing_held": True},
    "cancel_jobs": {
        "success": True,
        "cancelled": [JOB_ID],
        "failed": [{"job_id": "7c1n4d8z0r2v", "detail": "no active job 7c1n4d8z0r2v"}],
        "still_pending": 0,
        "processing_held": True,
    },
    "retry_job": SUBMITTED
    | {"job_id": "9v3h5t1b6e2k", "status": "queued", "allocated_gpus": None, "queue_position": 4},
    "delete_job": {"success": True, "job_id": JOB_ID},
    "read_log": {"job_id": JOB_ID, "logs": "step 100 loss 0.113\n", "attempt": 1, "offset": 0, "size": 20},
    "job_progress": {"job_id": JOB_ID, "share": 0.3, "text": "step 120/400 loss 2.53", "loss": "2.53"},
    "job_events": {"job_id": JOB_ID, "events": [EVENT]},
    "list_configs": {
        "configs": [
            {
                "name": "my-training-config",
                "format": "toml",
                "file": "my-training-config.toml",
                "size": 412,
                "modified_at": "2026-11-20T10:00:00.000Z",
            }
        ],
        "count": 1,
    },
    "get_config": {
        "name": "my-training-config",
        "config": DESCRIPTION,
        "kind": "gpuyard",
        "format": "toml",
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    },
    "validate_config": {"valid": True, "is_valid": True, "errors": [], "warnings": []},
    "system_status": STATUS,
    "exclude_gpu": ASIDE | {"state": "excluded"},
    "include_gpu": ASIDE,
    "clear_gpu": ASIDE,
}
