"""Boot order, healing, giving up and stopping in reverse, with real actors (DESIGN 3)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gpuyard.actors.base import Actor, Context, Reply
from gpuyard.actors.model.commands import Ready
from gpuyard.actors.model.errors import DatabaseRefused, Unavailable
from gpuyard.actors.model.message import Message, Ping, Shutdown
from gpuyard.actors.supervisor import RESTARTS_ALLOWED, Child, GaveUp, Patience, Supervisor
from tests.support import eventually

PATIENCE = Patience(start=5, stop=5, hang=0.5, ping_every=0.05, look_every=0.02)


class Fail(Message, frozen=True, kw_only=True):
    how: str = "bug"


class Worker(Actor):
    """Writes its life into a shared story."""

    def __init__(self, context: Context, story: list[str], refuse: list[str]) -> None:
        super().__init__(context)
        self.story, self.refuse = story, refuse

    def started(self) -> None:
        if self.name in self.refuse:
            raise DatabaseRefused("the database is damaged: restore a backup")
        self.story.append(f"+{self.name}")

    def stopped(self) -> None:
        self.story.append(f"-{self.name}")

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case Ready():
                return True
            case Fail(how="hang"):
                threading.Event().wait(30)
            case Fail(how="exit"):
                raise SystemExit
            case Fail():
                raise ValueError("a bug")
            case _:
                return self.unsupported(message)
        return None


class Run:
    def __init__(self, *names: str, core: str = "") -> None:
        self.story: list[str] = []
        self.refuse: list[str] = []
        children = [Child(name, Worker, lambda: (self.story, self.refuse), core=name in core.split()) for name in names]
        self.supervisor = Supervisor(children, patience=PATIENCE)
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.supervisor.run()
        except GaveUp as error:
            self.error = error

    def start(self) -> None:
        self.supervisor.boot()
        self.thread.start()

    def alive(self, name: str) -> bool:
        reply = self.supervisor.directory.ref(name).ask(Ping())
        return reply.exception(5) is None

    def close(self) -> None:
        self.supervisor.stop()
        if self.thread.is_alive():
            self.thread.join(30)
        self.supervisor.shut_down()


@pytest.fixture
def run() -> Iterator[Run]:
    made = Run("store", "scheduler", "history", "link", core="store scheduler")
    yield made
    made.close()


def test_parts_start_in_order_and_stop_in_exact_reverse(run: Run) -> None:
    run.start()
    assert run.story == ["+store", "+scheduler", "+history", "+link"]
    assert run.supervisor.ready() == []
    run.close()
    assert run.story[4:] == ["-link", "-history", "-scheduler", "-store"]


@pytest.mark.parametrize("how", ["bug", "exit"])
def test_a_core_actor_takes_the_core_group_with_it(run: Run, how: str) -> None:
    run.start()
    run.supervisor.directory.ref("scheduler").tell(Fail(how=how))
    eventually(lambda: run.story.count("+scheduler") == 2 and run.alive("scheduler"))
    assert run.story[4:] == ["-scheduler", "-store", "+store", "+scheduler"]
    assert run.supervisor.restarts == 1


def test_an_edge_restarts_alone(run: Run) -> None:
    run.start()
    run.supervisor.directory.ref("history").tell(Fail())
    eventually(lambda: run.story.count("+history") == 2 and run.alive("history"))
    assert run.story[4:] == ["-history", "+history"]


def test_a_part_that_fails_again_and_again_ends_the_service(run: Run) -> None:
    run.start()

    def fail_and_see() -> bool:
        if run.error is None and run.alive("history"):
            run.supervisor.directory.ref("history").tell(Fail())
        return run.error is not None

    eventually(fail_and_see, timeout=60)
    assert "restarts" in str(run.error) and run.story.count("+history") == RESTARTS_ALLOWED + 1


def test_a_hang_ends_the_service(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    run.start()
    run.supervisor.directory.ref("link").tell(Fail(how="hang"))
    eventually(lambda: run.error, timeout=20)
    assert "link hangs" in str(run.error)
    assert "Thread" in capfd.readouterr().err, "a dump of all threads says where"
    run.supervisor.directory.drop("link")


def test_a_part_that_does_not_stop_ends_the_service_instead_of_living_on_beside_its_successor(run: Run) -> None:
    run.supervisor.patience = Patience(start=5, stop=0.2, hang=60, ping_every=60, look_every=0.02)
    run.start()
    run.supervisor.directory.ref("store").tell(Fail(how="hang"))
    run.supervisor.directory.ref("scheduler").tell(Fail())
    eventually(lambda: run.error, timeout=20)
    assert "store hangs: it did not stop" in str(run.error)
    assert run.story.count("+store") == 1


def test_a_part_that_ended_without_a_word_is_started_again(run: Run) -> None:
    run.start()
    run.supervisor.directory.ref("history").tell(Shutdown())
    eventually(lambda: run.story.count("+history") == 2 and run.alive("history"))
    assert run.supervisor.restarts == 1


def test_why_a_part_could_not_start_is_said(run: Run) -> None:
    run.refuse.append("scheduler")
    with pytest.raises(DatabaseRefused, match="restore a backup"):
        run.supervisor.boot()


def test_a_part_that_cannot_be_restarted_is_tried_again(run: Run) -> None:
    run.start()
    run.refuse.append("scheduler")
    run.supervisor.directory.ref("store").tell(Fail())
    eventually(lambda: run.supervisor.restarts == 2)
    run.refuse.clear()
    eventually(lambda: run.story.count("+scheduler") == 2 and run.alive("scheduler"), timeout=20)
    assert run.error is None


def test_a_part_that_can_never_be_restarted_ends_the_service_and_says_why(run: Run) -> None:
    run.start()
    run.refuse.append("scheduler")
    run.supervisor.directory.ref("store").tell(Fail())
    eventually(lambda: run.error, timeout=60)
    assert isinstance(run.error, GaveUp)
    assert "scheduler" in str(run.error) or "store" in str(run.error)
    assert "restore a backup" in str(run.error)


class FakeProcess:
    """A process that dies on command."""

    name = "frontend"

    def __init__(self) -> None:
        self.starts = 0
        self.running = False
        self.refuses = False
        self.story: list[str] = []

    def spawn(self) -> None:
        self.story.append("+frontend")

    def start(self) -> None:
        self.starts += 1
        if self.refuses:
            raise Unavailable("it ended at its start")
        self.running = True

    def alive(self) -> bool:
        return self.running

    def stop(self, timeout: float) -> None:
        self.running = False


def test_a_process_that_ends_is_started_again(run: Run) -> None:
    process = FakeProcess()
    run.supervisor.processes.append(process)
    run.start()
    process.running = False
    eventually(lambda: process.starts == 2)


def test_a_process_that_cannot_be_started_again_ends_the_service(run: Run) -> None:
    process = FakeProcess()
    run.supervisor.processes.append(process)
    run.start()
    process.running, process.refuses = False, True
    eventually(lambda: run.error, timeout=60)
    assert isinstance(run.error, GaveUp) and "frontend ended again and again" in str(run.error)


def test_processes_load_while_the_actors_start(run: Run) -> None:
    process = FakeProcess()
    process.story = run.story
    run.supervisor.processes.append(process)
    run.start()
    assert run.story == ["+frontend", "+store", "+scheduler", "+history", "+link"]
    assert process.starts == 1
