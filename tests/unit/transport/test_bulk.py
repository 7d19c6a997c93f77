"""The bulk sockets find each other, and each finds its own host's control socket again after a restart."""

from __future__ import annotations

import pytest

from gpuyard.actors.model import names
from gpuyard.actors.model.message import Ping
from gpuyard.transport.bulk import Bulk, BulkUplink
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.gateway import Gateway
from gpuyard.transport.peer_ref import PeerRef
from gpuyard.transport.uplink import Uplink
from tests.hosts import ServerHost, WorkerHost, beat, server_host, worker_host
from tests.support import eventually


def accepted(server: ServerHost, worker: WorkerHost, n: int = 1) -> None:
    worker.wait_up()
    worker.say(beat(n))
    server.answer(eventually(lambda: [s for s in server.said("w1") if s.said.n == n])[0])


def reached(server: ServerHost, worker: WorkerHost) -> bool:
    """Can the server ask this worker for its logs?"""
    worker.cast.play(names.LOGS)
    asked = PeerRef(server.cast.directory.ref(names.BULK), names.LOGS, "w1", timeout=5).ask(Ping())
    return asked.exception(10) is None


def test_a_worker_connects_once_it_is_accepted() -> None:
    with server_host() as server, worker_host(server.enrol("w1")) as worker:
        worker.wait_up()
        worker.say(beat(1))
        refused = eventually(lambda: server.said("w1"))[0]
        server.answer(refused, refused="a worker with this key is here already")
        eventually(worker.syncs)
        assert server.stats(names.BULK).sessions == 0
        accepted(server, worker, 2)
        eventually(lambda: reached(server, worker))


def test_one_that_is_refused_later_hangs_up() -> None:
    with server_host() as server, worker_host(server.enrol("w1")) as worker:
        accepted(server, worker)
        eventually(lambda: reached(server, worker))
        worker.say(beat(2))
        server.answer(eventually(lambda: [s for s in server.said("w1") if s.said.n == 2])[0], refused="deleted")
        eventually(lambda: not reached(server, worker))


@pytest.mark.parametrize("who", ["the server's bulk socket", "the gateway", "the worker's bulk socket", "the uplink"])
def test_after_any_restart_they_find_each_other_again(who: str) -> None:
    with server_host() as server, worker_host(server.enrol("w1")) as worker:
        accepted(server, worker)
        eventually(lambda: reached(server, worker))
        match who:
            case "the server's bulk socket":  # on another port, too
                server.cast.end(names.BULK)
                server.cast.start(Bulk, names.BULK, server.settings)
            case "the gateway":
                port = Endpoint.parse(server.stats().endpoint).port
                server.cast.end(names.GATEWAY)
                settings = type(server.settings)(bind=Endpoint("127.0.0.1", port), keys=server.keys)
                server.cast.start(Gateway, names.GATEWAY, settings)
                server.allow()
            case "the worker's bulk socket":
                worker.cast.end(names.BULK)
                worker.cast.start(BulkUplink, names.BULK, worker.settings)
            case "the uplink":
                links = len(worker.links())
                worker.cast.end(names.UPLINK)
                worker.cast.start(Uplink, names.UPLINK, worker.settings)
                eventually(lambda: len(worker.links()) > links)
                accepted(server, worker, 2)
        eventually(lambda: reached(server, worker), timeout=30)
