"""The simulated provider: latency, prices and failures by script; for demos and tests.

Its jobs run nothing: how each stands follows from the clock. They lie as files in DATA/simulated_cloud/jobs, so that
they outlive the server as jobs of a real provider do. A job says how it shall go in its `provider_options`:
`run_seconds` (1), `queue_seconds` (0), `exit_code` (0), `exit_class`, `log_lines` (3), `hardware`.

`script.json` in DATA/simulated_cloud is read again whenever it changes; its keys are the fields of `Script`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from gpuyard.actors.cloud.provider import NotConfigured, Refused, Retryable
from gpuyard.actors.model.cloud_prices import HOUR
from gpuyard.actors.model.cloud_remote import (
    Capabilities,
    Health,
    LogPiece,
    Order,
    Remote,
    RemoteState,
    RemoteStatus,
)

FOLDER: Final = "simulated_cloud"
SCRIPT: Final = "script.json"
AT_HAND: Final = 1_000


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the provider behaves. Seconds; shares are 0..1.

    `latency` is (least, most) of each answer. `late`: a submit has its effect at once, but only then begins to
    take its latency. `fail` is the share of calls that fail without effect, `vanish` the share of submits that have
    their effect and never answer, `busy` the share that is told to come again. `down` (a sentence) fails every call.
    `refuse` refuses every submit. `usd_per_hour` is hardware → price of a GPU. `lost`: it forgets all its jobs.
    """

    latency: tuple[float, float] = (0.0, 0.0)
    late: bool = True
    fail: float = 0.0
    vanish: float = 0.0
    busy: float = 0.0
    down: str = ""
    refuse: str = ""
    lost: bool = False
    idempotent: bool = False
    usd_per_hour: dict[str, float] = {}


class Job(msgspec.Struct, kw_only=True):
    """A job as its file holds it. Times are epoch seconds."""

    id: str
    token: str
    made_at: float
    queue_seconds: float = 0.0
    run_seconds: float = 1.0
    exit_code: int = 0
    exit_class: str = ""
    log_lines: int = 3
    gpus: int = 1
    hardware: str = "sim"
    argv: tuple[str, ...] = ()
    cancelled_at: float | None = None

    @property
    def starts_at(self) -> float:
        return self.made_at + self.queue_seconds

    @property
    def ends_at(self) -> float:
        natural = self.starts_at + self.run_seconds
        return natural if self.cancelled_at is None else min(natural, self.cancelled_at)


