"""The processes of runs, as /proc shows them: by the fence in their environment, by their session, by their folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gpuyard.actors import procfs

# How keepers, spares and zygotes call themselves.
OURS = "gpuyard-"
# States of what is only not yet reaped.
ENDED = ("Z", "X")


@dataclass(frozen=True)
class Living:
    """A process. `fence` is None where only its folder tells of the job; `sure` when it can be nobody else's."""

    pid: int
    name: str
    job_id: str
    fence: int | None
    sure: bool


def of_runs(data_dir: Path, sessions: Mapping[int, tuple[int, str]], server: int | None) -> list[Living]:
    """All that belong to runs of this data folder. `sessions`: pid of a run's program → (fence, job id)."""
    places = {os.path.realpath(data_dir / name): name for name in ("jobs", "runs")}
    found = (_look(pid, places, sessions) for pid in procfs.pids() if pid not in (os.getpid(), server))
    return [living for living in found if living is not None]


def keepers(data_dir: Path) -> set[int]:
    """The fences whose lock somebody holds: a keeper, or what it started."""
    runs = data_dir / "runs"
    locks = (path for path in runs.glob("[0-9]*/lock")) if runs.is_dir() else iter(())
    # A lock is held by whoever has it open: nobody else opens it for long.
    wanted = {os.path.realpath(path): int(path.parent.name) for path in locks}
    held = set()
    for pid in procfs.pids() if wanted else ():
        held |= {wanted[path] for path in _open_files(pid) if path in wanted}
    return held


def _look(pid: int, places: Mapping[str, str], sessions: Mapping[int, tuple[int, str]]) -> Living | None:
    name, found = _name(pid), procfs.stat(pid)
    if found is None or found.state in ENDED or name.startswith(OURS):
        return None
    jobs = next(place for place, kind in places.items() if kind == "jobs")
    fence = procfs.fence_of(pid, jobs)
    if fence is not None:
        return Living(pid, name, _job_of(pid), fence, sure=True)
    try:
        session = sessions.get(os.getsid(pid))
    except OSError:
        return None
    if session is not None:
        return Living(pid, name, session[1], session[0], sure=True)
    for path in [_link(f"/proc/{pid}/cwd"), *_open_files(pid)]:
        for place, kind in places.items():
            part = path.removeprefix(f"{place}/").split("/")[0] if path.startswith(f"{place}/") else ""
            if kind == "jobs" and part and not part.startswith("."):
                return Living(pid, name, part, None, sure=False)
            if kind == "runs" and part.isdecimal():
                return Living(pid, name, "", int(part), sure=False)
    return None


def _job_of(pid: int) -> str:
    """From its environment or an ancestor's."""
    while pid > 1:
        folder = procfs.environ_value(pid, procfs.JOB_DIR)
        if folder:
            return Path(folder).name
        found = procfs.stat(pid)
        pid = found.ppid if found else 0
    return ""


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return ""


def _open_files(pid: int) -> Iterator[str]:
    """As far as we may look."""
    try:
        for link in os.scandir(f"/proc/{pid}/fd"):
            yield _link(link.path)
    except OSError:
        return


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""
