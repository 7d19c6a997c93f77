"""Benches of Replicate: its predictions and its trainings, at a local server that speaks its API."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpuyard.actors.cloud.provider import Provider
from gpuyard.actors.cloud.replicate import Replicate
from gpuyard.actors.model.cloud_remote import Order
from tests.clusters.asgi import nobody
from tests.clusters.fake_replicate import VERSIONS
from tests.contract.cloud.benches import Bench

_seeds = itertools.count()


class ReplicateBench(Bench):
    """Each order has a seed of its own: a job of Replicate is known by its input."""

    code_of_failure = None
    runs_commands = False
    wish: dict[str, Any] = {"model": "test/model", "version": VERSIONS["test/model"]}

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self.url = url
        self._token_file = folder / "token"
        self._token_file.write_text("r8_test\n")
        self._token_file.chmod(0o600)

    def make(self) -> Provider:
        return self.at(self.url)

    def unreachable(self) -> Provider:
        return self.at(nobody())

    def at(self, url: str, **more: Any) -> Replicate:
        settings = {"base_url": url, "token_file": str(self._token_file), "settle_seconds": 5.0, **more}
        return Replicate(settings, self.folder)

    def quick(self) -> Order:
        return self.asking(text="hello", seconds=0.05)

    def failing(self) -> Order:
        return self.asking(error="CUDA out of memory", seconds=0.05)

    def long(self) -> Order:
        return self.asking(text="begun", seconds=600)

    def refused(self) -> Order:
        return self.order("true", options={**self.wish, "version": "c" * 64, "input": {"seed": next(_seeds)}})

    def asking(self, **given: Any) -> Order:
        return self.order("true", options={**self.wish, "input": {"seed": next(_seeds), **given}})

    def with_files(self, contents: Mapping[str, bytes]) -> Order:
        given = {f"file_{number}": f"file:{name}" for number, name in enumerate(contents)}
        options = {**self.wish, "input": {"seed": next(_seeds), **given}}
        return super().order("true", options=options, sent=self.sent(contents))

    def order(self, *argv: str, options: Any = None, **spec: Any) -> Order:
        return super().order(*argv, options=options or {**self.wish, "input": {"seed": next(_seeds)}}, **spec)


class TrainingBench(ReplicateBench):
    wish = {"model": "test/trainer", "version": VERSIONS["test/trainer"], "destination": "test/result"}
