"""Replicate as a provider: trainings and predictions over its public HTTP API.

A job names a model, and its input, in `provider_options`; a config file or a command is put into the input under a
name that the settings or the options give (`config_input`, `command_input`); `file:NAME` in it stands for a file of the
job, which is uploaded first. Replicate keeps no token of ours, so a
job in doubt is found by listing: same kind, same model and version, same input, made after it was asked for. Two jobs
that are the same in all of this do the same work, so either may stand for either; one of them is never given twice.

Source: its OpenAPI description (`/v1/openapi.json`) and its pages on rate limits and webhooks.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from gpuyard.actors.cloud import files, replicate_words as words
from gpuyard.actors.cloud.http import Api, data_of
from gpuyard.actors.cloud.provider import Forged, NotConfigured, Refused, Retryable
from gpuyard.actors.cloud.secrets import secret
from gpuyard.actors.cloud.settings import understood
from gpuyard.actors.cloud.webhooks import check
from gpuyard.actors.model.cloud_remote import (
    Capabilities,
    Health,
    LogPiece,
    Order,
    Remote,
    RemoteStatus,
)

BASE_URL: Final = "https://api.replicate.com"
FILE: Final = "file:"
CALL_SECONDS: Final = 60.0
# Clocks of two machines: a remote job may seem this much older than the order.
SKEW: Final = 120.0
MOST_PAGES: Final = 20
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"[0-9a-f]{64}")


class ReplicateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[providers.replicate]`. The token is in `token_file`, else in REPLICATE_API_TOKEN; the signing secret of its
    webhooks in `webhook_secret_file`, else it is asked for. `model`, `version` and `destination` are for jobs that
    name none."""

    base_url: str = BASE_URL
    token_file: str = ""
    webhook_secret_file: str = ""
    model: str = ""
    version: str = ""
    destination: str = ""
    config_input: str = "config"
    command_input: str = "command"
    hardware: str = ""
    prices: dict[str, float] = {}
    poll_seconds: float = 5.0
    settle_seconds: float = 60.0
    call_seconds: float = CALL_SECONDS
    public_url: str = ""


class Uploaded(msgspec.Struct, frozen=True):
    """A file there."""

    id: str
    url: str


