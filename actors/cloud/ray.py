"""Ray as a provider: its Jobs REST API. Ray places the work; the queue with its priorities is ours.

The token is the submission id, so a second submit makes no second job. The command, its environment and files travel
as a package (the job's working folder there), so that neither shows in Ray's log or dashboard. `provider_options` may
hold `runtime_env` (pip, conda, …), `resources`, `memory` and `cpus`.

The REST API is used as it is documented, not the SDK: that is a thin client of the same API which costs the server
80 MB and 1.6 s at its start, and must be of the cluster's own version.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from gpuyard.actors.cloud import files, script
from gpuyard.actors.cloud.ends import class_of
from gpuyard.actors.cloud.http import Api, data_of
from gpuyard.actors.cloud.provider import NotConfigured, Refused, Retryable
from gpuyard.actors.cloud.secrets import secret
from gpuyard.actors.cloud.settings import understood
from gpuyard.actors.model.cloud_remote import (
    Capabilities,
    Health,
    LogPiece,
    Order,
    Remote,
    RemoteState,
    RemoteStatus,
)

CALL_SECONDS: Final = 60.0
RUN: Final = "gpuyard-run.sh"
PIECE: Final = 4 << 20
PACKAGE: Final = "package"
# Ray's own bound of a package (GCS_STORAGE_MAX_SIZE).
LARGEST: Final = 500 << 20

STATES: Final[dict[str, RemoteState]] = {
    "PENDING": RemoteState.QUEUED,
    "RUNNING": RemoteState.RUNNING,
    "SUCCEEDED": RemoteState.COMPLETED,
    "FAILED": RemoteState.FAILED,
    "STOPPED": RemoteState.CANCELLED,
}


class RaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[providers.ray]`. `address` is the dashboard's, such as http://HEAD:8265; a token of a proxy before it is in
    `token_file`. `jobs_dir` is where the job folders lie on the cluster's nodes. `hardware` is an accelerator type
    (ray.util.accelerators) for jobs that name none."""

    address: str = ""
    token_file: str = ""
    jobs_dir: str = "/tmp/gpuyard-jobs"
    hardware: str = ""
    prices: dict[str, float] = {}
    poll_seconds: float = 3.0
    settle_seconds: float = 30.0
    public_url: str = ""


