"""What does encryption cost? Heartbeats a second through the gateway, decoded and answered: CURVE against none.

The real gateway in a process of its own, with a registry that only answers; eight workers in this process keep a
window of frames on their way, over loopback. Without encryption there is no key to know a peer by: then the child
takes it out of the socket's options and names everybody alike (the server itself has no such switch). The same between
two bare sockets is told too. Short interleaved rounds, medians. Bar: at least 0.75 of the rate without.
Run: python tools/bench/what_does_encryption_cost.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import zmq
from harness import Ratio, median, report
from what_do_heartbeats_cost import beat

from gpuyard.actors.model.wire import Heartbeat, Sync
from gpuyard.transport import wire_codec as wire
from gpuyard.transport.keys import KeyPair

ROUNDS = 20
SECONDS = 0.5
PEERS = 8
WINDOW = 16
WITHOUT_BOUND = 1e12


def answer_to(said: Heartbeat) -> Sync:
    return Sync(db_id="db", db_epoch=1, session=said.session, n=said.n, sent_at=said.sent_at)


# --- the servers: the first line of stdin is the secret key ("" for none), further ones are the peers' public keys ---


def serve_bare(secret: str) -> None:
    """A loop."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
    router = context.socket(zmq.ROUTER)
    if secret:
        router.setsockopt(zmq.CURVE_SERVER, 1)
        router.setsockopt(zmq.CURVE_SECRETKEY, secret.encode())
    print(router.bind_to_random_port("tcp://127.0.0.1"), flush=True)
    while True:
        route, data = router.recv_multipart()
        said = wire.unpack_upward(data)
        answer: Any = answer_to(said) if isinstance(said, Heartbeat) else wire.Greeted(protocol=1)
        router.send_multipart((route, wire.pack(answer)))


def serve_gateway(secret: str) -> None:
    """The gateway, and an actor that answers each heartbeat."""
    from gpuyard.actors.base import Actor, Context, Directory, Reply, start
    from gpuyard.actors.model import names
    from gpuyard.actors.model.commands import AllowKeys, GetGatewayStats, SendToPeer
    from gpuyard.actors.model.events import PeerSaid
    from gpuyard.actors.model.message import Message
    from gpuyard.transport import peer_server
    from gpuyard.transport.endpoint import Endpoint
    from gpuyard.transport.gateway import Gateway
    from gpuyard.transport.server_socket import HIGH_WATER, ServerSocket

    class Registry(Actor):
        """Answers."""

        def handle(self, message: Message, reply: Reply | None) -> Any:
            if isinstance(message, PeerSaid):
                sync = answer_to(message.said)
                self.context.ref(names.GATEWAY).tell(
                    SendToPeer(user_id=message.user_id, route=message.route, sync=sync)
                )

    class PlainSocket(ServerSocket):
        """With the same options, but open to anybody."""

        def _set_options(self, bind: Endpoint, keys: KeyPair, ping: int) -> None:
            for option, value in (
                (zmq.MAXMSGSIZE, wire.MAX_FRAME),
                (zmq.SNDHWM, HIGH_WATER),
                (zmq.RCVHWM, HIGH_WATER),
                (zmq.ROUTER_MANDATORY, 1),
                (zmq.HEARTBEAT_IVL, ping),
                (zmq.LINGER, 0),
            ):
                self._socket.setsockopt(option, value)

    allowed = [sys.stdin.readline().strip() for _ in range(PEERS)]
    if not secret:
        known = peer_server.property_of
        peer_server.ServerSocket = PlainSocket  # type: ignore[misc]
        peer_server.property_of = lambda part, name: allowed[0] if name == "User-Id" else known(part, name)
    keys = KeyPair.of(secret) if secret else KeyPair.new()
    settings = peer_server.PeerServerSettings(
        bind=Endpoint("127.0.0.1", 0), keys=keys, frames_per_second=WITHOUT_BOUND, burst=WITHOUT_BOUND
    )
    directory = Directory()
    start(Registry, Context(names.WORKERS, directory=directory))
    start(Gateway, Context(names.GATEWAY, directory=directory), settings)
    gateway = directory.ref(names.GATEWAY)
    gateway.tell(AllowKeys(keys={key: f"w{number}" for number, key in enumerate(allowed)}))
    print(Endpoint.parse(gateway.ask(GetGatewayStats()).result(10).endpoint).port, flush=True)
    sys.stdin.read()


