"""What Replicate's API answers, understood: pure functions from its JSON to what we know, and back to its addresses.

Source: its OpenAPI description (`/v1/openapi.json`).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

import msgspec

from gpuyard.actors.cloud.provider import Retryable
from gpuyard.actors.model.cloud_remote import Remote, RemoteState, RemoteStatus

PREDICTION, TRAINING = "predictions", "trainings"

STATES: Final[dict[str, RemoteState]] = {
    "starting": RemoteState.QUEUED,
    "processing": RemoteState.RUNNING,
    "succeeded": RemoteState.COMPLETED,
    "failed": RemoteState.FAILED,
    "canceled": RemoteState.CANCELLED,
    "aborted": RemoteState.CANCELLED,
}


class Wish(msgspec.Struct, frozen=True):
    """A job as Replicate's API takes it. `destination` makes it a training."""

    model: str
    version: str
    destination: str
    input: dict[str, Any]

    @property
    def kind(self) -> str:
        return TRAINING if self.destination else PREDICTION


def status(job: Any) -> RemoteStatus:
    """How a job stands; None is one that Replicate does not know. Raises Retryable for a state that is new to us."""
    if job is None:
        return RemoteStatus(state=RemoteState.GONE)
    state = STATES.get(job.get("status", ""))
    if state is None:
        raise Retryable(f"Replicate says {job.get('status')!r}, which is no status that is known here")
    failed = state is RemoteState.FAILED
    return RemoteStatus(
        state=state,
        exit_class="exit:1" if failed else "",
        message=str(job.get("error") or "")[:500],
        started_at=_epoch(job.get("started_at")),
        ended_at=_epoch(job.get("completed_at")),
        progress=progress(job.get("logs") or "") if state is RemoteState.RUNNING else "",
    )


def progress(logs: str) -> str:
    """The last per cent that the log's end tells of, as the models of Replicate print it.

    >>> progress(" 10%|#   | 1/10\\n 70%|####| 7/10")
    '70 %'
    """
    found = re.findall(r"(\d{1,3})%\|", logs[-2000:])
    return f"{found[-1]} %" if found else ""


def made_at(job: Any) -> float:
    """Epoch seconds; 0.0 when it does not say."""
    return _epoch(job.get("created_at")) or 0.0


def same(job: Any, wish: Wish) -> bool:
    """Does this job look like what was wished for?"""
    return (
        job.get("input") == wish.input
        and (not wish.version or job.get("version") == wish.version)
        and job.get("model") in (wish.model, None)
    )


def remote(kind: str, job: Any) -> Remote:
    """A remote id is `KIND/ID`, so that it alone says where to ask."""
    job_id = str(job["id"])
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", job_id):
        raise Retryable("Replicate answered an id that is none", unsure=True)
    urls = job.get("urls") or {}
    return Remote(id=f"{kind}/{job_id}", url=str(urls.get("web") or ""))


def parts(remote_id: str) -> tuple[str, str]:
    """Kind and id."""
    kind, _, job_id = remote_id.partition("/")
    return kind, job_id


def _epoch(text: Any) -> float | None:
    """Epoch seconds of a time as Replicate writes it (up to nanoseconds), None for none."""
    if not isinstance(text, str) or not text:
        return None
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()
    except ValueError:
        return None
