"""Slurm as a provider: sbatch, squeue, sacct and scancel of a login node.

The token is the Slurm job's name, so a job is found again by squeue, and by sacct where accounting is on. Log, exit
code and job folders lie in `shared_dir`, which the nodes must see too. The exit code is written there by the job
itself, so it is known even where Slurm has forgotten the job; Slurm's own word on how it ended goes first. A remote
id is `SLURM_JOB_ID.TOKEN`.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from gpuyard.actors.cloud import files, script, slurm_words as words
from gpuyard.actors.cloud.ends import class_of
from gpuyard.actors.cloud.provider import NotConfigured, Refused, Retryable
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

CALL_SECONDS: Final = 40.0
PIECE: Final = 1 << 20
LONGEST_SEARCH: Final = 30 * 86_400.0
# What a submitter may set, as flags of sbatch.
OPTIONS: Final = ("partition", "account", "qos", "constraint", "cpus-per-task", "mem", "nodes", "nodelist", "exclude")
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,:+&|\[\]*-]{0,127}")
# What sbatch says when it did not even reach slurmctld, or was sent away for now.
_FOR_NOW = re.compile(
    r"Unable to contact|Connection (?:refused|timed out)|Socket timed out|temporarily unable|slurmctld.*not respond"
    r"|Zero Bytes|Transport|Communication|try again|agent is busy|fetch_config|DNS SRV|Resource temporarily|MaxJobCount"
    r"|Slurm backup controller|lack of.*resources to respond",
    re.IGNORECASE,
)
_TIMED_OUT = re.compile(r"timed out|Zero Bytes|Message receive failure|Unexpected message", re.IGNORECASE)
_NO_CONF = re.compile(r"configuration source|fetch_config", re.IGNORECASE)
_UNKNOWN = re.compile(r"Invalid job id", re.IGNORECASE)
_NO_ACCOUNTING = re.compile(
    r"accounting storage is disabled|not running|Problem talking to the database", re.IGNORECASE
)


class SlurmSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[providers.slurm]`. `bin_dir` is where the commands are (else: the PATH), `conf` the slurm.conf (else: its
    default). `shared_dir` is a folder that the nodes see too (else: one in the data folder). `hardware` is the GPU type
    for `--gres=gpu:TYPE:N`; without it any GPU is asked for. `extra` are more words for sbatch, of the administrator's
    own. Slurm counts time limits in whole minutes."""

    bin_dir: str = ""
    conf: str = ""
    shared_dir: str = ""
    partition: str = ""
    account: str = ""
    qos: str = ""
    hardware: str = ""
    gres: str = "gpu"
    extra: tuple[str, ...] = ()
    prices: dict[str, float] = {}
    poll_seconds: float = 5.0
    settle_seconds: float = 60.0
    public_url: str = ""


