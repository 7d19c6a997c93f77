"""What the server may ask of a worker's actors and a worker of the server's, socket by socket: the allow-list.

Ping and Ready may be asked of each actor that stands here. Run control is no call: it is Heartbeat and Sync.
"""

from __future__ import annotations

from typing import Final

from gpuyard.actors.model import commands as c, events as e, names, views as v
from gpuyard.transport.calls import Table

OF_A_WORKER: Final = Table(
    {
        names.AGENT: {},
        names.KEEPER: {c.PurgeRuns: None},
        names.GPUS: {c.GetGpuFacts: e.GpuFacts, c.SetGpuAside: bool},
    }
)
OF_THE_SERVER: Final = Table({names.WORKERS: {}})
BULK_OF_A_WORKER: Final = Table({names.LOGS: {c.ReadLog: v.LogChunk}})
BULK_OF_THE_SERVER: Final = Table(
    {
        names.BLOBS: {c.GetManifest: v.BlobManifest, c.ReadChunk: v.BlobChunk},
        names.WORKERS: {c.FetchSecrets: v.SecretValues},
    }
)
