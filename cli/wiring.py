"""The composition root: the only place that knows every concrete actor (DESIGN 2)."""

from __future__ import annotations

import os
from pathlib import Path

from gpuyard.actors.blob_store import BlobStore
from gpuyard.actors.cloud.settings import CloudSettings
from gpuyard.actors.cloud_dispatcher import CloudDispatcher
from gpuyard.actors.gpu.choose import choose
from gpuyard.actors.gpu.settings import GpuSettings
from gpuyard.actors.gpu_allocator import LocalGPUAllocator
from gpuyard.actors.history import History
from gpuyard.actors.keeper.settings import KeeperSettings
from gpuyard.actors.log_reader import LogReader
from gpuyard.actors.model import names
from gpuyard.actors.model.limits import Limits
from gpuyard.actors.model.webhooks import address
from gpuyard.actors.people import People
from gpuyard.actors.process_keeper import ProcessKeeper
from gpuyard.actors.queue_store import QueueStore
from gpuyard.actors.scheduler import Scheduler
from gpuyard.actors.secret_store import SecretStore
from gpuyard.actors.supervisor import Child, Process, Supervisor
from gpuyard.actors.webhooks import Webhooks
from gpuyard.cli import fleet_wiring
from gpuyard.cli.cloud_settings import price_table
from gpuyard.cli.data_folder import DATABASE, SOCKETS
from gpuyard.cli.settings import ServerSettings
from gpuyard.transport.link import Link


def supervisor(settings: ServerSettings, processes: list[Process]) -> Supervisor:
    """All actors of the server in boot order: store → keepers → GPUs → Scheduler, then the edges (DESIGN 3)."""
    data: Path = settings.data_dir
    database = data / DATABASE
    gpu = GpuSettings(data_dir=data, external=settings.gpu_external, excluded=settings.gpus_excluded)
    keeper = KeeperSettings(
        data_dir=data, stop_grace_seconds=settings.stop_grace_seconds, log_cap_mb=settings.log_cap_mb
    )
    cloud = CloudSettings(
        data_dir=data,
        providers=settings.providers,
        prices=price_table(settings.providers, settings.assumed_hours),
        simulate=settings.simulate_gpus is not None,
        log_cap_mb=settings.log_cap_mb,
        public_url=settings.public_url,
    )
    limits = Limits(local_cpu_job_max_concurrent=os.cpu_count() or 1)
    made: list[Supervisor] = []
    children = [
        Child(names.STORE, QueueStore, lambda: (database,), core=True),
        Child(names.SECRETS, SecretStore, lambda: (data,)),
        Child(names.KEEPER, ProcessKeeper, lambda: (keeper,), core=True),
        Child(names.GPUS, LocalGPUAllocator, lambda: (choose(settings.simulate_gpus, gpu), gpu), core=True),
        Child(names.SCHEDULER, Scheduler, lambda: (limits, settings.lease_seconds), core=True),
        Child(names.PEOPLE, People),
        Child(names.HISTORY, History, lambda: (database,)),
        Child(names.LOGS, LogReader, lambda: (data,)),
        Child(names.BLOBS, BlobStore, lambda: (data,)),
        *fleet_wiring.children(settings),
        Child(names.CLOUD, CloudDispatcher, lambda: (cloud,)),
        Child(names.WEBHOOKS, Webhooks, lambda: (data, address.networks(settings.webhook_networks))),
        Child(names.LINK, Link, lambda: (data / SOCKETS, made[0].restarts)),
    ]
    made.append(Supervisor(children, processes))
    return made[0]