class Simulated:
    """See the module."""

    def __init__(self, settings: Mapping[str, Any], data_dir: Path) -> None:
        table = {name: value for name, value in settings.items() if name in Script.__struct_fields__}
        try:
            self._script = self._given = msgspec.convert(table, Script, strict=False)
        except msgspec.ValidationError as error:
            raise NotConfigured(f"its settings are wrong: {error}") from error
        self._poll = float(settings.get("poll_seconds", 0.25))
        self._settle = float(settings.get("settle_seconds", 2.0))
        self._folder = Path(data_dir) / FOLDER
        self._jobs = self._folder / "jobs"
        self._read_at = 0
        self._dice = random.Random()
        self._known: dict[str, Job] = {}

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            idempotent=self._given.idempotent,
            listing=True,
            cost=True,
            uploads=True,
            call_seconds=10.0,
            settle_seconds=self._settle,
            poll_seconds=self._poll,
            batch=200,
            calls_at_once=256,
        )

    async def upload(self, order: Order, progress: Callable[[str], None]) -> Mapping[str, str]:
        for number, name in enumerate(order.spec.sent, 1):
            progress(f"uploading {name} ({number} of {len(order.spec.sent)})")
            await self._answer()
        return dict.fromkeys(order.spec.sent, "somewhere")

    async def submit(self, order: Order) -> Remote:
        self._obey()
        if self._script.refuse:
            raise Refused(self._script.refuse)
        if self._script.late:
            found = self._make(order)
            await self._wait()
        else:
            await self._wait()
            found = self._make(order)
        if self._dice.random() < self._script.vanish:
            raise Retryable("the answer was lost on its way", unsure=True)
        return found

    async def find(self, orders: Sequence[Order]) -> Mapping[str, Sequence[Remote]]:
        await self._answer()
        jobs = [(order.token, self._of_token(order.token)) for order in orders]
        return {token: [Remote(id=job.id) for job in found] for token, found in jobs if found}

    async def sweep(self, owner: str) -> Sequence[tuple[str, Remote]]:
        await self._answer()
        now = time.time()
        return [(j.token, Remote(id=j.id)) for j in self._all() if j.token.startswith(owner) and j.ends_at > now]

    async def status(self, remote_ids: Sequence[str]) -> Mapping[str, RemoteStatus]:
        await self._answer()
        return {remote_id: self._status(self._job(remote_id)) for remote_id in remote_ids}

    async def logs(self, remote_id: str, offset: int) -> LogPiece:
        await self._answer()
        job = self._job(remote_id)
        return LogPiece(data=b"" if job is None else self._log(job)[offset:])

    async def cancel(self, remote_id: str) -> None:
        await self._answer()
        job = self._job(remote_id)
        if job is not None and job.cancelled_at is None:
            job.cancelled_at = time.time()
            self._write(job)

    async def health(self) -> Health:
        await self._answer()
        return Health(detail=f"{len(self._all())} simulated jobs")

    async def close(self) -> None:
        self._known.clear()

    # --- how it behaves ----------------------------------------------------------------------------------------

    def _obey(self) -> None:
        """Read the script if it changed, and do what it says of every call. Raises Retryable."""
        path = self._folder / SCRIPT
        try:
            changed = path.stat().st_mtime_ns
            if changed != self._read_at:
                self._script, self._read_at = msgspec.json.decode(path.read_bytes(), type=Script), changed
        except FileNotFoundError:
            self._script, self._read_at = self._given, 0
        except msgspec.MsgspecError as error:
            raise Retryable(f"{SCRIPT} is wrong: {error}", down=True) from error
        script, dice = self._script, self._dice.random()
        if script.down:
            raise Retryable(script.down)
        if dice < script.fail:
            raise Retryable("it failed, as its script says")
        if dice < script.fail + script.busy:
            raise Retryable("it is busy, as its script says", busy=True, retry_after=0.2)

    async def _wait(self) -> None:
        least, most = self._script.latency
        if most > 0:
            await asyncio.sleep(self._dice.uniform(least, most))

    async def _answer(self) -> None:
        self._obey()
        await self._wait()

    # --- its jobs ----------------------------------------------------------------------------------------------

    def _make(self, order: Order) -> Remote:
        same = self._of_token(order.token)
        if same and self._given.idempotent:
            return Remote(id=same[0].id)
        wishes = {n: order.options[n] for n in order.options if n in Job.__struct_fields__}
        own = {
            "id": f"sim-{order.fence}-{len(same)}",
            "token": order.token,
            "made_at": time.time(),
            "gpus": order.spec.num_processes,
            "argv": order.spec.argv,
        }
        try:
            job = msgspec.convert({**wishes, **own}, Job, strict=False)
        except msgspec.ValidationError as error:
            raise Refused(f"provider_options: {error}") from error
        self._write(job)
        return Remote(id=job.id)

    def _status(self, job: Job | None) -> RemoteStatus:
        if job is None:
            return RemoteStatus(state=RemoteState.GONE)
        now = time.time()
        cost = self._cost(job, now)
        if job.cancelled_at is not None and job.cancelled_at < job.starts_at + job.run_seconds:
            started = job.starts_at if job.starts_at < job.cancelled_at else None
            ended = job.cancelled_at
            return RemoteStatus(state=RemoteState.CANCELLED, started_at=started, ended_at=ended, cost_usd=cost)
        if now < job.starts_at:
            return RemoteStatus(state=RemoteState.QUEUED, progress="waiting there")
        if now < job.ends_at:
            return RemoteStatus(state=RemoteState.RUNNING, started_at=job.starts_at, cost_usd=cost)
        failed = job.exit_code != 0 or bool(job.exit_class)
        return RemoteStatus(
            state=RemoteState.FAILED if failed else RemoteState.COMPLETED,
            exit_code=job.exit_code,
            exit_class=(job.exit_class or f"exit:{job.exit_code}") if failed else "",
            message="it failed, as its options say" if failed else "",
            started_at=job.starts_at,
            ended_at=job.ends_at,
            cost_usd=cost,
        )

    def _cost(self, job: Job, now: float) -> float | None:
        price = self._script.usd_per_hour.get(job.hardware)
        if price is None:
            return None
        return round(price * max(1, job.gpus) * max(0.0, min(now, job.ends_at) - job.starts_at) / HOUR, 6)

    def _log(self, job: Job) -> bytes:
        """One line for each part of its time that has passed."""
        passed = time.time() - job.starts_at
        share = 1.0 if job.run_seconds <= 0 else min(passed, job.ends_at - job.starts_at) / job.run_seconds
        lines = int(job.log_lines * max(0.0, min(1.0, share)))
        first = [f"simulated: {' '.join(job.argv)}"] if passed >= 0 else []
        return "".join(
            f"{line}\n" for line in [*first, *(f"step {n + 1}/{job.log_lines}" for n in range(lines))]
        ).encode()

    def _of_token(self, token: str) -> list[Job]:
        fence = token.rpartition("-")[2]
        found: list[Job] = []
        while (job := self._job(f"sim-{fence}-{len(found)}")) is not None:
            found.append(job)
        return [job for job in found if job.token == token]

    def _job(self, remote_id: str) -> Job | None:
        if self._script.lost or "/" in remote_id:
            return None
        if remote_id in self._known:
            return self._known[remote_id]
        try:
            job = msgspec.json.decode((self._jobs / f"{remote_id}.json").read_bytes(), type=Job)
        except (OSError, msgspec.MsgspecError):
            return None
        self._remember(job)
        return job

    def _all(self) -> list[Job]:
        if not self._jobs.is_dir():
            return []
        found = (self._job(path.stem) for path in self._jobs.iterdir() if path.suffix == ".json")
        return [job for job in found if job is not None]

    def _write(self, job: Job) -> None:
        self._jobs.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._jobs / f"{job.id}.new"
        draft.write_bytes(msgspec.json.encode(job))
        draft.replace(self._jobs / f"{job.id}.json")
        self._remember(job)

    def _remember(self, job: Job) -> None:
        """The files are the truth; the newest are kept at hand."""
        self._known[job.id] = job
        if len(self._known) > AT_HAND:
            del self._known[next(iter(self._known))]