class Replicate:
    """See the module."""

    def __init__(self, settings: Mapping[str, Any], data_dir: Path) -> None:
        self._set = understood(ReplicateSettings, "replicate", settings)
        token = secret(self._set.token_file, "REPLICATE_API_TOKEN", "the API token of Replicate")
        if not token:
            raise NotConfigured(
                "write its API token into a file, mode 600, and name that as token_file in [providers.replicate]"
            )
        headers = {"authorization": f"Bearer {token}", "user-agent": "gpuyard"}
        self._api = Api("Replicate", self._set.base_url, headers, self._set.call_seconds, at_once=64)
        self._data_dir = Path(data_dir)
        self._notes = self._data_dir / "cloud" / "replicate-files.json"
        self._uploaded = self._remembered()
        self._secret = secret(self._set.webhook_secret_file, "REPLICATE_WEBHOOK_SECRET", "the webhook secret")

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            tokens=False,
            uploads=True,
            webhooks=bool(self._set.public_url),
            call_seconds=self._set.call_seconds,
            settle_seconds=self._set.settle_seconds,
            poll_seconds=self._set.poll_seconds,
            batch=32,
            calls_at_once=32,
        )

    async def upload(self, order: Order, progress: Callable[[str], None]) -> Mapping[str, str]:
        """Each file once, by its content: what was uploaded is written down, and asked for before it is used again."""
        for number, (name, file) in enumerate(order.spec.sent.items(), 1):
            known = self._uploaded.get(file.blob)
            if known is None or not await self._still_there(known):
                progress(f"uploading {name}, {files.shown(file.size)} ({number} of {len(order.spec.sent)})")
                await self._bring(order, name)
        return {name: self._uploaded[file.blob].url for name, file in order.spec.sent.items()}

    async def submit(self, order: Order) -> Remote:
        wish = self._wish(order)
        body: dict[str, Any] = {"input": wish.input}
        if self._set.public_url:
            base = self._set.public_url.rstrip("/")
            body["webhook"] = f"{base}/api/cloud/webhooks?provider=replicate&token={order.token}"
            body["webhook_events_filter"] = ["start", "completed"]
        headers = {"prefer": "respond-async"}
        if wish.kind == words.TRAINING:
            path = f"/v1/models/{wish.model}/versions/{wish.version}/trainings"
            body["destination"] = wish.destination
        elif wish.version:
            path, body["version"] = "/v1/predictions", wish.version
        else:
            path = f"/v1/models/{wish.model}/predictions"
        if wish.kind == words.PREDICTION and order.spec.time_limit is not None:
            # Should we be gone, it does not run for ever; while we live, we end it first.
            headers["cancel-after"] = f"{math.ceil(order.spec.time_limit * 1.1) + 120}s"
        answer = data_of(await self._api.call("POST", path, body=body, headers=headers))
        return words.remote(wish.kind, answer)

    async def find(self, orders: Sequence[Order]) -> Mapping[str, Sequence[Remote]]:
        wishes = {order.token: self._wish(order) for order in orders}
        since = min(order.asked_at for order in orders) - SKEW
        made: dict[str, list[Any]] = {}
        for kind in {wish.kind for wish in wishes.values()}:
            made[kind] = await self._made_since(kind, since)
        found = {}
        for order in orders:
            wish, asked_at = wishes[order.token], order.asked_at - SKEW
            jobs = [job for job in made[wish.kind] if words.same(job, wish) and words.made_at(job) >= asked_at]
            if jobs:
                found[order.token] = [words.remote(wish.kind, job) for job in jobs]
        return found

    async def sweep(self, owner: str) -> Sequence[tuple[str, Remote]]:
        return []

    async def status(self, remote_ids: Sequence[str]) -> Mapping[str, RemoteStatus]:
        answers = await asyncio.gather(*(self._one(remote_id) for remote_id in remote_ids), return_exceptions=True)
        found, troubles = {}, []
        for remote_id, answer in zip(remote_ids, answers, strict=True):
            if isinstance(answer, BaseException):
                troubles.append(answer)
            else:
                found[remote_id] = words.status(answer)
        if troubles and not found:
            raise troubles[0]
        return found

    async def logs(self, remote_id: str, offset: int) -> LogPiece:
        job = await self._one(remote_id)
        text = (job or {}).get("logs") or ""
        return LogPiece(data=text.encode()[offset:])

    async def cancel(self, remote_id: str) -> None:
        kind, job_id = words.parts(remote_id)
        await self._api.call("POST", f"/v1/{kind}/{job_id}/cancel", also=(404, 409, 422))

    async def health(self) -> Health:
        account = data_of(await self._api.call("GET", "/v1/account"))
        return Health(detail=f"{account.get('type', 'account')} {account.get('username', '')}".strip())

    async def close(self) -> None:
        await self._api.close()

    async def webhook(self, headers: Mapping[str, str], body: bytes) -> str:
        """The remote id that a webhook is about. Raises Forged."""
        if not self._secret:
            answer = data_of(await self._api.call("GET", "/v1/webhooks/default/secret"))
            self._secret = str(answer.get("key", ""))
        check(self._secret, headers, body, time.time())
        try:
            job = msgspec.json.decode(body)
            return words.remote(words.TRAINING if "/trainings/" in job["urls"]["get"] else words.PREDICTION, job).id
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise Forged("it is signed, but tells of no job") from error

    # --- inside ------------------------------------------------------------------------------------------------

    def _wish(self, order: Order) -> words.Wish:
        """What the job asks of Replicate. Raises Refused."""
        options, own = order.options, self._set
        model = _text(options, "model", own.model)
        version = _text(options, "version", own.version)
        destination = _text(options, "destination", own.destination)
        if ":" in model:
            model, _, version = model.partition(":")
        if not _MODEL.fullmatch(model):
            raise Refused("provider_options.model must name a model of Replicate, such as owner/name")
        if version and not _VERSION.fullmatch(version):
            raise Refused("provider_options.version must be the 64 hexadecimal digits of a model's version")
        if destination and not (_MODEL.fullmatch(destination) and version):
            raise Refused("a training needs a version, and as destination a model such as owner/name")
        given = options.get("input", {})
        if not isinstance(given, dict):
            raise Refused("provider_options.input must be a table")
        return words.Wish(model, version, destination, self._with_files(order, {**self._own_input(order), **given}))

    def _with_files(self, order: Order, wanted: dict[str, Any]) -> dict[str, Any]:
        """`file:NAME` in the input becomes the address of that file there. Raises Refused."""
        sent = {f"{FILE}{name}": file.blob for name, file in order.spec.sent.items()}
        named = {value for value in wanted.values() if isinstance(value, str) and value.startswith(FILE)}
        for lost in sorted(set(sent) ^ named):
            raise Refused(f"each file of the job is named once in provider_options.input, as {lost!r}")
        addresses = {mark: self._uploaded[blob].url for mark, blob in sent.items() if blob in self._uploaded}
        return {key: addresses.get(value, value) if value in sent else value for key, value in wanted.items()}

    async def _bring(self, order: Order, name: str) -> None:
        path = files.source(self._data_dir, order, name)
        with path.open("rb") as content:
            parts = {"content": (Path(name).name, content, "application/octet-stream")}
            answer = data_of(await self._api.call("POST", "/v1/files", files=parts))
        self._uploaded[order.spec.sent[name].blob] = Uploaded(id=str(answer["id"]), url=str(answer["urls"]["get"]))
        await asyncio.to_thread(self._remember)

    async def _still_there(self, known: Uploaded) -> bool:
        answer = await self._api.call("GET", f"/v1/files/{known.id}", also=(404,))
        return answer.status_code != 404

    def _remember(self) -> None:
        self._notes.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._notes.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(self._uploaded))
        draft.replace(self._notes)

    def _remembered(self) -> dict[str, Uploaded]:
        try:
            return msgspec.json.decode(self._notes.read_bytes(), type=dict[str, Uploaded])
        except (OSError, msgspec.MsgspecError):
            return {}

    def _own_input(self, order: Order) -> dict[str, Any]:
        """The job's config file, else its command, under the names that the model wants them."""
        spec = order.spec
        if spec.files:
            return {self._set.config_input: next(iter(spec.files.values()))} if self._set.config_input else {}
        if self._set.command_input and spec.argv and "input" not in order.options:
            return {self._set.command_input: msgspec.json.encode(spec.argv).decode()}
        return {}

    async def _made_since(self, kind: str, since: float) -> list[Any]:
        """All jobs of a kind made since then, the oldest first."""
        made: list[Any] = []
        path = f"/v1/{kind}"
        for _ in range(MOST_PAGES):
            page = data_of(await self._api.call("GET", path))
            made += page["results"]
            # Only its path: our token goes to no other host, whatever an answer says.
            path = urlsplit(page.get("next") or "")._replace(scheme="", netloc="").geturl()
            if not path or (made and words.made_at(made[-1]) < since):
                return made[::-1]
        raise Retryable("there are too many newer jobs to look through", unsure=True)

    async def _one(self, remote_id: str) -> Any:
        """The job, None when Replicate knows none of this id."""
        kind, job_id = words.parts(remote_id)
        answer = await self._api.call("GET", f"/v1/{kind}/{job_id}", also=(404,))
        return None if answer.status_code == 404 else data_of(answer)


def _text(options: Mapping[str, Any], name: str, otherwise: str) -> str:
    value = options.get(name, otherwise)
    if not isinstance(value, str):
        raise Refused(f"provider_options.{name} must be text")
    return value
