"""What do the heartbeats of 1,000 workers cost the server?

Real gateway, registry and store in a process of their own, a sink in the Scheduler's place; 1,000 enrolled workers,
each with its own key and encrypted connection, beat once a second and are answered. CPU seconds of that process
against those of a bare ROUTER (same encryption, same allow-list) that decodes the same frames and acknowledges them,
in interleaved rounds. Bar: 2x. Run: python tools/bench/what_do_heartbeats_cost.py [--workers 1000]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq
from harness import Ratio, median, report

from gpuyard.actors.model.gpu import GIB, GpuFact
from gpuyard.actors.model.wire import Heartbeat, Report, Sync
from gpuyard.transport import wire_codec as wire
from gpuyard.transport.keys import KeyPair
from gpuyard.transport.token import WorkerToken

ROUNDS = 15
SECONDS = 1.2
WORKERS = 1_000
GPUS = 8


def beat(number: int, n: int) -> bytes:
    """A worker with eight GPUs; every second one has a run."""
    gpus = tuple(
        GpuFact(uuid=f"GPU-{number:06}-{i}", index=i, name="NVIDIA H100 80GB HBM3", memory_total=80 * GIB)
        for i in range(GPUS)
    )
    orphan = {number: Report(phase="running", job_id=f"job{number}", pid=number, started_at=1.0)}
    said = Heartbeat(
        session=f"s{number}",
        incarnation=f"i{number}",
        n=n,
        sent_at=time.clock_gettime(time.CLOCK_BOOTTIME),
        backend="simulated",
        gpus=gpus,
        attempts=orphan if number % 2 else {},
        cpu_count=64,
        journal=f"j{number}",
        version="0",
    )
    return wire.pack(said)


# --- the servers -------------------------------------------------------------------------------------------------


def serve_bare(workers: int) -> None:
    """The reference: nothing but a socket, a doorkeeper and a loop."""
    from gpuyard.transport.causes import Tally
    from gpuyard.transport.endpoint import Endpoint
    from gpuyard.transport.server_socket import ServerSocket

    keys, pairs = KeyPair.new(), [KeyPair.new() for _ in range(workers)]
    sockets = ServerSocket(Endpoint("127.0.0.1", 0), keys, 5.0, Tally())
    sockets.door.keys = {pair.public: str(number) for number, pair in enumerate(pairs)}
    for pair in pairs:
        print(WorkerToken((Endpoint("127.0.0.1", sockets.port),), keys.public, pair).encode())
    print("ready", flush=True)
    router, poller = sockets._socket, zmq.Poller()
    for one in (router, sockets.door._socket, sockets._monitor):
        poller.register(one, zmq.POLLIN)
    poller.register(sys.stdin, zmq.POLLIN)
    while True:
        ready = dict(poller.poll())
        if sys.stdin.fileno() in ready:
            if not sys.stdin.readline():
                sockets.close()
                return
            print(time.process_time(), flush=True)
        if router not in ready:
            sockets.look(1_000)
            continue
        route, data = router.recv_multipart()
        frame = wire.unpack_upward(data)
        answer: Any = wire.Greeted(protocol=1)
        if isinstance(frame, Heartbeat):
            answer = Sync(db_id="db", db_epoch=1, session=frame.session, n=frame.n, sent_at=frame.sent_at, seq=frame.n)
        router.send_multipart((route, wire.pack(answer)))


def serve_real(workers: int) -> None:
    """The registry side as wiring makes it; who would decide is a sink."""
    from gpuyard.actors.base import Actor, Context, Directory, Reply, start
    from gpuyard.actors.model import names
    from gpuyard.actors.model.commands import AddWorker, GetGatewayStats, Ready
    from gpuyard.actors.model.message import Message, Shutdown
    from gpuyard.actors.queue_store import QueueStore
    from gpuyard.cli import fleet_wiring, settings as cli_settings

    class Sink(Actor):
        """Takes every message."""

        def handle(self, message: Message, reply: Reply | None) -> Any:
            return True

    with tempfile.TemporaryDirectory(prefix="gpuyard-bench-") as folder:
        settings = cli_settings.load({"data_dir": Path(folder), "zmq_bind": "127.0.0.1:0"})
        directory = Directory()
        refs = [
            start(QueueStore, Context(names.STORE, directory=directory), Path(folder) / "jobs.db"),
            start(Sink, Context(names.SCHEDULER, directory=directory)),
        ]
        for child in fleet_wiring.children(settings):
            refs.append(start(child.actor_class, Context(child.name, directory=directory), *child.args()))
        registry = directory.ref(names.WORKERS)
        while not registry.ask(Ready()).result(10):
            time.sleep(0.01)
        asked = [registry.ask(AddWorker(name=f"w{number}")) for number in range(workers)]
        tokens = [reply.result(60).token for reply in asked]
        gateway = directory.ref(names.GATEWAY)
        while gateway.ask(GetGatewayStats()).result(10).allowed_keys < workers:
            time.sleep(0.01)
        print("\n".join(tokens))
        print("ready", flush=True)
        for _ in sys.stdin:
            print(time.process_time(), flush=True)
        for ref in reversed(refs):
            ref.tell(Shutdown())
            while ref.is_alive():
                time.sleep(0.01)


# --- the workers -------------------------------------------------------------------------------------------------


class Fleet:
    """A server in a process of its own, and its simulated workers, connected."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], kind: str, workers: int) -> None:
        command = [sys.executable, __file__, "--serve", kind, str(workers)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        tokens = iter(self._process.stdout.readline, "ready\n")
        self._sockets = [_connected(context, WorkerToken.decode(token)) for token in tokens]
        self._n = [0] * workers
        for socket in self._sockets:
            assert isinstance(wire.unpack_downward(socket.recv()), wire.Greeted)
        self.answers = 0

    def __len__(self) -> int:
        return len(self._sockets)

    def beat(self, number: int) -> None:
        """One worker beats; what it was answered since its last beat is counted."""
        self._hear(number)
        self._n[number] += 1
        self._sockets[number].send(beat(number, self._n[number]))

    def _hear(self, number: int) -> None:
        socket = self._sockets[number]
        while socket.poll(0):
            self.answers += isinstance(wire.unpack_downward(socket.recv()), Sync)

    def drain(self, expected: int) -> None:
        """Until every beat is answered."""
        deadline = time.monotonic() + 60
        while self.answers < expected:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{expected - self.answers} beats were not answered")
            for number in range(len(self)):
                self._hear(number)

    def cpu(self) -> float:
        """Seconds that the server's process has used."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write("cpu\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        for socket in self._sockets:
            socket.close(linger=0)
        self._process.communicate(timeout=60)


def _connected(context: zmq.Context[zmq.Socket[bytes]], token: WorkerToken) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.CURVE_SERVERKEY, token.server_key.encode())
    socket.setsockopt(zmq.CURVE_PUBLICKEY, token.keys.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, token.keys.secret.encode())
    socket.setsockopt(zmq.RCVTIMEO, 60_000)
    socket.connect(str(token.endpoints[0]))
    socket.send(wire.pack(wire.Greet(protocol=1, oldest=0)))
    return socket


def measured(fleet: Fleet, seconds: float) -> float:
    """CPU seconds of the server for each second in which every worker beats once, evenly spread."""
    before, answered, began, sent = fleet.cpu(), fleet.answers, time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        while sent < passed * len(fleet):
            fleet.beat(sent % len(fleet))
            sent += 1
        time.sleep(0.0005)
    fleet.drain(answered + sent)
    return (fleet.cpu() - before) / sent * len(fleet)


@contextmanager
def fleets(workers: int) -> Iterator[tuple[Fleet, Fleet]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
    context.set(zmq.MAX_SOCKETS, 4 * workers)
    made: list[Fleet] = []
    try:
        for kind in ("bare", "real"):
            made.append(Fleet(context, kind, workers))
        yield made[0], made[1]
    finally:
        for fleet in made:
            fleet.close()
        context.term()


def main() -> int:
    workers = int(sys.argv[2]) if sys.argv[1:2] == ["--workers"] else WORKERS
    with fleets(workers) as (bare, real):
        for fleet in (bare, real):
            measured(fleet, 2.0)
        rounds = [(measured(bare, SECONDS), measured(real, SECONDS)) for _ in range(ROUNDS)]
    base, ours = (median([row[i] for row in rounds]) * 100 for i in range(2))
    note = f"{ours:.1f} % of a core against {base:.1f} %"
    ratio = median([real / bare for bare, real in rounds])
    return report([Ratio(f"CPU for {workers:,} workers that beat once a second", ratio, 2.0, note=note)])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        (serve_bare if sys.argv[2] == "bare" else serve_real)(int(sys.argv[3]))
    else:
        sys.exit(main())