class Slurm:
    """See the module."""

    def __init__(self, settings: Mapping[str, Any], data_dir: Path) -> None:
        if not set(settings) - {"public_url"}:
            raise NotConfigured("write a table [providers.slurm] into the settings (it may hold partition, account …)")
        self._set = understood(SlurmSettings, "slurm", settings)
        self._data_dir = Path(data_dir)
        self._shared = Path(self._set.shared_dir) if self._set.shared_dir else Path(data_dir) / "slurm"
        self._commands = {name: self._which(name) for name in ("sbatch", "squeue", "scancel", "scontrol", "sacct")}
        if self._commands["sbatch"] is None:
            raise NotConfigured("there is no sbatch here: run gpuyard on a login node, or set bin_dir")
        self._accounting = self._commands["sacct"] is not None

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            listing=True,
            time_limit=True,
            uploads=True,
            call_seconds=CALL_SECONDS,
            settle_seconds=self._set.settle_seconds,
            poll_seconds=self._set.poll_seconds,
            batch=500,
            calls_at_once=4,
        )

    # --- calls -------------------------------------------------------------------------------------------------

    async def upload(self, order: Order, progress: Callable[[str], None]) -> Mapping[str, str]:
        """Where `shared_dir` is not this very disk, the files are copied there; by content, so each only once."""
        return await asyncio.to_thread(files.copy_all, order, self._data_dir, self._shared / "blobs", progress)

    async def submit(self, order: Order) -> Remote:
        record = self._record(order.token)
        job_dir = self._shared / "jobs" / order.spec.job_id
        try:
            record.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Retryable(f"{record} cannot be made: {error.strerror}") from error
        sent = {name: shlex.quote(path) for name, path in order.uploads.items()}
        own = [f"export {name}={value}" for name, value in script.of_attempt(order).items()]
        body = "\n".join(["#!/bin/sh", *own, *script.lines(order, str(job_dir), str(record), sent=sent), ""])
        flags = [*self._flags(order, record), *self._set.extra]
        done = await self._run("sbatch", "--parsable", *flags, text=body)
        if done.returncode != 0:
            raise self._trouble("sbatch", done, refusable=True)
        job_id = done.stdout.strip().partition(";")[0]
        if words.number(job_id) is None:
            raise Retryable(f"sbatch printed no job id: {done.stdout[:200]!r}", unsure=True)
        return _remote(job_id, order.token)

    async def find(self, orders: Sequence[Order]) -> Mapping[str, Sequence[Remote]]:
        tokens = {order.token for order in orders}
        # The clocks of two machines are compared here: an hour of grace costs nothing.
        age = min(LONGEST_SEARCH, time.time() - min(order.asked_at for order in orders) + 3600)
        jobs = await self._squeue(f"--name={','.join(sorted(tokens))}")
        jobs += await self._sacct(f"--name={','.join(sorted(tokens))}", f"--starttime=now-{age:.0f}seconds")
        found: dict[str, dict[str, Remote]] = {}
        for seen in sorted(jobs, key=lambda seen: words.number(seen.id) or 0):
            if seen.name in tokens:
                found.setdefault(seen.name, {})[seen.id] = _remote(seen.id, seen.name)
        return {token: list(remotes.values()) for token, remotes in found.items()}

    async def sweep(self, owner: str) -> Sequence[tuple[str, Remote]]:
        live = words.WAITING | words.ALIVE
        jobs = await self._squeue()
        return [(s.name, _remote(s.id, s.name)) for s in jobs if s.name.startswith(f"{owner}-") and s.state in live]

    async def status(self, remote_ids: Sequence[str]) -> Mapping[str, RemoteStatus]:
        wanted = {_job_of(remote_id) for remote_id in remote_ids}
        seen = {job.id: job for job in await self._squeue() if job.id in wanted}
        missing = wanted - set(seen)
        if missing:
            seen |= {job.id: job for job in await self._sacct(f"--jobs={','.join(sorted(missing))}")}
        found = {}
        for remote_id in remote_ids:
            found[remote_id] = await self._status(remote_id, seen.get(_job_of(remote_id)))
        return found

    async def logs(self, remote_id: str, offset: int) -> LogPiece:
        path = self._record(_token_of(remote_id)) / script.LOG
        try:
            data = await asyncio.to_thread(_read, path, offset)
        except FileNotFoundError:
            return LogPiece()
        except OSError as error:
            raise Retryable(f"the log cannot be read: {error.strerror}") from error
        return LogPiece(data=data, more=len(data) == PIECE)

    async def cancel(self, remote_id: str) -> None:
        done = await self._run("scancel", _job_of(remote_id))
        if done.returncode != 0 and not _UNKNOWN.search(done.stderr):
            raise self._trouble("scancel", done)

    async def health(self) -> Health:
        done = await self._run("scontrol", "ping")
        if done.returncode != 0 or " UP" not in done.stdout.upper():
            raise self._trouble("scontrol ping", done)
        where = f"logs, files and job folders go through {self._shared}, which the nodes must see too"
        return Health(detail=f"{' '.join(done.stdout.split())}; {where}")

    async def close(self) -> None:
        """Nothing is kept open."""

    # --- how one job stands ------------------------------------------------------------------------------------

    async def _status(self, remote_id: str, seen: words.Seen | None) -> RemoteStatus:
        if seen is None:
            return await asyncio.to_thread(self._forgotten, remote_id)
        if seen.state in words.WAITING | words.ALIVE:
            return words.status(seen, None)
        code = seen.code if seen.code is not None else await asyncio.to_thread(self._code, self._record(seen.name))
        if code is None and seen.state == "FAILED":
            shown = await self._run("scontrol", "--oneliner", "show", "job", _job_of(remote_id))
            code = words.exit_code(words.field(shown.stdout, "ExitCode") or "")
        status = words.status(seen, code)
        if status.state in (RemoteState.COMPLETED, RemoteState.FAILED) and status.exit_class != "lost":
            await asyncio.to_thread(self._say_if_no_log, self._record(seen.name))
        return status

    def _say_if_no_log(self, record: Path) -> None:
        """Slurm makes the log where the job runs: without one, that is another folder of this name."""
        try:
            record.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (record / script.LOG).open("x") as log:
                log.write(
                    f"gpuyard: no log of this job came to {record}: set shared_dir in [providers.slurm] to a folder"
                )
                log.write(" that the nodes see too\n")
        except OSError:
            pass  # it is there, as it should be, or cannot be written: then reading it says so

    def _forgotten(self, remote_id: str) -> RemoteStatus:
        """Slurm knows it no more: what did the job itself write?"""
        folder = self._record(_token_of(remote_id))
        code = self._code(folder)
        if code is None:
            return RemoteStatus(state=RemoteState.GONE)
        ended_at = (folder / script.EXIT).stat().st_mtime
        if code == 0:
            return RemoteStatus(state=RemoteState.COMPLETED, exit_code=0, ended_at=ended_at)
        return RemoteStatus(state=RemoteState.FAILED, exit_code=code, exit_class=class_of(code), ended_at=ended_at)

    def _record(self, token: str) -> Path:
        return self._shared / "runs" / token

    @staticmethod
    def _code(folder: Path) -> int | None:
        try:
            text = (folder / script.EXIT).read_text().strip()
        except (OSError, UnicodeDecodeError):  # the job itself might have written there
            return None
        return words.number(text)

    # --- Slurm's commands --------------------------------------------------------------------------------------

    def _flags(self, order: Order, record: Path) -> list[str]:
        spec, own = order.spec, self._set
        chosen = {name: getattr(own, name) for name in ("partition", "account", "qos")}
        for name in OPTIONS:
            wish = order.options.get(name, order.options.get(name.replace("-", "_")))
            if wish is not None:
                if not isinstance(wish, str | int) or not _VALUE.fullmatch(str(wish)):
                    raise Refused(f"provider_options.{name}: {wish!r} is not a value for sbatch")
                chosen[name] = str(wish)
        hardware = order.options.get("hardware", own.hardware)
        if not isinstance(hardware, str) or (hardware and not _VALUE.fullmatch(hardware)):
            raise Refused(f"provider_options.hardware: {hardware!r} is not a GPU type")
        flags = [
            f"--job-name={order.token}",
            f"--comment=gpuyard job {spec.job_id} attempt {spec.attempt}",
            f"--output={record / script.LOG}",
            "--open-mode=append",
            "--no-requeue",
            f"--chdir={self._shared}",
        ]
        flags += [f"--{name}={value}" for name, value in chosen.items() if value]
        if spec.num_processes:
            flags.append(f"--gres={':'.join(part for part in (own.gres, hardware, str(spec.num_processes)) if part)}")
        if spec.time_limit is not None:
            flags.append(f"--time={_clock(spec.time_limit)}")
        return flags

    async def _squeue(self, *more: str) -> list[words.Seen]:
        arguments = ("--noheader", "--me", "--states=all", f"--format={words.SQUEUE_FORMAT}", *more)
        done = await self._run("squeue", *arguments)
        if done.returncode != 0:
            if _UNKNOWN.search(done.stderr):
                return []
            raise self._trouble("squeue", done)
        return words.squeue(done.stdout)

    async def _sacct(self, *more: str) -> list[words.Seen]:
        """What accounting knows; nothing where there is none."""
        if not self._accounting:
            return []
        arguments = ("--allocations", "--noheader", "--parsable2", f"--format={words.SACCT_FORMAT}", *more)
        done = await self._run("sacct", *arguments)
        if done.returncode != 0:
            if "disabled" in done.stderr:
                self._accounting = False
            elif not _NO_ACCOUNTING.search(done.stderr):
                raise self._trouble("sacct", done)
            return []
        return words.sacct(done.stdout)

    async def _run(self, name: str, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        command = self._commands[name]
        if command is None:
            raise Retryable(f"there is no {name} here", down=True)
        try:
            return await asyncio.to_thread(_call, [command, *arguments], self._environment(), text)
        except subprocess.TimeoutExpired:
            raise Retryable(f"{name} did not answer within {CALL_SECONDS * 0.75:g} s", unsure=True) from None
        except OSError as error:
            raise Retryable(f"{name} cannot be started: {error.strerror}", down=True) from error

    def _environment(self) -> dict[str, str]:
        """Clean: sbatch hands its own on to the job."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "USER", "LOGNAME", "LANG") if name in os.environ}
        conf = self._set.conf or os.environ.get("SLURM_CONF", "")
        return {**kept, "SLURM_TIME_FORMAT": "%s", **({"SLURM_CONF": conf} if conf else {})}

    def _which(self, name: str) -> str | None:
        return shutil.which(name, path=self._set.bin_dir or None)

    @staticmethod
    def _trouble(name: str, done: subprocess.CompletedProcess[str], *, refusable: bool = False) -> Exception:
        said = " ".join((done.stderr or done.stdout).split())[:500]
        text = f"{name} ended with {done.returncode}: {said}"
        if _NO_CONF.search(said):
            text += " (it finds no slurm.conf: is this a login node? else set conf in [providers.slurm])"
        if _TIMED_OUT.search(said):
            return Retryable(text, unsure=True)
        if _FOR_NOW.search(said) or not refusable:
            return Retryable(text)
        return Refused(text)


def _remote(job_id: str, token: str) -> Remote:
    return Remote(id=f"{job_id}.{token}")


def _job_of(remote_id: str) -> str:
    return remote_id.partition(".")[0]


def _token_of(remote_id: str) -> str:
    return remote_id.partition(".")[2]


def _call(command: list[str], environment: dict[str, str], text: str | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=CALL_SECONDS * 0.75,
        check=False,
    )


def _read(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(PIECE)


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds as sbatch takes them; Slurm itself counts whole minutes.

    >>> _clock(5400)
    '1:30:00'
    """
    whole = max(1, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
