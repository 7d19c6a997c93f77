"""The composition root of a worker: the same keeper and allocator as on the server, with an agent in the place of the
Scheduler and an uplink in the place of HTTP (DESIGN 8)."""

from __future__ import annotations

import os

from gpuyard import __version__
from gpuyard.actors import procfs
from gpuyard.actors.blob_store import BlobStore
from gpuyard.actors.gpu.choose import choose
from gpuyard.actors.gpu.settings import GpuSettings
from gpuyard.actors.gpu_allocator import LocalGPUAllocator
from gpuyard.actors.journal_keeper import JournalKeeper
from gpuyard.actors.keeper.settings import KeeperSettings
from gpuyard.actors.log_reader import LogReader
from gpuyard.actors.model import names
from gpuyard.actors.model.agent import AgentSettings
from gpuyard.actors.process_keeper import ProcessKeeper
from gpuyard.actors.supervisor import Child, Supervisor
from gpuyard.actors.worker_agent import WorkerAgent
from gpuyard.cli.worker_settings import WorkerSettings
from gpuyard.transport.bulk import BulkUplink
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.peer_client import PeerClientSettings
from gpuyard.transport.peer_ref import PeerRef
from gpuyard.transport.token import WorkerToken
from gpuyard.transport.uplink import Uplink

DATABASE = "jobs.db"  # a server's: two keepers would share one folder
LOCK = "worker.lock"
LOG = "worker.log"


def prepare(settings: WorkerSettings) -> None:
    """Make the data folder, for this user alone. Raises OSError."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.data_dir.chmod(0o700)


def supervisor(settings: WorkerSettings, token: WorkerToken) -> Supervisor:
    """All actors of a worker in boot order: journal → keepers → GPUs → agent, then the way to the server."""
    data = settings.data_dir
    gpu = GpuSettings(data_dir=data, external=settings.gpu_external, excluded=settings.gpus_excluded)
    keeper = KeeperSettings(
        data_dir=data,
        stop_grace_seconds=settings.stop_grace_seconds,
        log_cap_mb=settings.log_cap_mb,
        keep_days=settings.worker_keep_days,
        tick_seconds=min(5.0, settings.heartbeat_seconds),
    )
    agent = AgentSettings(
        version=__version__,
        heartbeat=settings.heartbeat_seconds,
        max_jobs=settings.worker_max_jobs,
        cpu_count=os.cpu_count() or 1,
        name=settings.worker_name,
        labels=settings.worker_labels,
        persistent=settings.worker_persistent,
    )
    link = peer(settings, token)
    server = str((link.endpoints or token.endpoints)[0])
    made: list[Supervisor] = []
    children = [
        Child(names.JOURNAL, JournalKeeper, lambda: (data,), core=True),
        Child(
            names.KEEPER,
            ProcessKeeper,
            lambda: (keeper, PeerRef(made[0].directory.ref(names.BULK), names.WORKERS)),
            core=True,
        ),
        Child(names.GPUS, LocalGPUAllocator, lambda: (choose(settings.simulate_gpus, gpu), gpu), core=True),
        Child(
            names.AGENT, WorkerAgent, lambda: (agent, procfs.incarnation(), server, lambda: made[0].stop()), core=True
        ),
        Child(names.LOGS, LogReader, lambda: (data,)),
        Child(names.BLOBS, BlobStore, lambda: (data, PeerRef(made[0].directory.ref(names.BULK), names.BLOBS))),
        Child(names.BULK, BulkUplink, lambda: (link,)),
        Child(names.UPLINK, Uplink, lambda: (link,)),
    ]
    made.append(Supervisor(children))
    return made[0]


def peer(settings: WorkerSettings, token: WorkerToken) -> PeerClientSettings:
    """How patient the sockets are, by the beat that goes over them. Raises InvalidInput (the address)."""
    beat = settings.heartbeat_seconds
    url = settings.orchestrator_url
    return PeerClientSettings(
        token=token,
        endpoints=(Endpoint.parse(url),) if url else None,
        ping_seconds=beat / 2,
        patience=1.5 * beat,
        last_pause=1.5 * beat,
        version=__version__,
    )
