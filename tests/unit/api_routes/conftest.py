"""The real application over the real actors of a server, in this process; only uvicorn and the link are left out.

Who asks is said by a header, so that levels and other people can be tested before there are users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from gpuyard.actors.base import Actor, Context, Directory, Reply
from gpuyard.actors.cloud.settings import CloudSettings
from gpuyard.actors.cloud_dispatcher import CloudDispatcher
from gpuyard.actors.gpu.choose import choose
from gpuyard.actors.gpu.settings import GpuSettings
from gpuyard.actors.gpu_allocator import LocalGPUAllocator
from gpuyard.actors.history import History
from gpuyard.actors.keeper.settings import KeeperSettings
from gpuyard.actors.log_reader import LogReader
from gpuyard.actors.model import names
from gpuyard.actors.model.cloud_prices import PriceTable
from gpuyard.actors.model.commands import Publish, Ready
from gpuyard.actors.model.limits import Limits
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.actors.people import People
from gpuyard.actors.process_keeper import ProcessKeeper
from gpuyard.actors.queue_store import QueueStore
from gpuyard.actors.scheduler import Scheduler
from gpuyard.actors.secret_store import SecretStore
from gpuyard.actors.supervisor import Child, Supervisor
from gpuyard.actors.webhooks import Webhooks
from gpuyard.actors.worker_registry import WorkerRegistry
from gpuyard.api.app import create_app
from gpuyard.api.core import LocalCore
from gpuyard.api.identity import Authenticator, Caller, Identity
from gpuyard.api.settings import Settings
from tests.support import eventually

PEOPLE = {
    "owner": Viewer(user_id=1, username="owner", level=Level.ADMIN),
    "lead": Viewer(user_id=2, username="lead", level=Level.LEAD, team_id="red"),
    "ann": Viewer(user_id=3, username="ann", level=Level.RESEARCHER, team_id="red"),
    "bob": Viewer(user_id=4, username="bob", level=Level.RESEARCHER, team_id="blue"),
    "eve": Viewer(user_id=5, username="eve", level=Level.VIEWER),
}
TERMINAL = {"completed", "failed", "cancelled"}


class Named:
    """An authenticator that believes the token."""

    async def identify(self, caller: Caller) -> Identity:
        viewer = PEOPLE[caller.credential or "owner"]
        return Identity(msgspec.structs.replace(viewer, address=caller.address), viewer.username, unlimited=True)


class Relay(Actor):
    """Stands where the link stands: published events go to the core that the application asks."""

    def __init__(self, context: Context, deliver: Callable[[Publish], None]) -> None:
        super().__init__(context)
        self._deliver = deliver

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case Publish():
                self._deliver(message)
                return None
            case Ready():
                return True
            case _:
                return self.unsupported(message)


class Yard:
    """The application, its folders, and short ways to ask it."""

    def __init__(self, client: TestClient, folder: Path, directory: Directory) -> None:
        self.client = client
        self.directory = directory
        self.configs = folder / "configs"
        self.data = folder / "data"

    def ask(self, method: str, path: str, body: Any = None, by: str = "owner", **headers: str) -> Any:
        """The response; `headers` with underscores for dashes."""
        sent = {"X-API-Key": by} | {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body = msgspec.json.encode(body)
        if body is not None:
            sent["Content-Type"] = "application/json"
        return self.client.request(method, path, content=body, headers=sent)

    def get(self, path: str, by: str = "owner") -> Any:
        response = self.ask("GET", path, by=by)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, body: Any = None, by: str = "owner", **headers: str) -> Any:
        response = self.ask("POST", path, body, by, **headers)
        assert response.status_code == 200, response.text
        return response.json()

    def submit(self, *command: str, by: str = "owner", **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.post("/api/queue/submit", {"command": list(command or ("true",)), **more}, by)
        assert answer["success"], answer
        return answer

    def job(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = self.get(f"/api/jobs/{job_id}")["job"]
        return job

    def wait(self, job_id: str, *statuses: str) -> dict[str, Any]:
        """The job once it has one of `statuses` (any terminal one by default)."""
        wanted = set(statuses) or TERMINAL
        return eventually(
            lambda: job if (job := self.job(job_id))["status"] in wanted else {}, timeout=30, message=str(wanted)
        )

    def running(self, job_id: str) -> dict[str, Any]:
        """The job once its program lives."""
        return eventually(lambda: job if (job := self.job(job_id))["phase"] == "running" else {}, timeout=30)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """4 simulated GPUs, up to 4 local jobs at once; fresh for each test."""
    with opened(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A yard that a module's tests share, because they change nothing in it."""
    with opened(tmp_path_factory.mktemp("calm")) as found:
        yield found


@contextmanager
def opened(
    folder: Path,
    workers: Sequence[Child] = (Child(names.WORKERS, WorkerRegistry),),
    instead: Sequence[Child] = (),
    authenticator: Authenticator | None = None,
) -> Iterator[Yard]:
    """`workers` are the actors that deal with workers: by default none can connect. `instead` take the place of the
    children that bear their names."""
    data, configs = folder / "data", folder / "configs"
    for part in (data / "runs", data / "jobs", data / "sockets", configs):
        part.mkdir(parents=True, mode=0o700)
    gpu = GpuSettings(data_dir=data)
    prices = PriceTable(usd_per_hour={"simulated": {"a100": 36_000.0}})
    cloud = CloudSettings(data_dir=data, simulate=True, prices=prices)
    limits = Limits(local_job_max_concurrent=4, local_cpu_job_max_concurrent=4)
    keeper = KeeperSettings(data_dir=data, stop_grace_seconds=1.0)
    settings = Settings(
        data_dir=str(data),
        configs_dir=str(configs),
        launch_command=("sh", "-c", 'cat "$CONFIG_PATH"; env'),
        started_at=1.0,
    )
    cores: list[tuple[Any, LocalCore]] = []

    def deliver(message: Publish) -> None:
        for portal, core in cores:
            portal.start_task_soon(core.publish, message.events, message.revision)

    others = {child.name: child for child in instead}
    children = [
        Child(names.STORE, QueueStore, lambda: (data / "jobs.db",), core=True),
        Child(names.SECRETS, SecretStore, lambda: (data,)),
        Child(names.WEBHOOKS, Webhooks, lambda: (data,)),
        Child(names.KEEPER, ProcessKeeper, lambda: (keeper,), core=True),
        Child(names.GPUS, LocalGPUAllocator, lambda: (choose("4:A100:40", gpu), gpu), core=True),
        Child(names.SCHEDULER, Scheduler, lambda: (limits,), core=True),
        Child(names.PEOPLE, People),
        Child(names.HISTORY, History, lambda: (data / "jobs.db",)),
        Child(names.LOGS, LogReader, lambda: (data,)),
        Child(names.CLOUD, CloudDispatcher, lambda: (cloud,)),
        *workers,
        Child(names.LINK, Relay, lambda: (deliver,)),
    ]
    supervisor = Supervisor([others.get(child.name, child) for child in children])
    supervisor.boot()
    try:
        eventually(lambda: not supervisor.ready(), timeout=30)
        core = LocalCore(supervisor.directory)
        with TestClient(
            create_app(core, settings, authenticator or Named()), base_url="http://127.0.0.1:8000"
        ) as client:
            cores.append((client.portal, core))
            found = Yard(client, folder, supervisor.directory)
            yield found
            found.post("/api/jobs/cancel", {"all": True, "all_users": True})
            eventually(lambda: found.get("/api/queue/stats")["total_running"] == 0, timeout=30)
            cores.clear()
    finally:
        supervisor.shut_down()
