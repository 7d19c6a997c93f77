"""Peers that mean harm, against a real gateway: refused or ignored, counted, and everybody else is served.

Who holds no allowed key gets nowhere; who holds one speaks for itself alone, whatever it sends.
"""

from __future__ import annotations

import pickle
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec
import pytest
import zmq

from gpuyard.actors.base import Reply
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import ReadLog, Ready, SendToPeer
from gpuyard.actors.model.errors import Busy, TimedOut, Unavailable, Unsupported
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.wire import PROTOCOL, Report
from gpuyard.transport import codec, wire_codec as wire
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.gateway import Gateway
from gpuyard.transport.keys import KeyPair
from gpuyard.transport.peer_ref import PeerRef
from gpuyard.transport.peer_server import CALLS_PER_PEER
from gpuyard.transport.session_table import PER_KEY as SESSIONS_PER_KEY
from gpuyard.transport.zap import DOMAIN, decide
from tests.answering import Answering, cast
from tests.hosts import SILENT, ServerHost, WorkerHost, beat, server_host, sync, worker_host
from tests.peers import GREET, Peer, dialled
from tests.support import eventually

GIB = 1 << 30


class Bomb:
    """What a pickle may do to whoever loads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('unpickled')",))


@contextmanager
def peer(server: ServerHost, keys: KeyPair | None, to: str = names.GATEWAY, **options: Any) -> Iterator[Peer]:
    with dialled(server.stats(to).endpoint, server.keys.public, keys, **options) as made:
        yield made


class Stage:
    """A server, and an honest worker that must be served whatever happens."""

    def __init__(self, server: ServerHost, honest: WorkerHost) -> None:
        self.server = server
        self.honest = honest
        self._n = 0

    def serves(self) -> None:
        """The honest worker is heard and answered."""
        self._n += 1
        self.honest.say(beat(self._n))
        said = eventually(lambda: [s for s in self.server.said("honest") if s.said.n == self._n], timeout=30)[0]
        self.server.answer(said)
        eventually(lambda: self.honest.syncs() and self.honest.syncs()[-1].n == self._n)

    def intruder(self) -> KeyPair:
        """An allowed key in the wrong hands."""
        return self.server.enrol("intruder").keys


@pytest.fixture
def stage() -> Iterator[Stage]:
    with server_host() as server, worker_host(server.enrol("honest")) as honest:
        honest.wait_up()
        made = Stage(server, honest)
        made.serves()
        yield made
        made.serves()
        assert {said.user_id for said in server.said()} <= {"honest", "intruder"}


# --- without an allowed key ---


def test_an_unknown_key_is_refused(stage: Stage) -> None:
    with peer(stage.server, KeyPair.new()) as stranger:
        stranger.send(GREET)
        stranger.send(wire.pack(beat(1, "stranger")))
        eventually(lambda: stage.server.refused("unknown_key"))
        assert not stranger.socket.poll(100)
    assert stage.server.stats().sessions == 1


def test_a_plaintext_peer_is_refused(stage: Stage) -> None:
    with peer(stage.server, None) as stranger:
        stranger.send(GREET)
        eventually(lambda: stage.server.refused("handshake"))
        assert not stranger.socket.poll(100)
    assert stage.server.stats().sessions == 1


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        random.Random(1).randbytes(4096),
        pickle.dumps(Bomb()),
        b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE" + bytes(15) + b"\x00" + bytes(31) + b"\x06" + GIB.to_bytes(8, "big"),
        b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31) + b"\x04\x05READY",
        b"\x01\x00\x00\x00",
    ],
    ids=["http", "random", "pickle", "a gigabyte announced in the handshake", "null mechanism", "zmtp 1"],
)
def test_whoever_does_not_speak_curve_is_thrown_out(stage: Stage, first: bytes) -> None:
    endpoint = Endpoint.parse(stage.server.stats().endpoint)
    with socket.create_connection((endpoint.host, endpoint.port), timeout=20) as raw:
        raw.sendall(first)
        while _received(raw):
            pass
    assert stage.server.stats().sessions == 1


def _received(raw: socket.socket) -> bytes:
    try:
        return raw.recv(4096)
    except ConnectionResetError:
        return b""


# --- the doorkeeper ---


class Behead(Message, frozen=True, kw_only=True):
    """For HeadlessGateway."""


class HeadlessGateway(Gateway):
    """A gateway whose doorkeeper can be killed."""

    def _handle(self, message: Message, reply: Reply | None) -> Any:
        if isinstance(message, Behead):
            door, sockets = self._socket.door, self._socket
            self.inbox.unwatch(door.fd)
            sockets.fds = tuple(fd for fd in sockets.fds if fd != door.fd)
            door.close()
            sockets.door = Doorless(door.keys)
            return True
        return super()._handle(message, reply)


class Doorless:
    """Nobody answers the door."""

    def __init__(self, keys: dict[str, str]) -> None:
        self.keys = keys

    def serve(self, most: int) -> bool:
        return False

    def close(self) -> None:
        pass


def test_with_a_dead_doorkeeper_nobody_gets_in_and_who_is_in_is_served() -> None:
    with cast() as made:
        server = ServerHost(made)
        server.start(HeadlessGateway, bulk=False)
        token = server.enrol("late")
        with worker_host(server.enrol("honest")) as honest:
            honest.wait_up()
            stage = Stage(server, honest)
            stage.serves()
            assert made.directory.ref(names.GATEWAY).ask(Behead()).result(10) is True
            with worker_host(token) as late, peer(server, KeyPair.new()) as stranger, peer(server, None) as plain:
                stranger.send(GREET)
                plain.send(GREET)
                eventually(lambda: server.refused("handshake") >= 4)
                eventually(late.links)
                assert not any(link.up for link in late.links())
                assert not stranger.socket.poll(100) and not plain.socket.poll(100)
            stage.serves()
            assert server.stats().sessions == 1
        assert made.crashes == []


KEYS = {"k" * 40: "w1"}


@pytest.mark.parametrize(
    "request_frames",
    [
        [],
        [b"1.0"],
        [b"1.0", b"1", DOMAIN.encode(), b"127.0.0.1", b"", b"NULL"],
        [b"1.0", b"1", DOMAIN.encode(), b"127.0.0.1", b"", b"PLAIN", b"admin", b"password"],
        [b"1.0", b"1", DOMAIN.encode(), b"127.0.0.1", b"", b"CURVE", b"short"],
        [b"1.0", b"1", DOMAIN.encode(), b"127.0.0.1", b"", b"CURVE", bytes(32), b"more"],
        [b"1.0", b"1", b"", b"127.0.0.1", b"", b"CURVE", bytes(32)],
        [b"1.0", b"1", b"*", b"127.0.0.1", b"", b"CURVE", bytes(32)],
        [b"2.0", b"1", DOMAIN.encode(), b"127.0.0.1", b"", b"CURVE", bytes(32)],
    ],
)
def test_the_doorkeeper_opens_for_nothing_but_an_allowed_key_in_its_own_domain(request_frames: list[bytes]) -> None:
    keys = KEYS | {"0" * 40: "zeros"}  # the Z85 text of 32 zero bytes
    reply, cause = decide(request_frames, keys)
    assert reply[2] == b"400" and reply[4] == b"" and cause is not None
    good = [b"1.0", b"7", DOMAIN.encode(), b"127.0.0.1", b"", b"CURVE", bytes(32)]
    assert decide(good, keys) == ([b"1.0", b"7", b"200", b"OK", b"0" * 40, b""], None)
    assert decide(good, {})[0][2] == b"400"


# --- with an allowed key ---


def test_a_known_key_with_anothers_routing_id_speaks_for_itself_alone(stage: Stage) -> None:
    server, victim_keys = stage.server, stage.server.enrol("honest").keys
    intruder_keys = stage.intruder()
    with peer(server, victim_keys, routing_id=b"chosen") as victim:
        victim.greet()
        victim.send(wire.pack(beat(1, "victim")))
        said = eventually(lambda: [s for s in server.said("honest") if s.said.session == "victim"])[0]
        assert said.route == b"chosen"
        with peer(server, intruder_keys, routing_id=b"chosen") as intruder:
            intruder.send(GREET)
            intruder.send(wire.pack(beat(2, "victim")))
            server.answer(said)
            assert isinstance(victim.hear(), wire.Sync), "the id stays with whom it belongs to"
            assert not intruder.socket.poll(200)
    # The victim has gone; once the server has seen that, the intruder may have the id, and is still the intruder.
    with ExitStack() as stack:

        def succeeds() -> bool:
            successor = stack.enter_context(peer(server, intruder_keys, routing_id=b"chosen"))
            successor.send(GREET)
            successor.send(wire.pack(beat(3, "victim")))
            intruders.append(successor.socket)
            return bool(successor.socket.poll(500))

        intruders: list[zmq.Socket[bytes]] = []
        eventually(succeeds, timeout=30)
        heard = eventually(lambda: server.said("intruder"))
        assert {one.key for one in heard} == {intruder_keys.public}
        assert isinstance(Peer(intruders[-1]).hear(), wire.Greeted)
        before = server.refused("misrouted")
        server.tell(SendToPeer(user_id="honest", route=b"chosen", sync=sync()))
        eventually(lambda: server.refused("misrouted") > before)
        assert not any(socket.poll(100) for socket in intruders), "what is meant for the victim goes nowhere"


def test_a_gigabyte_is_announced_on_a_connection_that_is_allowed(stage: Stage) -> None:
    """The header comes from a man in the middle: behind the handshake, between two encrypted frames."""
    keys = stage.intruder()
    with relayed(stage.server) as (endpoint, inject), dialled(endpoint, stage.server.keys.public, keys) as intruder:
        intruder.greet()
        ended = stage.server.refused("ended")
        inject(b"\x02" + GIB.to_bytes(8, "big") + b"x" * 1000)
        eventually(lambda: stage.server.refused("ended") > ended)
    assert stage.server.said("intruder") == []


@contextmanager
def relayed(server: ServerHost) -> Iterator[tuple[str, Callable[[bytes], None]]]:
    """(an address that leads to the server, say this to the server too)."""
    endpoint = Endpoint.parse(server.stats().endpoint)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as up:
        up.connect((endpoint.host, endpoint.port))
        made: list[socket.socket] = []

        def pump(source: socket.socket, target: socket.socket) -> None:
            while data := _received(source):
                target.sendall(data)
            for one in (source, target):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

        def serve() -> None:
            down, _ = listener.accept()
            made.append(down)
            back = threading.Thread(target=pump, args=(up, down))
            back.start()
            pump(down, up)
            back.join()
            down.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", up.sendall
        finally:
            for one in (*made, up):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            thread.join(20)


def test_a_message_over_the_limit_ends_that_connection_alone(stage: Stage) -> None:
    with peer(stage.server, stage.intruder()) as intruder:
        intruder.greet()
        ended = stage.server.refused("ended")
        intruder.send(bytes(wire.MAX_FRAME + 1))
        eventually(lambda: stage.server.refused("ended") > ended)
    assert stage.server.said("intruder") == []


def nested(depth: int) -> bytes:
    return b"\x91" * depth


BAD: dict[str, tuple[str, tuple[bytes, ...]]] = {
    "an empty frame": ("bad_frame", (b"",)),
    "an empty frame in front": ("parts", (b"", GREET)),
    "a thousand parts": ("parts", (b"x",) * 1_000),
    "a thousand empty parts": ("parts", (b"",) * 1_000),
    "random bytes": ("bad_frame", (random.Random(2).randbytes(1_000),)),
    "a pickle": ("bad_frame", (pickle.dumps(Bomb()),)),
    "json": ("bad_frame", (b'{"type": "Heartbeat"}',)),
    "deep nesting": ("bad_frame", (nested(900_000),)),
    "a map of the future": ("unsupported", (msgspec.msgpack.encode({"type": "Teleport"}),)),
    "a huge tag": ("unsupported", (msgspec.msgpack.encode({"type": "x" * 900_000}),)),
    "a wrong field": ("bad_frame", (msgspec.msgpack.encode({"type": "Heartbeat", "session": 7}),)),
    "a number beyond 64 bits": ("bad_frame", (b"\x82\xa4type\xa9Heartbeat\xa1n\xcf" + b"\xff" * 7,)),
    "what only a server says": ("bad_frame", (wire.pack(sync()),)),
    "a bomb of lengths": ("bad_frame", (b"\xdf\xff\xff\xff\xff",)),
}


@pytest.mark.parametrize("name", BAD)
def test_whatever_is_no_frame_is_counted_and_ignored(stage: Stage, name: str) -> None:
    cause, parts = BAD[name]
    with peer(stage.server, stage.intruder()) as intruder:
        intruder.greet()
        intruder.send(*parts)
        eventually(lambda: stage.server.refused(cause) == 1)
        # The same connection goes on, and so does its session.
        intruder.send(wire.pack(beat(1, "intruder")))
        eventually(lambda: stage.server.said("intruder"))


def test_a_thousand_random_frames_end_nothing(stage: Stage) -> None:
    dice = random.Random(3)
    good = [GREET, wire.pack(beat(1, attempts={7: Report(phase="running")})), wire.pack(codec.Answer(id=1))]
    with peer(stage.server, stage.intruder()) as intruder:
        intruder.greet()
        for _ in range(1_000):
            data = bytearray(dice.choice(good))
            for _ in range(dice.randint(1, 4)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            intruder.send(bytes(data[: dice.randint(0, len(data))]))
        eventually(lambda: stage.server.stats().received >= 1_000, timeout=30)


@pytest.mark.parametrize(("protocol", "oldest"), [(PROTOCOL + 2, PROTOCOL + 1), (PROTOCOL - 2, PROTOCOL - 2), (-1, -9)])
def test_another_version_is_declined_in_words(stage: Stage, protocol: int, oldest: int) -> None:
    with peer(stage.server, stage.intruder()) as intruder:
        intruder.send(wire.pack(wire.Greet(protocol=protocol, oldest=oldest)))
        declined = intruder.hear()
        assert isinstance(declined, wire.Declined) and declined.code == "version"
        assert "bring the older one up to date" in declined.detail
        intruder.send(wire.pack(beat(1)))
        assert intruder.hear().code == "not_greeted"
    assert stage.server.refused("version") == 1 and stage.server.said("intruder") == []


def test_the_version_before_is_spoken(stage: Stage) -> None:
    with peer(stage.server, stage.intruder()) as older:
        older.send(wire.pack(wire.Greet(protocol=PROTOCOL - 1, oldest=PROTOCOL - 1)))
        greeted = older.hear()
        assert isinstance(greeted, wire.Greeted) and greeted.protocol == PROTOCOL - 1
        older.send(wire.pack(beat(1, protocol=PROTOCOL - 1)))
        assert eventually(lambda: stage.server.said("intruder"))[0].said.protocol == PROTOCOL - 1


def test_nothing_is_heeded_before_the_greeting(stage: Stage) -> None:
    with peer(stage.server, stage.intruder()) as intruder:
        intruder.send(wire.pack(beat(1)))
        assert intruder.hear() == wire.Declined(code="not_greeted", detail="greet first")
    assert stage.server.refused("not_greeted") == 1 and stage.server.said("intruder") == []


def test_a_replayed_heartbeat_is_ignored(stage: Stage) -> None:
    with peer(stage.server, stage.intruder()) as intruder:
        intruder.greet()
        for n in (5, 5, 4, 1, 6):
            intruder.send(wire.pack(beat(n, "intruder")))
        eventually(lambda: len(stage.server.said("intruder")) == 2)
        assert [said.said.n for said in stage.server.said("intruder")] == [5, 6]
    assert stage.server.refused("replayed") == 3


def test_anothers_heartbeat_comes_under_the_name_of_who_sent_it(stage: Stage) -> None:
    """The end of somebody else's run, of an old and of a future one: the registry hears it as the intruder's word."""
    mine = {fence: Report(phase="exited", exit_class="completed", exit_code=0) for fence in (7, 1 << 40, (1 << 62) + 5)}
    with peer(stage.server, stage.intruder()) as intruder:
        intruder.greet()
        intruder.send(wire.pack(beat(1_000, "s1", attempts=mine)))
        said = eventually(lambda: stage.server.said("intruder"))[0]
        assert said.user_id == "intruder" and set(said.said.attempts) == set(mine)
    assert not any(said.said.attempts for said in stage.server.said("honest"))


def test_a_flood_of_one_does_not_keep_others_from_being_served() -> None:
    with (
        server_host(frames_per_second=100, burst=200) as server,
        worker_host(server.enrol("honest")) as honest,
    ):
        honest.wait_up()
        stage, keys = Stage(server, honest), server.enrol("intruder").keys
        with peer(server, keys, sndhwm=100_000) as intruder:
            intruder.greet()
            frame = wire.pack(beat(1, "flood"))
            for _ in range(20_000):
                intruder.send(frame)
            stage.serves()
            eventually(lambda: server.refused("flood") > 5_000, timeout=30)
            server.revoke(keys.public)
            stage.serves()
        assert len(server.said("intruder")) == 1


def test_a_peer_that_reads_nothing_loses_what_it_is_sent(stage: Stage) -> None:
    with peer(stage.server, stage.intruder(), rcvhwm=1, rcvbuf=4096) as lazy:
        lazy.greet()
        lazy.send(wire.pack(beat(1, "lazy")))
        said = eventually(lambda: stage.server.said("intruder"))[0]
        big = sync(ack=tuple(range(1 << 40, (1 << 40) + 50_000)), session="lazy")

        def full() -> bool:
            for _ in range(50):
                stage.server.tell(SendToPeer(user_id="intruder", route=said.route, sync=big))
            return stage.server.refused("slow") > 0

        eventually(full, timeout=60)


def test_one_key_has_only_so_many_sessions(stage: Stage) -> None:
    keys = stage.intruder()
    with ExitStack() as stack:
        for _ in range(SESSIONS_PER_KEY + 5):
            stack.enter_context(peer(stage.server, keys)).greet()
        assert stage.server.stats().sessions == 1 + SESSIONS_PER_KEY


# --- calls ---


def call(to: str, message: dict[str, Any], id: int = 1) -> bytes:
    return wire.pack(codec.Call(id=id, to=to, message=msgspec.Raw(msgspec.msgpack.encode(message))))


@pytest.mark.parametrize(
    ("to", "message"),
    [
        (names.STORE, {"type": "Ping"}),
        (names.SCHEDULER, {"type": "SubmitJob"}),
        (names.WORKERS, {"type": "Shutdown"}),
        (names.WORKERS, {"type": "ListWorkers"}),
        (names.GATEWAY, {"type": "AllowKeys", "keys": {}}),
        (names.BLOBS, {"type": "ReadChunk", "blob": "x", "index": 0}),
        ("nobody", {"type": "Ping"}),
        ("", {"type": "Ping"}),
    ],
)
def test_a_worker_may_call_only_what_stands_in_the_table(stage: Stage, to: str, message: dict[str, Any]) -> None:
    with peer(stage.server, stage.intruder()) as intruder:
        intruder.greet()
        intruder.send(call(to, message))
        answer = intruder.hear()
        assert isinstance(answer, codec.Answer) and answer.code == "unsupported"
        assert stage.server.refused("not_allowed") == 1


def test_a_worker_may_ask_whether_the_registry_lives(stage: Stage) -> None:
    with peer(stage.server, stage.intruder()) as worker:
        worker.greet()
        worker.send(call(names.WORKERS, {"type": "Ping"}, id=9))
        answer = worker.hear()
        assert (answer.id, answer.code) == (9, None) and msgspec.msgpack.decode(answer.value) is True


def test_a_peer_that_asks_without_end_is_told_busy(stage: Stage) -> None:
    stage.server.cast.play(names.WORKERS, {Ready: Answering.NEVER})
    with peer(stage.server, stage.intruder()) as intruder:
        intruder.greet()
        for id in range(1, CALLS_PER_PEER + 4):
            intruder.send(call(names.WORKERS, {"type": "Ready"}, id=id))
        for _ in range(3):
            assert intruder.hear().code == "busy"
        assert stage.server.refused("too_many_calls") == 3
    stage.server.cast.play(names.WORKERS, SILENT)


def test_nobody_answers_for_another(stage: Stage) -> None:
    """The honest worker is asked; the intruder answers every number it can think of."""
    gate_open = threading.Event()
    stage.honest.cast.play(names.AGENT, {Ready: lambda _: gate_open.wait(20)})
    asked = PeerRef(stage.server.cast.directory.ref(names.GATEWAY), names.AGENT, "honest", timeout=20).ask(Ready())
    with peer(stage.server, stage.intruder()) as intruder:
        intruder.greet()
        for id in range(20):
            intruder.send(codec.pack_value(id, False))
        eventually(lambda: stage.server.refused("not_asked") == 20)
    gate_open.set()
    assert asked.result(20) is True
    stage.honest.cast.play(names.AGENT, SILENT)


def test_an_answer_of_another_type_is_an_error_of_the_call(stage: Stage) -> None:
    with peer(stage.server, stage.intruder()) as intruder:
        intruder.greet()
        carrier = stage.server.cast.directory.ref(names.GATEWAY)
        asked = PeerRef(carrier, names.AGENT, "intruder").ask(Ready())
        question = intruder.hear()
        assert isinstance(question, codec.Call)
        intruder.send(codec.pack_value(question.id, {"not": "a bool"}))
        with pytest.raises(Exception, match="can't be read"):
            asked.result(10)


def test_the_server_asks_only_what_stands_in_the_table_and_not_for_ever(stage: Stage) -> None:
    carrier = stage.server.cast.directory.ref(names.GATEWAY)
    with pytest.raises(Unsupported):
        PeerRef(carrier, names.LOGS, "honest").ask(ReadLog(fence=1)).result(10)
    with pytest.raises(Unavailable, match="not connected"):
        PeerRef(carrier, names.AGENT, "nobody").ask(Ready()).result(10)
    with peer(stage.server, stage.intruder()) as mute:
        mute.greet()
        with pytest.raises(TimedOut):
            PeerRef(carrier, names.AGENT, "intruder", timeout=0.05).ask(Ready()).result(10)


def test_a_mute_worker_holds_only_so_many_questions_for_its_logs(stage: Stage) -> None:
    keys = stage.intruder()
    carrier = stage.server.cast.directory.ref(names.BULK)
    eventually(lambda: stage.server.stats(names.BULK).allowed_keys >= 2)
    with peer(stage.server, keys, names.BULK) as mute:
        mute.send(wire.pack(wire.Greet(protocol=PROTOCOL, oldest=wire.OLDEST, purpose=wire.BULK)))
        assert isinstance(mute.hear(), wire.Greeted)
        ref = PeerRef(carrier, names.LOGS, "intruder", timeout=0.3)
        asked = [ref.ask(ReadLog(fence=1)) for _ in range(12)]
        errors = [type(reply.exception(10)) for reply in asked]
        assert errors.count(Busy) == 4 and errors.count(TimedOut) == 8