class Ray:
    """See the module."""

    def __init__(self, settings: Mapping[str, Any], data_dir: Path) -> None:
        self._set = understood(RaySettings, "ray", settings)
        if not self._set.address:
            raise NotConfigured("set address in [providers.ray] to its dashboard's, such as http://HEAD:8265")
        self._data_dir = Path(data_dir)
        token = secret(self._set.token_file, "RAY_AUTH_TOKEN", "the token of Ray")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._api = Api("Ray", self._set.address, headers, CALL_SECONDS, at_once=16, setting="address")

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            idempotent=True,
            listing=True,
            uploads=True,
            call_seconds=CALL_SECONDS * 2,
            settle_seconds=self._set.settle_seconds,
            poll_seconds=self._set.poll_seconds,
            batch=200,
            calls_at_once=16,
        )

    async def upload(self, order: Order, progress: Callable[[str], None]) -> Mapping[str, str]:
        return {PACKAGE: await self._bring(order, progress)}

    async def submit(self, order: Order) -> Remote:
        body = self._body(order)
        if await self._one(order.token) is None:
            package = order.uploads.get(PACKAGE) or await self._bring(order, lambda words: None)
            body["runtime_env"]["working_dir"] = package
            await self._create(order.token, body)
        return _remote(order.token)

    async def find(self, orders: Sequence[Order]) -> Mapping[str, Sequence[Remote]]:
        jobs = await asyncio.gather(*(self._one(order.token) for order in orders))
        pairs = zip(orders, jobs, strict=True)
        return {order.token: [_remote(order.token)] for order, job in pairs if job is not None}

    async def sweep(self, owner: str) -> Sequence[tuple[str, Remote]]:
        jobs = data_of(await self._api.call("GET", "/api/jobs/"))
        live = [job for job in jobs if job.get("status") in ("PENDING", "RUNNING")]
        tokens = [str(job.get("submission_id") or "") for job in live]
        return [(token, _remote(token)) for token in tokens if token.startswith(f"{owner}-")]

    async def status(self, remote_ids: Sequence[str]) -> Mapping[str, RemoteStatus]:
        jobs = await asyncio.gather(*(self._one(remote_id) for remote_id in remote_ids))
        return {remote_id: _status(job) for remote_id, job in zip(remote_ids, jobs, strict=True)}

    async def logs(self, remote_id: str, offset: int) -> LogPiece:
        answer = await self._api.call("GET", f"/api/jobs/{_safe(remote_id)}/logs", also=(404,))
        if answer.status_code == 404:
            return LogPiece()
        data = str(data_of(answer).get("logs") or "").encode()[offset : offset + PIECE]
        return LogPiece(data=data, more=len(data) == PIECE)

    async def cancel(self, remote_id: str) -> None:
        await self._api.call("POST", f"/api/jobs/{_safe(remote_id)}/stop", also=(404,))

    async def health(self) -> Health:
        version = data_of(await self._api.call("GET", "/api/version"))
        return Health(detail=f"Ray {version.get('ray_version', '')}".strip())

    async def close(self) -> None:
        await self._api.close()

    # --- inside ------------------------------------------------------------------------------------------------

    def _job_dir(self, order: Order) -> str:
        return f"{self._set.jobs_dir.rstrip('/')}/{order.spec.job_id}"

    def _body(self, order: Order) -> dict[str, Any]:
        """What Ray is asked for. Raises Refused for options that it would not understand."""
        spec, options = order.spec, order.options
        environment = options.get("runtime_env", {})
        if not isinstance(environment, dict) or "working_dir" in environment:
            raise Refused("provider_options.runtime_env must be a table, without working_dir")
        own = environment.get("env_vars", {})
        if not isinstance(own, dict):
            raise Refused("provider_options.runtime_env.env_vars must be a table")
        body: dict[str, Any] = {
            "entrypoint": f"sh {RUN}",
            "submission_id": order.token,
            "runtime_env": {**environment, "env_vars": {**own, **script.of_attempt(order)}},
            "metadata": {"gpuyard_job_id": spec.job_id, "gpuyard_attempt": str(spec.attempt), "name": order.name},
            "entrypoint_num_gpus": spec.num_processes,
        }
        for option, field in (("cpus", "entrypoint_num_cpus"), ("memory", "entrypoint_memory")):
            if option in options:
                body[field] = _number(options, option)
        resources = options.get("resources", {})
        if not isinstance(resources, dict):
            raise Refused("provider_options.resources must be a table")
        wanted = {str(name): _number(resources, name) for name in resources}
        hardware = options.get("hardware", self._set.hardware)
        if hardware and spec.num_processes:
            wanted[f"accelerator_type:{hardware}"] = 0.001
        if wanted:
            body["entrypoint_resources"] = wanted
        return body

    async def _bring(self, order: Order, progress: Callable[[str], None]) -> str:
        """Hand over the job's package, unless one of this content is there already; its address."""
        with tempfile.TemporaryDirectory(prefix="gpuyard-ray-") as folder:
            path = Path(folder) / "package.zip"
            name = await asyncio.to_thread(_pack, order, self._job_dir(order), self._data_dir, path)
            size = path.stat().st_size
            if size > LARGEST:
                raise Refused(f"its files are {files.shown(size)}; Ray takes at most {files.shown(LARGEST)}")
            address = f"/api/packages/gcs/{name}"
            there = await self._api.call("GET", address, also=(404,))
            if there.status_code == 404:
                told = files.Tenths(f"{files.shown(size)} to Ray", progress)
                headers = {"content-type": "application/octet-stream", "content-length": str(size)}
                await self._api.call("PUT", address, content=files.pieces(path, told), headers=headers)
        return f"gcs://{name}"

    async def _create(self, token: str, body: dict[str, Any]) -> Any:
        """Ray answers 500 to whatever it does not like: what it says, and what is there then, tells them apart."""
        try:
            return data_of(await self._api.call("POST", "/api/jobs/", body=body))
        except (Retryable, Refused) as error:
            known = await self._one(token)
            if known is not None:
                return known
            if isinstance(error, Refused):
                raise
            raise Retryable(str(error), busy=error.busy, down=error.down, retry_after=error.retry_after) from error

    async def _one(self, token: str) -> Any:
        """The job, None when Ray knows none of this submission id."""
        answer = await self._api.call("GET", f"/api/jobs/{_safe(token)}", also=(404,))
        return None if answer.status_code == 404 else data_of(answer)


