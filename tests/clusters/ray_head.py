"""A Ray head for a whole run of the tests, which is made and comes up while they run already.

    python3 -m tests.clusters.ray_head FILE

Ray gets an environment of its own (it wants other packages than the tests), made in a temporary folder. FILE then
holds the head's address, or in a sentence why there is none; tests wait for that word and skip without a head. It
ends with whoever started it, or by SIGTERM, and leaves nothing. Standard library only: it runs before the tests'
environment is there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import venv
from pathlib import Path

from tests.clusters.ray import RayCluster
from tests.machine import end_all_of
from tests.support import eventually

SHARED = "GPUYARD_TEST_RAY_HEAD"
"""Names FILE to the tests."""

WANTED = "ray[default]>=2.50"
UP_SECONDS = 600.0


def awaited(file: Path) -> str:
    """What `main` says there, as soon as it does; why not, when it does not say anything in time."""
    try:
        eventually(file.exists, timeout=UP_SECONDS)
    except AssertionError:
        return f"it said nothing within {UP_SECONDS:g} s"
    return file.read_text()


def main(file: Path) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    parent = os.getppid()
    # Ray's sockets lie in this folder: a long path would be too long for them.
    with tempfile.TemporaryDirectory(prefix="ry", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "head").mkdir()
        try:
            cluster = RayCluster(Path(folder) / "head", _ray(Path(folder) / "venv"))
            _say(file, cluster.start(UP_SECONDS).url)
            while os.getppid() == parent:
                threading.Event().wait(1.0)
        finally:
            end_all_of(Path(folder))


def _ray(folder: Path) -> str:
    """The `ray` program of a new environment."""
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin/pip", "install", "--quiet", WANTED], check=True, stdin=subprocess.DEVNULL)
    return str(folder / "bin/ray")


def _say(file: Path, words: str) -> None:
    draft = file.with_name(f"{file.name}.new")
    draft.write_text(words)
    draft.replace(file)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Exception as error:
        _say(Path(sys.argv[1]), f"{type(error).__name__}: {error}")
        raise
