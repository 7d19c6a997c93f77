"""Gateway and uplink for real: TCP, CURVE, ZAP, actors."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from gpuyard.actors.base import Context, Reply, start
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import IssueToken, Ready, SendToPeer
from gpuyard.actors.model.errors import InvalidInput, Unavailable
from gpuyard.actors.model.events import KeysWanted
from gpuyard.actors.model.message import Message, Shutdown
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.gateway import Gateway
from gpuyard.transport.keys import KeyPair
from gpuyard.transport.peer_ref import PeerRef
from gpuyard.transport.token import WorkerToken
from gpuyard.transport.uplink import Uplink
from tests.answering import Answering, cast
from tests.hosts import SILENT, ServerHost, beat, server_host, sync, worker_host, worker_hosts
from tests.support import eventually

SERVER_PROCESS = """
import sys
from tests.hosts import server_host
with server_host(ping_seconds=0.1) as server:
    print(server.enrol("w1").encode(), flush=True)
    sys.stdin.read()
"""


class Freeze(Message, frozen=True, kw_only=True):
    frozen: Any
    thaw: Any


class Freezing(Uplink):
    """An uplink that can be kept from reading."""

    def _handle(self, message: Message, reply: Reply | None) -> Any:
        if isinstance(message, Freeze):
            message.frozen.set()
            return message.thaw.wait(10)
        return super()._handle(message, reply)


@contextmanager
def server_process() -> Iterator[tuple[subprocess.Popen[str], WorkerToken]]:
    """A server in a process of its own, and the token of its worker w1."""
    command = [sys.executable, "-c", SERVER_PROCESS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, WorkerToken.decode(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGCONT)
            process.communicate(timeout=20)


def test_a_heartbeat_goes_up_under_the_name_of_its_key_and_a_sync_comes_down() -> None:
    with server_host() as server, worker_hosts(server.enrol("w1"), server.enrol("w2")) as workers:
        for worker, name in zip(workers, ("w1", "w2"), strict=True):
            worker.wait_up()
            assert worker.links()[-1].user_id == name and worker.links()[-1].protocol == 1
            worker.say(beat(1, f"session of {name}"))
        for worker, name in zip(workers, ("w1", "w2"), strict=True):
            said = eventually(lambda name=name: server.said(name))[0]
            assert said.said == beat(1, f"session of {name}")
            assert said.address == "127.0.0.1" and server.allowed[said.key] == name
            server.answer(said, ack=(7,))
            assert eventually(worker.syncs) == [sync(1, f"session of {name}", ack=(7,))]
        assert server.stats().sessions == 2 and server.stats().allowed_keys == 2


def test_nobody_is_let_in_before_the_allow_list_has_come() -> None:
    with cast() as made:
        server = ServerHost(made)
        made.start(Gateway, names.GATEWAY, server.settings)
        eventually(lambda: KeysWanted() in made.heard[names.WORKERS])
        issued = made.directory.ref(names.GATEWAY).ask(IssueToken()).result(10)
        with worker_host(WorkerToken.decode(issued.token)) as worker:
            eventually(lambda: server.refused("unknown_key") >= 2)
            assert not any(link.up for link in worker.links())
            assert worker.links()[-1].refused and "deleted, rotated or revoked" in worker.links()[-1].reason
            server.allow(w1=issued.public_key)
            worker.wait_up()


def test_a_revoked_key_is_cut_at_once_on_its_live_connection_and_stays_out() -> None:
    with server_host() as server:
        token, other = server.enrol("w1"), server.enrol("w2")
        with worker_hosts(token, other) as (worker, bystander):
            worker.wait_up()
            bystander.wait_up()
            worker.say(beat(1))
            route = eventually(lambda: server.said("w1"))[0].route
            server.revoke(token.keys.public)
            eventually(lambda: not worker.is_up())
            assert worker.links()[-1].refused
            server.tell(SendToPeer(user_id="w1", route=route, sync=sync()))
            eventually(lambda: server.refused("misrouted"))
            eventually(lambda: server.refused("unknown_key") >= 2)
            worker.say(beat(2))
            bystander.say(beat(1))
            eventually(lambda: server.said("w2"))
            assert len(server.said("w1")) == 1 and worker.syncs() == []


def test_a_rotated_key_may_live_beside_the_old_one_and_each_beat_says_by_which_it_came() -> None:
    with server_host() as server:
        old = server.enrol("w1")
        new = server.enrol("w1")
        with worker_hosts(old, new) as workers:
            for worker, session in zip(workers, ("old", "new"), strict=True):
                worker.wait_up()
                worker.say(beat(1, session))
            eventually(lambda: len(server.said("w1")) == 2)
            keys = {said.said.session: said.key for said in server.said("w1")}
            assert keys == {"old": old.keys.public, "new": new.keys.public}
            server.revoke(old.keys.public)
            eventually(lambda: not workers[0].is_up())
            assert workers[1].is_up()


def test_a_worker_comes_back_when_the_server_does(caplog: pytest.LogCaptureFixture) -> None:
    with server_host() as server:
        token = server.enrol("w1")
        with worker_host(token) as worker:
            worker.wait_up()
            port = token.endpoints[0].port
            server.cast.end(names.GATEWAY)
            eventually(lambda: not worker.is_up())
            eventually(lambda: len(worker.links()) >= 2)
            settings = type(server.settings)(bind=Endpoint("127.0.0.1", port), keys=server.keys)
            server.cast.start(Gateway, names.GATEWAY, settings)
            server.allow()
            worker.wait_up()
            worker.say(beat(1))
            eventually(lambda: server.said("w1"))


def test_a_frozen_worker_heeds_only_the_newest_of_the_syncs_that_waited() -> None:
    with server_host() as server, worker_host(server.enrol("w1"), uplink=Freezing) as worker:
        worker.wait_up()
        worker.say(beat(1))
        said = eventually(lambda: server.said("w1"))[0]
        freeze = Freeze(frozen=threading.Event(), thaw=threading.Event())
        worker.tell(freeze)
        assert freeze.frozen.wait(10)
        before = server.stats().sent
        for seq in range(1, 51):
            server.answer(said, seq=seq)
        assert server.stats().sent == before + 50
        # A question behind them: once it is answered (by the agent), all of them have arrived.
        ref = PeerRef(server.cast.directory.ref(names.GATEWAY), names.AGENT, "w1")
        asked = ref.ask(Ready())
        freeze.thaw.set()
        assert asked.result(10) is True
        eventually(lambda: worker.syncs() and worker.syncs()[-1].seq == 50)
        assert len(worker.syncs()) < 50


def test_a_server_that_has_stopped_breathing_is_noticed_and_found_again() -> None:
    with server_process() as (process, token), worker_host(token, ping_seconds=0.1, patience=0.5) as worker:
        worker.wait_up()
        process.send_signal(signal.SIGSTOP)
        eventually(lambda: not worker.is_up())
        # Its kernel still takes connections: they come to nothing, and are given up.
        eventually(lambda: any("no answer" in link.reason or "handshake" in link.reason for link in worker.links()))
        process.send_signal(signal.SIGCONT)
        worker.wait_up()


def test_an_address_that_is_taken_is_said_so(caplog: pytest.LogCaptureFixture) -> None:
    # A kept log record would keep the actor that could not start, and with it its inbox, alive.
    caplog.set_level(logging.CRITICAL + 1)
    with server_host() as server:
        crashes: list[BaseException] = []
        context = Context(names.GATEWAY, crashed=lambda name, error: crashes.append(error))
        settings = replace(server.settings, bind=server.enrol("w1").endpoints[0])
        start(Gateway, context, settings)
        error = eventually(lambda: crashes and crashes.pop())
        assert isinstance(error, InvalidInput)
        assert "Address already in use" in error.detail and "--zmq-bind" in error.detail
        error.__traceback__ = None


def test_what_is_advertised_stands_in_the_token() -> None:
    with server_host(advertise=Endpoint("gpu.example.org", 7000)) as server:
        issued = server.cast.directory.ref(names.GATEWAY).ask(IssueToken()).result(10)
        token = WorkerToken.decode(issued.token)
        assert str(token.endpoints[0]) == issued.endpoint == "tcp://gpu.example.org:7000"
        assert token.server_key == server.keys.public and token.keys.public == issued.public_key
        assert issued.token not in repr(issued)


def test_the_endpoints_of_a_token_are_tried_in_turn_and_a_flag_wins() -> None:
    with server_host() as server:
        token = server.enrol("w1")
        nowhere, there = Endpoint("127.0.0.1", 1), token.endpoints[0]
        with worker_host(
            replace(token, endpoints=(nowhere, Endpoint("no.such.host.invalid", 9), there)), patience=1
        ) as worker:
            worker.wait_up()
        with worker_host(replace(token, endpoints=(nowhere,)), endpoints=(there,)) as worker:
            worker.wait_up()


def test_the_server_of_another_key_is_not_spoken_to() -> None:
    with server_host() as server:
        token = replace(server.enrol("w1"), server_key=KeyPair.new().public)
        with worker_host(token) as worker:
            eventually(lambda: "not this server's key" in worker.links()[-1].reason if worker.links() else False)
            eventually(lambda: server.refused("handshake"))
            worker.say(beat(1))
        assert server.stats().sessions == 0 and server.said() == []


def test_an_ended_gateway_and_uplink_leave_nothing_and_answer_who_waits() -> None:
    with server_host() as server, worker_host(server.enrol("w1")) as worker:
        worker.wait_up()
        worker.cast.play(names.AGENT, SILENT | {Ready: Answering.NEVER})
        asked = PeerRef(server.cast.directory.ref(names.GATEWAY), names.AGENT, "w1").ask(Ready())
        server.cast.directory.ref(names.GATEWAY).ask(Shutdown()).result(10)
        with pytest.raises(Unavailable):
            asked.result(10)
