"""The Frontend in its own process, over the real link to actors of this one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetEvents, GetLastEvent, GetLimits, LoadRegisters, ProcessQueue, Publish
from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.errors import Unavailable, WrongState
from gpuyard.actors.model.limits import Limits
from gpuyard.actors.people import People
from gpuyard.api.handover import FrontendConfig
from gpuyard.api.process import FrontendProcess, PortUnavailable, bind
from gpuyard.api.settings import Settings
from gpuyard.cli.frontend_wiring import MODULE
from gpuyard.transport.link import Link
from tests import leaks
from tests.answering import Cast, cast, gate
from tests.frontends import Served
from tests.support import eventually

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


@pytest.fixture
def actors(tmp_path: Path) -> Iterator[Cast]:
    with cast() as made:
        made.play(names.SCHEDULER, {GetLimits: Limits(max_concurrent=7)})
        made.play(names.HISTORY, {GetLastEvent: (0, 0), GetEvents: []})
        made.play(names.STORE, {LoadRegisters: {"user": [], "team": [], "token": []}})
        made.start(People, names.PEOPLE)
        made.start(Link, names.LINK, tmp_path / "sockets")
        yield made


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with bind("127.0.0.1", 0) as made:
        yield made


@pytest.fixture
def process(actors: Cast, listener: socket.socket, tmp_path: Path) -> Iterator[FrontendProcess]:
    config = FrontendConfig(sockets_dir=str(tmp_path / "sockets"), settings=Settings(data_dir=str(tmp_path)))
    made = FrontendProcess(listener, MODULE, config)
    made.start()
    yield made
    made.stop(10)


@pytest.fixture
def served(process: FrontendProcess, listener: socket.socket, actors: Cast) -> Served:
    made = Served(listener.getsockname()[1], actors)
    eventually(lambda: made.ask("GET", "/api/queue/concurrency").status == 200)
    return made


def gone(pid: int) -> bool:
    """No such process, or only its entry is left for a parent that does not look."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_request_goes_to_the_actor_and_back(served: Served, actors: Cast) -> None:
    answer = served.ask("GET", "/api/queue/concurrency", X_Request_ID="story-1")
    assert answer.json["max_concurrent"] == 7
    assert GetLimits(cause="story-1") in actors.heard[names.SCHEDULER]


def test_an_actors_error_becomes_the_status(served: Served, actors: Cast) -> None:
    actors.play(names.SCHEDULER, {ProcessQueue: WrongState("not now")})
    answer = served.ask("POST", "/api/queue/process")
    assert (answer.status, answer.json["code"], answer.json["detail"]) == (409, "wrong_state", "not now")


def test_what_is_published_is_streamed(served: Served, actors: Cast) -> None:
    link = actors.directory.ref(names.LINK)
    with served.stream() as stream:
        stream.frame()
        row = EventRow(id=3, at=1.0, kind="job_started", job_id="j", user_id=1)
        stop = threading.Event()

        def tell_until_heard() -> None:
            while not stop.wait(0.05):
                link.tell(Publish(events=(row,), revision=8))

        teller = threading.Thread(target=tell_until_heard)
        teller.start()
        try:
            frames = stream.until("queue_changed")
        finally:
            stop.set()
            teller.join()
    assert frames[-2]["id"] == "3"
    assert frames[-1]["data"] == '{"revision":8}'


def test_while_the_core_restarts_it_answers_503_and_then_serves_on(
    served: Served, actors: Cast, tmp_path: Path
) -> None:
    with served.stream() as stream:
        stream.frame()
        actors.end(names.LINK)

        def away() -> bool:
            answer = served.ask("GET", "/api/queue/concurrency")
            return answer.status == 503 and answer.headers["retry-after"] == "1"

        eventually(away)
        assert served.ask("GET", "/healthz").status == 200
        assert served.ask("GET", "/readyz").status == 503
        actors.start(Link, names.LINK, tmp_path / "sockets")
        eventually(lambda: served.ask("GET", "/api/queue/concurrency").status == 200)
        assert stream.until("resync")


