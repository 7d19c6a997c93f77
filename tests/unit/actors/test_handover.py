"""A successor starts only when its predecessor has let go of everything."""

from __future__ import annotations

import threading
from typing import Any

from gpuyard.actors.base import Actor, Context, Reply, has_ended, start
from gpuyard.actors.model.message import Message, Ping, Tick
from gpuyard.actors.supervisor import Child, Supervisor
from tests.support import eventually


class Holder(Actor):
    """Holds a thing that only one may hold, and takes its time to let go of it."""

    def __init__(self, context: Context, thing: threading.Lock, clashes: list[str]) -> None:
        super().__init__(context)
        self._thing = thing
        self._clashes = clashes

    def started(self) -> None:
        if not self._thing.acquire(blocking=False):
            self._clashes.append("the thing is still held")

    def stopped(self) -> None:
        threading.Event().wait(0.05)
        self._thing.release()

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case Tick():
                raise RuntimeError("a bug")
            case _:
                return self.unsupported(message)


def test_an_actor_has_ended_only_after_its_stopped() -> None:
    thing = threading.Lock()
    context = Context("holder")
    ref = start(Holder, context, thing, [])
    assert context.ref("holder").ask(Ping()).result(10) is True
    assert not has_ended(ref)
    ref.stop(block=False)
    eventually(lambda: has_ended(ref))
    assert not thing.locked()


def test_a_restart_waits_until_the_old_one_has_let_go() -> None:
    thing, clashes = threading.Lock(), list[str]()
    supervisor = Supervisor([Child("holder", Holder, lambda: (thing, clashes))])
    supervisor.boot()
    running = threading.Thread(target=supervisor.run)
    running.start()
    try:
        for restarts in (1, 2):
            supervisor.directory.ref("holder").tell(Tick())
            eventually(lambda restarts=restarts: supervisor.restarts == restarts)  # type: ignore[misc]
            eventually(lambda: supervisor.directory.ref("holder").ask(Ping()).exception(10) is None)
    finally:
        supervisor.stop()
        running.join(10)
        supervisor.shut_down()
    assert clashes == []
    assert not thing.locked()
