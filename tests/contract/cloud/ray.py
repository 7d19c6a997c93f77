"""Benches of Ray: a real head node, and a server that plays one."""

from __future__ import annotations

from pathlib import Path

from gpuyard.actors.cloud.provider import Provider
from gpuyard.actors.cloud.ray import Ray
from gpuyard.actors.model.cloud_remote import Order
from tests.clusters.asgi import nobody
from tests.contract.cloud.benches import Bench


class RayBench(Bench):
    patience = 120.0

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self.url = url

    def make(self) -> Provider:
        return Ray({"address": self.url, "jobs_dir": str(self.folder / "jobs")}, self.folder)

    def unreachable(self) -> Provider:
        return Ray({"address": nobody()}, self.folder)

    def refused(self) -> Order:
        return self.order("true", options={"resources": {"tpu": "many"}})
