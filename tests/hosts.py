"""Two hosts in one process: a server's gateway and bulk socket, and workers' uplinks, over real TCP with CURVE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import AllowKeys, GetGatewayStats, IssueToken, SendHeartbeat, SendToPeer
from gpuyard.actors.model.events import KeysWanted, LinkChanged, PeerSaid
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.views import GatewayStats
from gpuyard.actors.model.wire import Heartbeat, Sync
from gpuyard.transport.bulk import Bulk, BulkUplink
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.gateway import Gateway
from gpuyard.transport.keys import KeyPair
from gpuyard.transport.peer_client import PeerClientSettings
from gpuyard.transport.peer_server import PeerServerSettings
from gpuyard.transport.token import WorkerToken
from gpuyard.transport.uplink import Uplink
from tests.answering import Cast, cast
from tests.support import eventually

SILENT: Mapping[type[Message], Any] = {KeysWanted: None, PeerSaid: None, LinkChanged: None, Sync: None}


def beat(n: int = 1, session: str = "s1", **fields: Any) -> Heartbeat:
    return Heartbeat(session=session, incarnation="boot", n=n, sent_at=float(n), **fields)


def sync(n: int = 1, session: str = "s1", **fields: Any) -> Sync:
    return Sync(db_id="db", db_epoch=1, session=session, n=n, sent_at=float(n), **fields)


class ServerHost:
    """A gateway and a bulk socket; `cast.heard[names.WORKERS]` is what the registry would hear."""

    def __init__(self, made: Cast, bind: str = "127.0.0.1:0", **settings: Any) -> None:
        self.cast = made
        self.keys = KeyPair.new()
        self.settings = PeerServerSettings(bind=Endpoint.parse(bind), keys=self.keys, **settings)
        self.allowed: dict[str, str] = {}
        made.play(names.WORKERS, SILENT)

    def start(self, gateway: type[Gateway] = Gateway, bulk: bool = True) -> None:
        self.cast.start(gateway, names.GATEWAY, self.settings)
        if bulk:
            self.cast.start(Bulk, names.BULK, self.settings)
        self.allow()

    def allow(self, **workers: str) -> None:
        """Add workers (name → public key) to the allow-list, or only tell it."""
        self.allowed |= {key: name for name, key in workers.items()}
        self.tell(AllowKeys(keys=dict(self.allowed)))

    def revoke(self, key: str) -> None:
        del self.allowed[key]
        self.tell(AllowKeys(keys=dict(self.allowed)))

    def tell(self, message: Message) -> None:
        self.cast.directory.ref(names.GATEWAY).tell(message)

    def enrol(self, name: str) -> WorkerToken:
        """A token whose key is allowed."""
        issued = self.cast.directory.ref(names.GATEWAY).ask(IssueToken()).result(10)
        self.allow(**{name: issued.public_key})
        return WorkerToken.decode(issued.token)

    def stats(self, of: str = names.GATEWAY) -> GatewayStats:
        found = self.cast.directory.ref(of).ask(GetGatewayStats()).result(10)
        assert isinstance(found, GatewayStats)
        return found

    def refused(self, cause: str, of: str = names.GATEWAY) -> int:
        return self.stats(of).refused[cause]

    def said(self, user_id: str | None = None) -> list[PeerSaid]:
        heard = [m for m in self.cast.heard[names.WORKERS] if isinstance(m, PeerSaid)]
        return [m for m in heard if user_id is None or m.user_id == user_id]

    def answer(self, said: PeerSaid, **fields: Any) -> None:
        """What the registry would do at once."""
        frame = sync(said.said.n, said.said.session, **fields)
        self.tell(SendToPeer(user_id=said.user_id, route=said.route, sync=frame))


class WorkerHost:
    """An uplink and a bulk socket; `cast.heard[names.AGENT]` is what the agent would hear."""

    def __init__(self, made: Cast, token: WorkerToken, **settings: Any) -> None:
        self.cast = made
        patient = {"first_pause": 0.02, "last_pause": 0.2, "denied_pause": 0.05, **settings}
        self.settings = PeerClientSettings(token=token, **patient)
        made.play(names.AGENT, SILENT)

    def start(self, uplink: type[Uplink] = Uplink) -> None:
        self.cast.start(BulkUplink, names.BULK, self.settings)
        self.cast.start(uplink, names.UPLINK, self.settings)

    def links(self) -> list[LinkChanged]:
        return [m for m in self.cast.heard[names.AGENT] if isinstance(m, LinkChanged)]

    def is_up(self) -> bool:
        return bool(self.links()) and self.links()[-1].up

    def wait_up(self, timeout: float = 20) -> None:
        eventually(self.is_up, timeout=timeout)

    def syncs(self) -> list[Sync]:
        return [m for m in self.cast.heard[names.AGENT] if isinstance(m, Sync)]

    def say(self, said: Heartbeat) -> None:
        self.tell(SendHeartbeat(said=said))

    def tell(self, message: Message) -> None:
        self.cast.directory.ref(names.UPLINK).tell(message)


@contextmanager
def server_host(**settings: Any) -> Iterator[ServerHost]:
    with cast() as made:
        host = ServerHost(made, **settings)
        host.start()
        yield host
        assert made.crashes == []


@contextmanager
def worker_host(token: WorkerToken, uplink: type[Uplink] = Uplink, **settings: Any) -> Iterator[WorkerHost]:
    with cast() as made:
        host = WorkerHost(made, token, **settings)
        host.start(uplink)
        yield host
        assert made.crashes == []


@contextmanager
def worker_hosts(*tokens: WorkerToken) -> Iterator[list[WorkerHost]]:
    with ExitStack() as stack:
        yield [stack.enter_context(worker_host(token)) for token in tokens]
