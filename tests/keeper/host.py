"""A real ProcessKeeper with a real zygote and real runs; only the Scheduler is a recorder."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pykka

from gpuyard.actors import procfs
from gpuyard.actors.base import Actor, Context, Directory, Reply, start
from gpuyard.actors.keeper import news
from gpuyard.actors.keeper.settings import KeeperSettings
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import RunSpec, WantRun, WantStop
from gpuyard.actors.model.events import AttemptExited, AttemptStarted
from gpuyard.actors.model.message import Message, Ping, Shutdown
from gpuyard.actors.process_keeper import ProcessKeeper
from tests.support import eventually

PYTHON = sys.executable


class Recorder(Actor):
    """Stands where the Scheduler stands, and remembers what it was told."""

    def __init__(self, context: Context, heard: list[Message]) -> None:
        super().__init__(context)
        self._heard = heard

    def handle(self, message: Message, reply: Reply | None) -> Any:
        self._heard.append(message)


class Host:
    """One data folder, and whatever supervisor runs on it at the moment."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.heard: list[Message] = []
        self.crashes: list[BaseException] = []
        self._refs: list[pykka.ActorRef[Any]] = []
        self.directory = Directory()

    def boot(self, **settings: Any) -> None:
        """Start the supervisor's side (again)."""
        settings = {"stop_grace_seconds": 5.0, "tick_seconds": 0.5, **settings}
        self.directory = Directory()
        context = {
            name: Context(name, directory=self.directory, crashed=lambda _, error: self.crashes.append(error))
            for name in (names.SCHEDULER, names.KEEPER)
        }
        self._refs = [
            start(Recorder, context[names.SCHEDULER], self.heard),
            start(ProcessKeeper, context[names.KEEPER], KeeperSettings(data_dir=self.data_dir, **settings)),
        ]
        self.tell_ping()

    def also(self, ref: pykka.ActorRef[Any]) -> None:
        """One more actor, stopped with the others."""
        self._refs.append(ref)

    def shut_down(self) -> None:
        """As at a restart of the server: the runs go on."""
        for ref in reversed(self._refs):
            ref.tell(Shutdown())
            eventually(lambda ref=ref: not ref.is_alive())
        self._refs = []

    def tell(self, message: Message) -> None:
        self.directory.ref(names.KEEPER).tell(message)

    def tell_ping(self) -> None:
        """Everything told so far has been handled."""
        assert self.directory.ref(names.KEEPER).ask(Ping()).result(10) is True

    def run(self, *argv: str, fence: int = 1, **spec: Any) -> int:
        """Want a run; its fence."""
        self.tell(WantRun(run=RunSpec(fence=fence, job_id=f"job{fence}", attempt=1, argv=argv, **spec)))
        return fence

    def shell(self, script: str, fence: int = 1, **spec: Any) -> int:
        return self.run("/bin/sh", "-c", script, fence=fence, **spec)

    def python(self, script: str, fence: int = 1, **spec: Any) -> int:
        return self.run(PYTHON, "-c", script, fence=fence, **spec)

    def stop(self, fence: int = 1, reason: str = "cancelled by owner") -> None:
        self.tell(WantStop(fence=fence, reason=reason))

    def all(self, kind: type[Message], fence: int = 1) -> list[Any]:
        return [m for m in list(self.heard) if isinstance(m, kind) and getattr(m, "fence", fence) == fence]

    def end(self, fence: int = 1, timeout: float = 30) -> AttemptExited:
        return eventually(lambda: self.all(AttemptExited, fence), timeout, f"run {fence} did not end")[0]

    def started(self, fence: int = 1) -> AttemptStarted:
        return eventually(lambda: self.all(AttemptStarted, fence), 30, f"run {fence} did not start")[0]

    def folder(self, fence: int = 1) -> Path:
        return self.data_dir / "runs" / str(fence)

    def job(self, fence: int = 1) -> Path:
        return self.data_dir / "jobs" / f"job{fence}"

    def log(self, fence: int = 1) -> str:
        return (self.folder(fence) / "log").read_text(errors="replace")

    def record(self, fence: int = 1) -> news.RunRecord:
        def read() -> news.News | None:
            path = self.folder(fence) / "run.json"
            return news.read(path.read_bytes()) if path.exists() else None

        found = eventually(read, 30)
        assert isinstance(found, news.RunRecord)
        return found

    def rewrite_record(self, fence: int = 1, **changes: Any) -> None:
        """Pretend that the keeper wrote something else."""
        record = msgspec.structs.replace(self.record(fence), **changes)
        (self.folder(fence) / "run.json").write_bytes(msgspec.json.encode(record))

    def wait_for(self, path: Path) -> str:
        """The content of a file that a run writes."""
        return eventually(lambda: path.read_text() if path.exists() else "", 30, f"{path} was not written")

    def wait_for_log(self, text: str, fence: int = 1) -> None:
        log = self.folder(fence) / "log"
        eventually(lambda: log.exists() and text in self.log(fence), 30, f"the log does not say {text!r}")

    def processes(self, fence: int = 1) -> list[int]:
        return procfs.processes_with_fence(fence, str(self.data_dir / "jobs"))

    def ours(self) -> list[int]:
        """Zygotes, spares and keepers of this data folder."""
        return [pid for pid in procfs.pids() if str(self.data_dir).encode() in _cmdline(pid)]

    def zygote(self) -> int:
        """The only child of ours among them."""
        (pid,) = eventually(lambda: [pid for pid in procfs.children(os.getpid()) if pid in self.ours()])
        return pid

    def named(self, name: str) -> list[int]:
        """Of those, the ones that `ps` shows as gpuyard-<name>."""
        return [pid for pid in self.ours() if comm(pid) == f"gpuyard-{name}"]


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def kill(pid: int) -> None:
    """One process, by its id, as a crash would."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
