"""A server that speaks Replicate's public HTTP API, written from its OpenAPI description and its documentation.

Paths, fields, status codes, pages of 100, bearer tokens, problem bodies, the prediction's life and signed webhooks are
as described there. What a model does is its `input`: it prints `text`, lasts `seconds`, and fails with `error`.

It misbehaves by script (POST /_script, no part of the real API): `latency` (least, most) before each answer, `late`
(a create has its effect before the latency), shares 0..1 of calls that are answered `busy` (429 with Retry-After),
`broken` (500 without effect), `half` (500 or a cut connection after the effect); `down` answers 503 to all.
Uploads wait while there are `most_files`.

python -m tests.clusters.fake_replicate --port N --token TOKEN
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import email.policy
import hashlib
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gpuyard.actors.cloud.webhooks import sign

PAGE = 100
VERSIONS = {"test/model": "a" * 64, "test/trainer": "b" * 64}
DESTINATIONS = {"test/result"}
DEFAULTS: dict[str, Any] = {
    "latency": (0.0, 0.0), "late": True, "busy": 0.0, "retry_after": "0.2", "broken": 0.0, "half": 0.0, "down": False,
    "most_files": 1_000_000,
}  # fmt: skip


class Problem(Exception):
    def __init__(self, status: int, title: str, detail: str, **headers: str) -> None:
        self.response = JSONResponse(
            {"title": title, "detail": detail, "status": status},
            status,
            headers={k.replace("_", "-"): v for k, v in headers.items()},
        )


class FakeReplicate:
    """The application is `app`; `jobs` is everything that was ever made, by kind and id."""

    def __init__(self, token: str = "r8_test") -> None:
        self.token = token
        self.key = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        self.script = dict(DEFAULTS)
        self.jobs: dict[str, dict[str, dict[str, Any]]] = {"predictions": {}, "trainings": {}}
        self.files: dict[str, dict[str, Any]] = {}
        self.calls = 0
        self.page_url = ""  # Where it says that the next page is; its own address by default.
        self._webhooks: set[asyncio.Task[None]] = set()
        route = self._route
        self.app = Starlette(
            routes=[
                route("/v1/account", "GET", self._account),
                route("/v1/hardware", "GET", self._hardware),
                route("/v1/webhooks/default/secret", "GET", self._webhook_secret),
                route("/v1/predictions", "POST", self._predict, creates=True),
                route("/v1/models/{owner}/{name}/predictions", "POST", self._predict_official, creates=True),
                route("/v1/models/{owner}/{name}/versions/{version}/trainings", "POST", self._train, creates=True),
                route("/v1/files", "POST", self._upload, creates=True),
                route("/v1/files", "GET", self._list_files),
                route("/v1/files/{id}", "GET", self._file),
                route("/v1/{kind}", "GET", self._list),
                route("/v1/{kind}/{id}", "GET", self._get),
                route("/v1/{kind}/{id}/cancel", "POST", self._cancel),
                Route("/_script", self._set_script, methods=["POST"]),
                Route("/_jobs", self._all, methods=["GET"]),
            ]
        )

    # --- the ways of a real server ---

    def _route(
        self, path: str, method: str, handler: Callable[[Request], Awaitable[Response]], creates: bool = False
    ) -> Route:
        async def guarded(request: Request) -> Response:
            try:
                return await self._behave(request, handler, creates)
            except Problem as problem:
                return problem.response

        return Route(path, guarded, methods=[method])

    async def _behave(
        self, request: Request, handler: Callable[[Request], Awaitable[Response]], creates: bool
    ) -> Response:
        self.calls += 1
        script, dice = self.script, random.random()
        if request.headers.get("authorization") != f"Bearer {self.token}":
            raise Problem(401, "Unauthenticated", "You did not pass a valid authentication token")
        if script["down"]:
            await self._wait()
            return Response("<html>503</html>", 503)
        if dice < script["busy"]:
            detail = "Request was throttled. Your rate limit resets in ~1s."
            raise Problem(429, "Too many requests", detail, Retry_After=str(script["retry_after"]))
        if dice < script["busy"] + script["broken"]:
            raise Problem(500, "Internal server error", "Something went wrong")
        if not (creates and script["late"]):
            await self._wait()
        answer = await handler(request)
        if creates and script["late"]:
            await self._wait()
        if creates and random.random() < script["half"]:
            raise Problem(502, "Bad gateway", "The server did not answer in time")
        return answer

    async def _wait(self) -> None:
        least, most = self.script["latency"]
        if most:
            await asyncio.sleep(random.uniform(least, most))

    # --- making jobs ---

    async def _predict(self, request: Request) -> Response:
        body = await self._body(request, "version", "input")
        model = next((model for model, version in VERSIONS.items() if version == body["version"]), None)
        if model is None:
            detail = "The specified version does not exist (or perhaps you don't have permission to use it?)"
            raise Problem(422, "Invalid version or not permitted", detail)
        return self._make("predictions", model, body["version"], body)

    async def _predict_official(self, request: Request) -> Response:
        body = await self._body(request, "input")
        model = "{owner}/{name}".format(**request.path_params)
        if model not in VERSIONS:
            raise Problem(404, "Not found", "The requested resource could not be found.")
        return self._make("predictions", model, VERSIONS[model], body)

    async def _train(self, request: Request) -> Response:
        body = await self._body(request, "destination", "input")
        model, version = "{owner}/{name}".format(**request.path_params), request.path_params["version"]
        if VERSIONS.get(model) != version:
            raise Problem(404, "Not found", "The requested resource could not be found.")
        if body["destination"] not in DESTINATIONS:
            raise Problem(400, "Bad request", "The specified training destination does not exist.")
        return self._make("trainings", model, version, body)

    @staticmethod
    async def _body(request: Request, *required: str) -> dict[str, Any]:
        body: dict[str, Any] = await request.json()
        missing = [name for name in required if name not in body]
        if missing:
            raise Problem(422, "Input validation failed", f"- {missing[0]} is required\n")
        return body

    def _make(self, kind: str, model: str, version: str, body: dict[str, Any]) -> Response:
        job_id = secrets.token_hex(13)
        self.jobs[kind][job_id] = {
            "kind": kind, "id": job_id, "model": model, "version": version, "input": body["input"],
            "created": time.time(), "canceled": None, "webhook": body.get("webhook"),
        }  # fmt: skip
        if body.get("webhook"):
            events = body.get("webhook_events_filter", ["start", "output", "logs", "completed"])
            task = asyncio.get_running_loop().create_task(self._call_back(self.jobs[kind][job_id], events))
            self._webhooks.add(task)
            task.add_done_callback(self._webhooks.discard)
        return JSONResponse(self._shown(self.jobs[kind][job_id]), 201)

    # --- how they stand ---

    @staticmethod
    def _times(job: dict[str, Any]) -> tuple[float, float]:
        began = job["created"] + float(job["input"].get("starting", 0.02))
        return began, began + float(job["input"].get("seconds", 0.1))

    def _state(self, job: dict[str, Any], now: float) -> str:
        began, ended = self._times(job)
        if job["canceled"] is not None and job["canceled"] < ended:
            return "canceled"
        if now < began:
            return "starting"
        if now < ended:
            return "processing"
        return "failed" if job["input"].get("error") else "succeeded"

    def _shown(self, job: dict[str, Any], listed: bool = False) -> dict[str, Any]:
        """As the API answers it; a list leaves out the logs."""
        now, kind = time.time(), job["kind"]
        state = self._state(job, now)
        began, ended = self._times(job)
        over = state in ("succeeded", "failed", "canceled")
        stopped = min(ended, job["canceled"]) if job["canceled"] is not None else ended
        share = max(0.0, min(now, stopped) - began) / max(0.001, ended - began)
        text = f"{job['input'].get('text', '')}\n"
        lines = [f"{step}%|{'#' * (step // 10):10}|\n" for step in range(10, 101, 10) if share * 100 >= step]
        logs = "" if now < began else text + "".join(lines)
        site = f"https://api.replicate.com/v1/{kind}/{job['id']}"
        shown = {
            "id": job["id"], "model": job["model"], "version": job["version"], "input": job["input"],
            "output": {"weights": "https://replicate.delivery/x"} if state == "succeeded" else None,
            "logs": logs, "error": job["input"].get("error") if state == "failed" else None, "status": state,
            "created_at": _iso(job["created"]), "data_removed": False, "source": "api",
            "started_at": _iso(began) if now >= began and stopped > began else None,
            "completed_at": _iso(stopped) if over else None,
            "metrics": {"predict_time": stopped - began} if state == "succeeded" else {},
            "urls": {"get": site, "cancel": f"{site}/cancel", "web": f"https://replicate.com/p/{job['id']}"},
        }  # fmt: skip
        if listed:
            del shown["logs"]
        return shown

    async def _list(self, request: Request) -> Response:
        kind = request.path_params["kind"]
        if kind not in self.jobs:
            raise Problem(404, "Not found", "The requested resource could not be found.")
        newest = list(self.jobs[kind].values())[::-1]
        start = int(base64.b64decode(request.query_params["cursor"])) if "cursor" in request.query_params else 0
        page = newest[start : start + PAGE]
        cursor = base64.b64encode(str(start + PAGE).encode()).decode()
        more = start + PAGE < len(newest)
        url = self.page_url or str(request.url.replace(query=""))
        return JSONResponse(
            {
                "previous": None,
                "next": f"{url}?cursor={cursor}" if more else None,
                "results": [self._shown(job, listed=True) for job in page],
            }
        )

    def _job(self, request: Request) -> dict[str, Any]:
        job = self.jobs.get(request.path_params["kind"], {}).get(request.path_params["id"])
        if job is None:
            raise Problem(404, "Not found", "The requested resource could not be found.")
        return job

    async def _get(self, request: Request) -> Response:
        return JSONResponse(self._shown(self._job(request)))

    async def _cancel(self, request: Request) -> Response:
        job = self._job(request)
        if job["canceled"] is None:
            job["canceled"] = time.time()
        return JSONResponse(self._shown(job))

    # --- the rest ---

    async def _account(self, request: Request) -> Response:
        return JSONResponse({"type": "organization", "username": "test", "name": "Test", "github_url": ""})

    async def _hardware(self, request: Request) -> Response:
        return JSONResponse([{"name": "Nvidia A100 (80GB) GPU", "sku": "gpu-a100-large"}])

    async def _webhook_secret(self, request: Request) -> Response:
        return JSONResponse({"key": self.key})

    async def _upload(self, request: Request) -> Response:
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        parts: Any = email.message_from_bytes(head + await request.body(), policy=email.policy.HTTP).iter_parts()
        part = next(part for part in parts if part.get_param("name", header="content-disposition") == "content")
        data, file_id = part.get_payload(decode=True), secrets.token_urlsafe(16)
        while len(self.files) >= self.script["most_files"]:
            await asyncio.sleep(0.02)
        self.files[file_id] = {
            "id": file_id, "name": part.get_filename(), "content_type": part.get_content_type(), "size": len(data),
            "checksums": {"sha256": hashlib.sha256(data).hexdigest(), "md5": hashlib.md5(data).hexdigest()},
            "metadata": {}, "created_at": _iso(time.time()), "expires_at": _iso(time.time() + 86_400),
            "urls": {"get": f"https://api.replicate.com/v1/files/{file_id}"},
        }  # fmt: skip
        return JSONResponse(self.files[file_id], 201)

    async def _file(self, request: Request) -> Response:
        found = self.files.get(request.path_params["id"])
        if found is None:
            raise Problem(404, "Not found", "The requested resource could not be found.")
        return JSONResponse(found)

    async def _list_files(self, request: Request) -> Response:
        return JSONResponse({"previous": None, "next": None, "results": list(self.files.values())[::-1]})

    async def _call_back(self, job: dict[str, Any], events: list[str]) -> None:
        """Tell of the start and the end, each signed; a failure is tried again a few times."""
        began, ended = self._times(job)
        moments = [(began, "start"), (ended, "completed")]
        async with httpx2.AsyncClient(timeout=5.0) as client:
            for at, event in moments:
                if event in events:
                    while time.time() < at and job["canceled"] is None:
                        await asyncio.sleep(0.02)
                    await self._deliver(client, job)

    async def _deliver(self, client: httpx2.AsyncClient, job: dict[str, Any]) -> None:
        body = JSONResponse(self._shown(job)).body
        message_id = f"msg_{secrets.token_hex(8)}"
        for _ in range(3):
            stamp = int(time.time())
            headers = {
                "content-type": "application/json", "webhook-id": message_id, "webhook-timestamp": str(stamp),
                "webhook-signature": sign(self.key, message_id, stamp, bytes(body)),
            }  # fmt: skip
            try:
                answer = await client.post(job["webhook"], content=bytes(body), headers=headers)
                if answer.status_code < 300:
                    return
            except httpx2.HTTPError:
                pass
            await asyncio.sleep(0.2)

    async def _set_script(self, request: Request) -> Response:
        self.script = {**DEFAULTS, **await request.json()}
        return JSONResponse(self.script)

    async def _all(self, request: Request) -> Response:
        now = time.time()
        found = [{**job, "state": self._state(job, now)} for jobs in self.jobs.values() for job in jobs.values()]
        return JSONResponse({"jobs": found, "calls": self.calls})


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token", default="r8_test")
    given = parser.parse_args()
    uvicorn.run(FakeReplicate(given.token).app, host="127.0.0.1", port=given.port, log_level="warning")