def test_a_frontend_that_was_killed_is_started_again_on_the_same_port(
    served: Served, process: FrontendProcess, listener: socket.socket
) -> None:
    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not process.alive())
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as meanwhile:
        meanwhile.sendall(f"GET /healthz HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode())
        process.start()
        assert process.alive()
        assert process.pid != first
        assert meanwhile.recv(65536).startswith(b"HTTP/1.1 200")


def test_start_is_harmless_while_it_lives(process: FrontendProcess) -> None:
    before = process.pid
    process.start()
    assert process.pid == before


def test_ctrl_c_in_the_terminal_is_the_supervisors_business(served: Served, process: FrontendProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    assert served.ask("GET", "/healthz").status == 200
    assert process.alive()


def test_stop_lets_a_request_end_and_closes_streams(served: Served, process: FrontendProcess, actors: Cast) -> None:
    answer, opened = gate()
    actors.play(names.SCHEDULER, {GetLimits: lambda message: Limits() if answer(message) else None})
    statuses: list[int] = []
    asking = threading.Thread(target=lambda: statuses.append(served.ask("GET", "/api/queue/concurrency").status))
    with served.stream() as stream:
        stream.frame()
        asking.start()
        eventually(lambda: actors.heard[names.SCHEDULER])
        stopping = threading.Thread(target=process.stop, args=(20,))
        stopping.start()
        assert stream.frame() == {}
        opened.set()
        asking.join(20)
        stopping.join(20)
    assert statuses == [200]
    assert not process.alive()


def test_a_frontend_that_does_not_listen_is_ended_by_force(process: FrontendProcess) -> None:
    pid = process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    process.stop(0.2)
    assert gone(pid)


def test_nothing_of_its_configuration_is_in_argv_and_no_file_of_ours_is_inherited(
    served: Served, process: FrontendProcess, tmp_path: Path
) -> None:
    assert process.pid is not None
    child = psutil.Process(process.pid)
    assert str(tmp_path) not in " ".join(child.cmdline())
    assert str(served.port) not in " ".join(child.cmdline())
    fds = {fd.name for fd in Path(f"/proc/{process.pid}/fd").iterdir()}
    assert len(fds) < 30


def test_a_frontend_that_cannot_start_says_so(listener: socket.socket, tmp_path: Path) -> None:
    config = FrontendConfig(sockets_dir=str(tmp_path / "sockets"), settings=Settings(data_dir=str(tmp_path)))
    process = FrontendProcess(listener, "gpuyard.no_such_module", config)
    with pytest.raises(Unavailable, match="ended at its start with code 1"):
        process.start()
    assert not process.alive()
    process.stop(1)


def test_a_port_in_use_is_refused_with_the_cure(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with pytest.raises(PortUnavailable, match=f"port {port} on 127.0.0.1 is in use.*--port"):
        bind("127.0.0.1", port)
    with pytest.raises(PortUnavailable, match="there is no address"):
        bind("no.such.host.invalid", 0)


def test_a_socket_says_tcp_so_that_answers_are_not_delayed(listener: socket.socket) -> None:
    assert listener.proto == socket.IPPROTO_TCP
    assert bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def test_it_listens_on_ipv6_loopback() -> None:
    with bind("[::1]", 0) as listener:
        assert listener.family == socket.AF_INET6


# --- it dies with its parent ------------------------------------------------------------------------------------


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """A parent in a process of its own, its Frontend's port and pid."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.parent_of_frontend", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as running:
        assert running.stdout is not None
        port, pid = map(int, running.stdout.readline().split())
        yield running, port, pid
        running.kill()
    eventually(lambda: gone(pid))


def is_free(port: int) -> bool:
    try:
        bind("127.0.0.1", port).close()
    except PortUnavailable:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_it_dies_with_its_parent_and_the_port_is_free(
    parent: tuple[subprocess.Popen[str], int, int], number: signal.Signals
) -> None:
    running, port, pid = parent
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert not is_free(port)
        running.send_signal(number)
        running.wait(20)
        began = time.monotonic()
        eventually(lambda: is_free(port))
        eventually(lambda: gone(pid))
        assert time.monotonic() - began < 5


def test_the_pipe_alone_is_enough(process: FrontendProcess) -> None:
    """Where the kernel's signal is lost (another thread had started it) the end of the pipe tells."""
    pid = process.pid
    assert pid is not None
    os.close(process._lifeline)
    process._lifeline = -1
    eventually(lambda: not process.alive())


def test_the_kernel_alone_is_enough(tmp_path: Path) -> None:
    """Where somebody else still holds the pipe the kernel's signal ends it."""
    keeper = "import os, sys, time; os.set_inheritable(int(sys.argv[1]), True); time.sleep(300)"
    script = (
        "import subprocess, sys, time\n"
        "from pathlib import Path\n"
        "from gpuyard.api.process import FrontendProcess, bind\n"
        "from gpuyard.api.handover import FrontendConfig\n"
        "from gpuyard.api.settings import Settings\n"
        "from gpuyard.cli.frontend_wiring import MODULE\n"
        "folder = Path(sys.argv[1])\n"
        "listener = bind('127.0.0.1', 0)\n"
        "config = FrontendConfig(sockets_dir=str(folder / 'sockets'), settings=Settings(data_dir=str(folder)))\n"
        "process = FrontendProcess(listener, MODULE, config)\n"
        "process.start()\n"
        f"other = subprocess.Popen([sys.executable, '-c', {keeper!r}, str(process._lifeline)],\n"
        "                         pass_fds=[process._lifeline])\n"
        "print(process.pid, other.pid, flush=True)\n"
        "time.sleep(300)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as running:
        assert running.stdout is not None
        pid, holder = map(int, running.stdout.readline().split())
        try:
            running.kill()
            running.wait(20)
            eventually(lambda: gone(pid))
            assert not gone(holder)
        finally:
            os.kill(holder, signal.SIGKILL)
    eventually(lambda: gone(holder))
