"""What the story tells: every kind of event and every class of an attempt's end, with its meaning in one line.

REFERENCE.md is made from these tables; tests hold them against the core.
"""

from __future__ import annotations

from typing import Final

EVENTS: Final[dict[str, str]] = {
    "job_submitted": "A job was accepted; data: its first status.",
    "job_approved": "A blocked job was let into the queue; data: the reason, where one was given.",
    "job_rejected": "A blocked job was refused; data: the reason. It has failed.",
    "approval_expired": "Nobody decided on a blocked job in time; data: the approval. It has failed.",
    "priority_changed": "A waiting job's priority was set by hand, or no longer is; data: before and after.",
    "job_held": "A waiting job was held by hand.",
    "job_released": "A held job may start again.",
    "job_assigned": "A job was given its place, not yet started; data: attempt, fence, host and GPU indices.",
    "job_accepted": "A cloud provider has taken the job; data: attempt, its id and address there.",
    "job_progress": "A cloud provider says how far the job is; data: attempt and its words.",
    "job_started": "The program lives; data: attempt, pid and, the first time, seconds waited.",
    "job_stopping": "A running job is being stopped; data: attempt.",
    "job_completed": "The program ended with code 0; data: attempt, exit code and class, seconds it ran.",
    "job_failed": "A run ended otherwise and is not tried again; data as for job_completed, and the message.",
    "job_requeued": "A run ended early and the job waits for its next attempt; data as for job_failed.",
    "job_cancelled": "A job was cancelled and nothing of it runs; data of a run's end, if there was one.",
    "job_deleted": "An ended job was deleted, with its attempts and logs.",
    "foreign_process_seen": "A process from outside the queue is on a GPU just handed out; data: GPU and pids.",
    "gpu_changed": "A GPU can be handed out again, or no longer; data: UUID, index and state.",
    "worker_added": "A worker was enrolled, or is known again; data: its id, name and state.",
    "worker_changed": "A worker came, fell silent or is drained; data: its id, name and state (online: idle or busy).",
    "worker_removed": "A worker is no more; data: its id and name.",
    "queue_paused": "An admin paused targets: nothing starts there; data: which.",
    "queue_resumed": "An admin resumed targets; data: which.",
    "limits_changed": "An admin changed limits; data: the changes.",
    "queue_processed": "An admin had the queue processed; data: how many jobs started.",
    "queue_cleaned": "An admin deleted jobs that ended long ago; data: days, and how many jobs.",
    "orphan_seen": "A run that this database does not know lives here; it is left alone. Data: fence, job and pid.",
    "orphan_stopped": "An admin had such a run stopped; data: its fence and where it lives.",
}

ENDS: Final[dict[str, str]] = {
    "completed": "The program ended with code 0.",
    "exit:N": "The program ended with code N. Not tried again unless `retry_on` says so.",
    "signal:NAME": "A signal ended the program; its exit code is 128 + the signal's number.",
    "oom": "Memory ran out, of the GPU or of the host.",
    "timeout": "The job's time limit was reached.",
    "lost": "Contact ended and the outcome is unknown. Tried again.",
    "gpu_fault": "It ended while one of its GPUs had a fault or was gone. Tried again.",
    "requeue": 'Exit code 85: "my checkpoint is saved, run me again". Tried again after a second.',
    "start_failed": "The program or its folder does not exist, or could not be started. Final.",
    "cancelled": "Somebody cancelled it.",
    "rejected": "Somebody who decides on approvals refused the job before it ever ran.",
    "approval_expired": "Nobody decided on its approval in time.",
    "provider_error": "The cloud provider failed. Tried again.",
    "provider_down": "The cloud provider took no jobs, so this attempt never began. It does not count.",
}
