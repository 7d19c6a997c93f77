"""A server that speaks Ray's Jobs REST API and runs the packages that it is given, for machines without Ray.

Its answers are those that a Ray 2.60 gives to the same requests: an unknown job is a 404 in plain text, whatever else
it does not like a 500 with a traceback, times are milliseconds.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route


class FakeRay:
    """The application is `app`; `close` ends what still runs."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fake-ray-")
        self._packages: dict[str, bytes] = {}
        self._jobs: dict[str, dict[str, Any]] = {}
        self.app = Starlette(
            routes=[
                Route("/api/version", self._version),
                Route("/api/packages/gcs/{name}", self._package, methods=["GET", "PUT"]),
                Route("/api/jobs/", self._list, methods=["GET"]),
                Route("/api/jobs/", self._submit, methods=["POST"]),
                Route("/api/jobs/{id}", self._get),
                Route("/api/jobs/{id}/logs", self._logs),
                Route("/api/jobs/{id}/stop", self._stop, methods=["POST"]),
            ]
        )

    def close(self) -> None:
        for job in self._jobs.values():
            self._kill(job)
            job["process"].wait(timeout=20)
        self._folder.cleanup()

    async def _version(self, request: Request) -> Response:
        return JSONResponse({"version": "4", "ray_version": "2.60.0", "ray_commit": "0", "session_name": "fake"})

    async def _package(self, request: Request) -> Response:
        name = request.path_params["name"]
        if request.method == "PUT":
            self._packages[name] = await request.body()
        elif name not in self._packages:
            return PlainTextResponse(f"Package gcs://{name} does not exist", 404)
        return Response()

    async def _submit(self, request: Request) -> Response:
        body = await request.json()
        job_id = body.get("submission_id")
        if job_id in self._jobs:
            return _traceback(f"RuntimeError: Request failed: Job with submission_id {job_id} already exists.")
        for field in ("entrypoint_num_gpus", "entrypoint_num_cpus", "entrypoint_memory"):
            if field in body and not isinstance(body[field], int | float):
                return _traceback(f"TypeError: {field} must be a number")
        folder = Path(self._folder.name) / job_id
        folder.mkdir()
        package = body["runtime_env"]["working_dir"].removeprefix("gcs://")
        with zipfile.ZipFile(io.BytesIO(self._packages[package])) as archive:
            archive.extractall(folder)
        environment = {**os.environ, **body["runtime_env"].get("env_vars", {})}
        log = (folder / "driver.log").open("ab")
        log.write(f"Running entrypoint for job {job_id}: {body['entrypoint']}\n".encode())
        log.flush()
        process = subprocess.Popen(
            ["sh", "-c", body["entrypoint"]],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self._jobs[job_id] = {
            "process": process, "folder": folder, "start": _milliseconds(), "end": None, "stopped": False,
            "entrypoint": body["entrypoint"], "metadata": body.get("metadata"),
        }  # fmt: skip
        return JSONResponse({"job_id": job_id, "submission_id": job_id})

    def _shown(self, job_id: str) -> dict[str, Any]:
        job = self._jobs[job_id]
        code = job["process"].poll()
        if code is not None and job["end"] is None:
            job["end"] = _milliseconds()
        status, message, error = "RUNNING", "Job is currently running.", None
        if code is not None:
            status, message = ("SUCCEEDED", "Job finished successfully.") if code == 0 else ("FAILED", "")
            if job["stopped"]:
                status, message = "STOPPED", "Job was intentionally stopped."
            elif code:
                message = f"Job entrypoint command failed with exit code {code}, last available logs:\n"
                error = "JOB_ENTRYPOINT_COMMAND_ERROR"
        return {
            "type": "SUBMISSION", "job_id": None, "submission_id": job_id, "status": status, "message": message,
            "entrypoint": job["entrypoint"], "error_type": error, "start_time": job["start"], "end_time": job["end"],
            "metadata": job["metadata"], "driver_exit_code": code if error else None,
        }  # fmt: skip

    async def _list(self, request: Request) -> Response:
        return JSONResponse([self._shown(job_id) for job_id in self._jobs])

    async def _get(self, request: Request) -> Response:
        job_id = request.path_params["id"]
        return JSONResponse(self._shown(job_id)) if job_id in self._jobs else _unknown(job_id)

    async def _logs(self, request: Request) -> Response:
        job_id = request.path_params["id"]
        if job_id not in self._jobs:
            return _unknown(job_id)
        text = (self._jobs[job_id]["folder"] / "driver.log").read_text(errors="replace")
        return JSONResponse({"logs": text})

    async def _stop(self, request: Request) -> Response:
        job_id = request.path_params["id"]
        if job_id not in self._jobs:
            return _unknown(job_id)
        job = self._jobs[job_id]
        if job["process"].poll() is None:
            job["stopped"] = True
            self._kill(job)
        return JSONResponse({"stopped": True})

    @staticmethod
    def _kill(job: dict[str, Any]) -> None:
        try:
            os.killpg(job["process"].pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def _unknown(job_id: str) -> Response:
    return PlainTextResponse(f"Job {job_id} does not exist", 404)


def _traceback(last: str) -> Response:
    return PlainTextResponse(f'Traceback (most recent call last):\n  File "job_head.py", line 419\n{last}\n', 500)


def _milliseconds() -> int:
    return int(time.time() * 1000)
