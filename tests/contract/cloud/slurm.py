"""Benches of Slurm: a real single-node cluster, and commands that play one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gpuyard.actors.cloud.provider import Provider
from gpuyard.actors.cloud.slurm import Slurm
from gpuyard.actors.model.cloud_remote import Order
from tests.clusters import fake_slurm
from tests.clusters.slurm import SlurmCluster
from tests.contract.cloud.benches import Bench


class RealSlurmBench(Bench):
    def __init__(self, folder: Path, cluster: SlurmCluster) -> None:
        super().__init__(folder)
        self._cluster = cluster

    def make(self) -> Provider:
        return Slurm({"conf": str(self._cluster.conf), "settle_seconds": 5.0}, self.folder)

    def unreachable(self) -> Provider:
        conf = self.folder / "nobody.conf"
        text = self._cluster.conf.read_text()
        conf.write_text(text.replace("SlurmctldPort=", "SlurmctldPort=1\n#"))
        return Slurm({"conf": str(conf)}, self.folder)

    def refused(self) -> Order:
        return self.order("true", options={"partition": "there-is-no-such-partition"})


class FakeSlurmBench(Bench):
    """Its sacct works: accounting is on."""

    def make(self) -> Provider:
        return Slurm({"bin_dir": str(self._commands("bin")), "settle_seconds": 5.0}, self.folder)

    def unreachable(self) -> Provider:
        bin_dir = self._commands("dead")
        (bin_dir.parent / "down").touch()
        return Slurm({"bin_dir": str(bin_dir)}, self.folder)

    def refused(self) -> Order:
        return self.order("true", options={"partition": "there-is-no-such-partition"})

    def _commands(self, name: str) -> Path:
        """The fake's commands, each a line that runs it with a state folder of its own."""
        bin_dir = self.folder / name / "bin"
        if not bin_dir.exists():
            bin_dir.mkdir(parents=True)
            for command in fake_slurm.COMMANDS:
                path = bin_dir / command
                path.write_text(
                    f'#!/bin/sh\nexec {sys.executable} -S {fake_slurm.__file__} {bin_dir.parent} {command} "$@"\n'
                )
                path.chmod(0o700)
        os.environ.setdefault("LANG", "C.UTF-8")
        return bin_dir
