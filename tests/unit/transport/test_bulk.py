"""The bulk sockets find each other, and each finds its own host's control socket again after a restart."""

from __future__ import annotations

import pytest

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import FetchSecrets
from gpuyard.actors.model.errors import Unsupported
from gpuyard.actors.model.events import KeysWanted, PeerSaid
from gpuyard.actors.model.message import Ping
from gpuyard.actors.model.views import SecretValues
from gpuyard.transport.bulk import Bulk, BulkUplink
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.gateway import Gateway
from gpuyard.transport.peer_ref import PeerRef
from gpuyard.transport.uplink import Uplink
from tests.hosts import ServerHost, WorkerHost, beat, server_host, worker_host
from tests.support import eventually

REGISTRY = {PeerSaid: None, KeysWanted: None}


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


def test_who_asks_for_secrets_is_who_its_key_says() -> None:
    with server_host() as server, worker_host(server.enrol("w1")) as worker:
        server.cast.play(names.WORKERS, {**REGISTRY, FetchSecrets: SecretValues(env={"HF": "value"})})
        accepted(server, worker)
        ref = PeerRef(worker.cast.directory.ref(names.BULK), names.WORKERS, timeout=5)
        lie = FetchSecrets(fence=9, worker="w2")
        found = eventually(lambda: reply.result() if (reply := ref.ask(lie)).exception(10) is None else None)
        assert found == SecretValues(env={"HF": "value"})
        assert {m.worker for m in server.cast.heard[names.WORKERS] if isinstance(m, FetchSecrets)} == {"w1"}


def test_on_the_control_socket_nobody_asks_for_secrets() -> None:
    with server_host() as server, worker_host(server.enrol("w1")) as worker:
        server.cast.play(names.WORKERS, {**REGISTRY, FetchSecrets: SecretValues(env={})})
        worker.wait_up()
        ref = PeerRef(worker.cast.directory.ref(names.UPLINK), names.WORKERS, timeout=5)
        assert isinstance(ref.ask(FetchSecrets(fence=9)).exception(10), Unsupported)
        assert not [m for m in server.cast.heard[names.WORKERS] if isinstance(m, FetchSecrets)]
