"""Actor names: what a `Ref` is made from."""

from __future__ import annotations

from typing import Final

STORE: Final = "store"
HISTORY: Final = "history"
SCHEDULER: Final = "scheduler"
KEEPER: Final = "keeper"
LOGS: Final = "logs"
GPUS: Final = "gpus"
WORKERS: Final = "workers"
CLOUD: Final = "cloud"
LINK: Final = "link"
FRONTEND: Final = "frontend"
GATEWAY: Final = "gateway"
PEOPLE: Final = "people"
AGENT: Final = "agent"
UPLINK: Final = "uplink"
BULK: Final = "bulk"
BLOBS: Final = "blobs"
JOURNAL: Final = "journal"
SECRETS: Final = "secrets"
WEBHOOKS: Final = "webhooks"