def _status(job: Any) -> RemoteStatus:
    if job is None:
        return RemoteStatus(state=RemoteState.GONE)
    state = STATES.get(str(job.get("status")))
    if state is None:
        raise Retryable(f"Ray says {job.get('status')!r}, which is no status that is known here")
    code, exit_class, message = _end(job) if state is RemoteState.FAILED else (None, "", "")
    return RemoteStatus(
        state=state,
        exit_code=0 if state is RemoteState.COMPLETED else code,
        exit_class=exit_class,
        message=message,
        started_at=_seconds(job.get("start_time")) if state is not RemoteState.QUEUED else None,
        ended_at=_seconds(job.get("end_time")),
        progress=_first_sentence(job.get("message")) if state is RemoteState.QUEUED else "",
    )


def _first_sentence(text: Any) -> str:
    return str(text or "").partition(". ")[0].removesuffix(".")[:120]


def _end(job: Any) -> tuple[int | None, str, str]:
    """(exit code, class, message) of a failed job. Without a code it was not the program that failed."""
    code = job.get("driver_exit_code")
    if isinstance(code, int):
        code = 128 - code if code < 0 else code
        return code, class_of(code), ""
    kind = str(job.get("error_type") or "")
    first = str(job.get("message") or "").strip().splitlines()[:1]
    message = f"Ray: {first[0][:300]}" if first else f"Ray: {kind}"
    if kind.startswith("RUNTIME_ENV"):
        return None, "start_failed", message
    return None, "lost", message


def _pack(order: Order, job_dir: str, data_dir: Path, path: Path) -> str:
    """Write the job's working folder as a zip; its name, which is its content's: the same for each attempt."""
    sent = {name: f'"$here"/sent/{number}' for number, name in enumerate(order.spec.sent)}
    lines = ["#!/bin/sh", "here=$PWD", *script.lines(order, job_dir, sent=sent, folder_may_lack=True), ""]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, RUN, "\n".join(lines).encode())
        for number, name in enumerate(order.spec.sent):
            with files.source(data_dir, order, name).open("rb") as content, _entry(archive, f"sent/{number}") as entry:
                shutil.copyfileobj(content, entry, files.PIECE)
    with path.open("rb") as file:
        return f"_ray_pkg_{hashlib.file_digest(file, 'sha256').hexdigest()[:32]}.zip"


def _entry(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """A file in the zip with the time that all zips begin with, so that equal content makes equal zips."""
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o600 << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return archive.open(info, "w", force_zip64=True)


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    with _entry(archive, name) as entry:
        entry.write(data)


def _remote(token: str) -> Remote:
    return Remote(id=token)


def _safe(remote_id: str) -> str:
    """An id as a part of a path. Raises Refused."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", remote_id):
        raise Refused(f"{remote_id!r} is no submission id")
    return remote_id


def _number(options: Mapping[str, Any], name: str) -> float:
    value = options[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise Refused(f"provider_options: {name} must be a number, not {value!r}")
    return value


def _seconds(milliseconds: Any) -> float | None:
    return milliseconds / 1000 if isinstance(milliseconds, int | float) and milliseconds > 0 else None
