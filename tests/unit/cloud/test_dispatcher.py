"""The CloudDispatcher round real books and desks: facts, wants, a restart, what is kept in the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pykka
import pytest

from gpuyard.actors.base import Actor, Context, Directory, Reply, start
from gpuyard.actors.cloud.settings import CloudSettings
from gpuyard.actors.cloud_dispatcher import CloudDispatcher
from gpuyard.actors.model import names
from gpuyard.actors.model.cloud_remote import token_of
from gpuyard.actors.model.commands import (
    ForgetRun,
    ListProviders,
    LoadRegisters,
    Ready,
    Record,
    RunSpec,
    SetProvider,
    WantAgain,
    WantedComplete,
    WantRun,
    WantStop,
)
from gpuyard.actors.model.events import AttemptExited, OrphanSeen, ProviderFacts
from gpuyard.actors.model.message import Message, Shutdown
from tests import leaks
from tests.support import eventually

DB = "0a1b2c3d4e5f"
HOST = "cloud:simulated"


class Recorder(Actor):
    """Stands for the Scheduler, or for the store with its one register."""

    heard: list[Message]
    rows: dict[str, dict[str, Any]]

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        type(self).heard, type(self).rows = [], {}

    def handle(self, message: Message, reply: Reply | None) -> Any:
        type(self).heard.append(message)
        match message:
            case LoadRegisters():
                return {"provider": list(type(self).rows.values())}
            case Record():
                for row in message.rows:
                    values = getattr(row, "values", None)
                    if values is not None:
                        default = {"enabled": True, "name": values["name"]}
                        type(self).rows.setdefault(values["name"], default).update(values)
                return True
            case _:
                return None


class Store(Recorder):
    pass


class Scheduler(Recorder):
    pass


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.directory = Directory()
        self.refs: dict[str, pykka.ActorRef[Any]] = {}
        for name, cls in ((names.STORE, Store), (names.SCHEDULER, Scheduler)):
            self.refs[name] = start(cls, Context(name, directory=self.directory))
        self.begin()

    def begin(self) -> None:
        settings = CloudSettings(
            data_dir=self.folder, simulate=True, providers={"simulated": {"poll_seconds": 0.05, "settle_seconds": 0.3}}
        )
        self.refs[names.CLOUD] = start(CloudDispatcher, Context(names.CLOUD, directory=self.directory), settings)
        eventually(lambda: self.ask(Ready()), timeout=20)

    def restart(self) -> None:
        """The dispatcher ends and begins anew, knowing nothing."""
        self.ask(Shutdown())
        eventually(lambda: not self.refs[names.CLOUD].is_alive(), timeout=20)
        self.begin()

    def close(self) -> None:
        for name in (names.CLOUD, names.SCHEDULER, names.STORE):
            self.refs.pop(name).stop()
            self.directory.drop(name)

    def ask(self, message: Message) -> Any:
        return self.directory.ref(names.CLOUD).ask(message).result(20)

    def want(self, fence: int, again: bool = False, **options: Any) -> None:
        spec = RunSpec(fence=fence, job_id=f"job{fence}", attempt=1, argv=("true",))
        token = token_of(DB, fence)
        message = WantRun(run=spec, host=HOST, token=token, options=options, again=again)
        self.directory.ref(names.CLOUD).tell(message)

    def tell(self, message: Message) -> None:
        self.directory.ref(names.CLOUD).tell(message)

    def heard(self, kind: type[Any]) -> list[Any]:
        return [message for message in Scheduler.heard if isinstance(message, kind)]

    def exit_of(self, fence: int) -> AttemptExited:
        def look() -> AttemptExited | None:
            return next((event for event in self.heard(AttemptExited) if event.fence == fence), None)

        found: AttemptExited | None = eventually(look, timeout=30)
        assert found is not None
        return found

    def jobs(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in (self.folder / "simulated_cloud/jobs").glob("*.json")]

    def script(self, **how: Any) -> None:
        folder = self.folder / "simulated_cloud"
        folder.mkdir(exist_ok=True)
        (folder / "script.new").write_text(json.dumps(how))
        (folder / "script.new").replace(folder / "script.json")


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


@pytest.fixture
def world(tmp_path: Path, _no_leaks: None) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_at_its_start_it_asks_for_all_that_shall_live_after_it_has_told_its_facts(world: World) -> None:
    eventually(lambda: world.heard(WantAgain))
    kinds = [type(message) for message in Scheduler.heard]
    assert kinds.index(ProviderFacts) < kinds.index(WantAgain)
    assert world.heard(WantAgain)[0].driver == names.CLOUD
    facts = world.heard(ProviderFacts)[0]
    assert facts.available == ("simulated",) and "token_file" in facts.refused["replicate"]


def test_a_restarted_one_finds_the_remote_job_and_makes_no_second(world: World) -> None:
    world.want(7, run_seconds=1.5)
    eventually(lambda: world.jobs(), timeout=20)
    world.restart()
    world.want(7, again=True, run_seconds=1.5)
    assert world.exit_of(7).exit_class == "completed"
    assert len(world.jobs()) == 1


def test_an_end_is_told_until_it_is_forgotten(world: World) -> None:
    world.want(7, run_seconds=0.05)
    world.exit_of(7)
    world.tell(ForgetRun(fence=7, host=HOST))
    assert next(view for view in world.ask(ListProviders()) if view.name == "simulated").running == 0


def test_a_remote_job_whose_run_nobody_wants_is_told_and_ended_when_asked(world: World) -> None:
    world.want(7, run_seconds=600)
    eventually(lambda: world.jobs(), timeout=20)
    world.restart()
    world.tell(WantedComplete(fences=(), owner=token_of(DB, 7).rpartition("-")[0]))
    [orphan] = eventually(lambda: world.heard(OrphanSeen), timeout=30)
    assert (orphan.fence, orphan.host) == (7, HOST)
    world.tell(WantStop(fence=7, host=HOST, reason="its attempt has ended"))
    assert world.exit_of(7).exit_class == "cancelled"
    assert world.jobs()[0]["cancelled_at"] is not None


def test_an_open_circuit_outlives_a_restart(world: World) -> None:
    world.script(down="the cable is cut")
    world.want(7)
    assert world.exit_of(7).exit_class in ("provider_down", "provider_error")
    world.want(8)
    world.want(9)
    eventually(lambda: Store.rows.get("simulated", {}).get("circuit") == "open", timeout=30)
    told = len(world.heard(ProviderFacts))
    world.restart()
    facts = eventually(lambda: world.heard(ProviderFacts)[told:])[0]
    assert facts.available == () and facts.down == {"simulated": "the cable is cut"}
    world.script()
    eventually(lambda: world.heard(ProviderFacts)[-1].available == ("simulated",), timeout=60)


def test_a_disabled_provider_stays_so_over_a_restart(world: World) -> None:
    assert world.ask(SetProvider(name="simulated", enabled=False)).health == "disabled"
    told = len(world.heard(ProviderFacts))
    world.restart()
    facts = eventually(lambda: world.heard(ProviderFacts)[told:])[0]
    assert facts.available == () and facts.refused["simulated"] == "it is disabled"


def test_a_run_at_a_provider_that_is_not_configured_is_left_alone(world: World) -> None:
    spec = RunSpec(fence=7, job_id="job7", attempt=1, argv=("true",))
    world.tell(WantRun(run=spec, host="cloud:slurm", token=token_of(DB, 7), again=True))
    world.tell(WantStop(fence=7, host="cloud:slurm"))
    assert world.ask(Ready()) and not world.heard(AttemptExited)