# --- the workers ---


class Side:
    """A server with or without encryption, and its peers."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], kind: str, server: KeyPair | None, stack: ExitStack
    ) -> None:
        command = [sys.executable, __file__, "--serve", kind]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._peers: list[zmq.Socket[bytes]] = []
        stack.callback(self._end)
        pairs = [KeyPair.new() for _ in range(PEERS)]
        assert self._process.stdin and self._process.stdout
        lines = [server.secret if server is not None else "", *(pair.public for pair in pairs)]
        self._process.stdin.write("\n".join(lines) + "\n")
        self._process.stdin.flush()
        port = int(self._process.stdout.readline())
        self._n = 0
        for pair in pairs:
            peer = context.socket(zmq.DEALER)
            if server is not None:
                peer.setsockopt(zmq.CURVE_SERVERKEY, server.public.encode())
                peer.setsockopt(zmq.CURVE_PUBLICKEY, pair.public.encode())
                peer.setsockopt(zmq.CURVE_SECRETKEY, pair.secret.encode())
            peer.setsockopt(zmq.RCVTIMEO, 60_000)
            peer.connect(f"tcp://127.0.0.1:{port}")
            peer.send(wire.pack(wire.Greet(protocol=1, oldest=0)))
            self._peers.append(peer)
        for peer in self._peers:
            assert isinstance(wire.unpack_downward(peer.recv()), wire.Greeted)
        self._numbers = {peer: number for number, peer in enumerate(self._peers)}
        self._poller = zmq.Poller()
        for peer in self._peers:
            self._poller.register(peer, zmq.POLLIN)

    def rate(self, seconds: float) -> float:
        """Answered heartbeats a second."""
        for peer in self._peers:
            for _ in range(WINDOW):
                self._beat(peer)
        answered, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            for peer, _ in self._poller.poll(1_000):
                while peer.poll(0):
                    peer.recv()
                    self._beat(peer)
                    answered += 1
        for peer in self._peers:  # what is still on its way
            for _ in range(WINDOW):
                peer.recv()
        return answered / passed

    def _beat(self, peer: zmq.Socket[bytes]) -> None:
        self._n += 1
        peer.send(beat(self._numbers[peer], self._n))

    def _end(self) -> None:
        for peer in self._peers:
            peer.close(linger=0)
        self._process.kill()
        self._process.communicate()


@contextmanager
def sides(kind: str) -> Iterator[tuple[Side, Side]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
    with ExitStack() as stack:
        stack.callback(context.term)
        yield Side(context, kind, None, stack), Side(context, kind, KeyPair.new(), stack)


def compared(kind: str, question: str, bar: float | None) -> Ratio:
    with sides(kind) as (plain, encrypted):
        for side in (plain, encrypted):
            side.rate(SECONDS)
        rounds = [(plain.rate(SECONDS), encrypted.rate(SECONDS)) for _ in range(ROUNDS)]
    without, with_it = (median([row[i] for row in rounds]) for i in range(2))
    note = f"{with_it:,.0f}/s against {without:,.0f}/s, frames of {len(beat(1, 1)):,} bytes"
    return Ratio(question, median([encrypted / plain for plain, encrypted in rounds]), bar, at_least=True, note=note)


def main() -> int:
    return report(
        [
            compared("gateway", "the gateway's message rate with CURVE against without", 0.75),
            compared("bare", "the same between bare sockets", None),
        ]
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        (serve_bare if sys.argv[2] == "bare" else serve_gateway)(sys.stdin.readline().strip())
    else:
        sys.exit(main())
