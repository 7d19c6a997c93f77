"""The part of a server that deals with workers: the registry, and with --zmq-bind the sockets that they connect to."""

from __future__ import annotations

from gpuyard import __version__
from gpuyard.actors.model import names
from gpuyard.actors.model.errors import InvalidInput
from gpuyard.actors.model.fleet import FleetSettings
from gpuyard.actors.supervisor import Child
from gpuyard.actors.worker_registry import WorkerRegistry
from gpuyard.cli.settings import ServerSettings
from gpuyard.transport.bulk import Bulk
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.gateway import Gateway
from gpuyard.transport.keys import KEY_FILE, load_or_make
from gpuyard.transport.peer_server import PeerServerSettings


def children(settings: ServerSettings) -> list[Child]:
    """In boot order. Raises InvalidInput (an address, a damaged key file), OSError."""
    fleet = FleetSettings(
        heartbeat=settings.heartbeat_seconds,
        offline_after=settings.offline_after_seconds,
        lease_margin=settings.lease_margin_seconds,
    )
    peers = peer_settings(settings)
    registry = Child(names.WORKERS, WorkerRegistry, lambda: (fleet, peers is not None))
    if peers is None:
        return [registry]
    return [
        registry,
        Child(names.BULK, Bulk, lambda: (peers,)),
        Child(names.GATEWAY, Gateway, lambda: (peers,)),
    ]


def peer_settings(settings: ServerSettings) -> PeerServerSettings | None:
    """Where workers connect; None when they can't. Makes the server's key pair on first use."""
    if settings.zmq_bind is None:
        return None
    return PeerServerSettings(
        bind=_endpoint("zmq_bind", settings.zmq_bind),
        keys=load_or_make(settings.data_dir / KEY_FILE),
        advertise=_endpoint("zmq_advertise", settings.zmq_advertise) if settings.zmq_advertise else None,
        ping_seconds=settings.heartbeat_seconds / 2,
        version=__version__,
    )


def _endpoint(setting: str, text: str) -> Endpoint:
    try:
        return Endpoint.parse(text)
    except InvalidInput as error:
        raise InvalidInput(f"{setting}: {error.detail}") from None
