"""The promises about runs, held against the database, /proc, the run folders and the GPUs: one live run a job, one job
a GPU, no run without a process and none beside the queue, an end that stays what it was.

Nothing here waits for the server: it may have ended, or be the one that is wrong. What is true for a moment only
(a run that starts or ends just now) is seen by a second look.
"""

from __future__ import annotations

import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gpuyard.actors.keeper import news
from gpuyard.actors.model.attempt import LOCAL_HOST
from gpuyard.actors.model.gpu_reading import ReadGpu, Reading
from gpuyard.actors.store import census
from gpuyard.actors.store.census import Stored
from gpuyard.cli.doctor import processes
from gpuyard.cli.doctor.finding import Finding, Level, failure, ok, warning
from gpuyard.cli.doctor.processes import Living
from gpuyard.cli.text import amount

SECOND_LOOK = 1.0
ABOUT = "runs"


class Scene(NamedTuple):
    """What was seen: the attempts of the database by fence, processes, held fences, and how runs say that they ended.
    `served`: a server works on it, so that the database is not merely behind."""

    stored: Mapping[int, Stored]
    living: list[Living]
    held: set[int]
    ends: Mapping[int, news.ExitRecord]
    served: bool


def check(data_dir: Path, database: Path, server: int | None) -> Iterator[Finding]:
    """`server` is the pid of the one that works on this folder; None when there is none."""
    try:
        seen = look(data_dir, database, server)
        found = list(judged(seen))
        if found:
            time.sleep(SECOND_LOOK)
            seen = look(data_dir, database, server)
            found = [finding for finding in judged(seen) if finding in found]
    except (sqlite3.Error, ValueError) as error:
        yield warning(ABOUT, f"the database cannot be read: {error}", "gpuyard db check says more")
        return
    yield from found
    if not any(finding.level is Level.FAILURE for finding in found):
        live = sum(stored.is_live for stored in seen.stored.values())
        yield ok(ABOUT, f"{amount(live, 'live run')}, as the database has it")


def look(data_dir: Path, database: Path, server: int | None) -> Scene:
    """Processes first: a run that ends meanwhile is live in neither, one that starts is seen by the second look."""
    known = census.attempts(database)
    sessions = {stored.pid: (stored.fence, stored.job_id) for stored in known.values() if stored.pid}
    living = processes.of_runs(data_dir, sessions, server)
    held = processes.keepers(data_dir)
    stored = census.attempts(database, {one.fence for one in living if one.fence is not None})
    return Scene(stored, living, held, _ends(data_dir / "runs", stored), server is not None)


def _ends(runs: Path, stored: Mapping[int, Stored]) -> dict[int, news.ExitRecord]:
    found = {}
    for fence in stored:
        try:
            record = news.read((runs / str(fence) / "exit.json").read_bytes())
        except OSError:
            continue
        if isinstance(record, news.ExitRecord):
            found[fence] = record
    return found


def judged(seen: Scene) -> Iterator[Finding]:
    """What breaks a promise."""
    yield from _one_run_a_job(seen)
    yield from _one_job_a_gpu(seen.stored)
    yield from _no_run_without_a_process(seen)
    yield from _no_process_without_a_run(seen)
    yield from _ends_that_stay(seen)


def _one_run_a_job(seen: Scene) -> Iterator[Finding]:
    runs: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for one in seen.living:
        if one.sure and one.job_id and one.fence is not None:
            runs[one.job_id].setdefault(one.fence, one.pid)
    for job_id, fences in sorted(runs.items()):
        if len(fences) > 1:
            named = ", ".join(f"run {fence} (pid {pid})" for fence, pid in sorted(fences.items()))
            live = [fence for fence in fences if fence in seen.stored and seen.stored[fence].is_live]
            wrong = [pid for fence, pid in fences.items() if fence not in live]
            do = f"end what the queue does not want: kill {' '.join(map(str, wrong))}" if wrong else "cancel the job"
            yield failure(ABOUT, f"job {job_id} runs {len(fences)} times at once: {named}", do)


def _one_job_a_gpu(stored: Mapping[int, Stored]) -> Iterator[Finding]:
    users: defaultdict[str, list[Stored]] = defaultdict(list)
    for one in stored.values():
        for uuid in one.gpus if one.is_live and one.host == LOCAL_HOST else ():
            users[uuid].append(one)
    for uuid, runs in sorted(users.items()):
        if len(runs) > 1:
            named = ", ".join(f"{run.job_id} (run {run.fence})" for run in runs)
            yield failure("gpus", f"GPU {uuid} was given to {len(runs)} jobs at once: {named}", "cancel all but one")


def _no_run_without_a_process(seen: Scene) -> Iterator[Finding]:
    """Without a server nobody has yet looked how they ended; the next start does."""
    present = {one.fence for one in seen.living} | seen.held
    here = [one for one in seen.stored.values() if one.is_live and one.host == LOCAL_HOST]
    for one in here if seen.served else ():
        if one.pid is not None and one.fence not in present and one.fence not in seen.ends:
            text = f"job {one.job_id} is running in the database, but no process of its run {one.fence} is left"
            yield failure(ABOUT, text, "look into server.log; a restart of the server finds out how it ended")


def _no_process_without_a_run(seen: Scene) -> Iterator[Finding]:
    live = {one.job_id for one in seen.stored.values() if one.is_live}
    for one in sorted(seen.living, key=lambda one: one.pid):
        run = seen.stored.get(one.fence) if one.fence is not None else None
        who = f"pid {one.pid} ({one.name})"
        end_it = f"look what it is (ps -fp {one.pid}) and end it: kill {one.pid}"
        if run is not None and not run.is_live:
            text = f"{who} belongs to run {run.fence} of job {run.job_id}, which has ended ({run.exit_class})"
            yield failure(ABOUT, text, end_it) if one.sure else warning(ABOUT, text, end_it)
        elif run is None and one.sure:
            text = f"{who} belongs to run {one.fence} of job {one.job_id or '?'}, which this database does not know"
            yield failure(ABOUT, text, f"it was started by another state of this database: {end_it}")
        elif run is None and one.job_id not in live:
            yield warning(ABOUT, f"{who} is in the folder of job {one.job_id or '?'}, which does not run", end_it)


def _ends_that_stay(seen: Scene) -> Iterator[Finding]:
    """What the run's own record says, against what the database made of it."""
    for fence, end in sorted(seen.ends.items()):
        run = seen.stored[fence]
        if run.is_live or run.exit_class in (None, "gpu_fault"):
            continue  # Not taken in yet; or the GPU was to blame, which a run cannot know.
        if run.exit_class != end.exit_class or (end.exit_class != "lost" and run.exit_code != end.code):
            text = f"run {fence} of job {run.job_id} ended as {end.exit_class} ({end.code}), but is stored as"
            yield failure(ABOUT, f"{text} {run.exit_class} ({run.exit_code})", "gpuyard db check; restore a backup")


def on_gpus(database: Path) -> Callable[[Reading], Iterator[Finding]]:
    """Judges who is really on the GPUs, as the driver lists them."""

    def judge(reading: Reading) -> Iterator[Finding]:
        if not database.exists():
            return
        stored = census.attempts(database)
        holder = {uuid: one for one in stored.values() if one.is_live for uuid in one.gpus}
        for gpu in reading.gpus:
            yield from _users(gpu, holder.get(gpu.uuid))

    return judge


def _users(gpu: ReadGpu, held: Stored | None) -> Iterator[Finding]:
    ours = [process for process in gpu.processes if process.fence is not None]
    fences = {process.fence for process in ours}
    if len(fences) > 1:
        named = ", ".join(f"run {process.fence} (pid {process.pid})" for process in ours)
        yield failure("gpus", f"GPU {gpu.index} is used by {len(fences)} runs at once: {named}", "cancel all but one")
    for process in ours:
        if held is None or held.fence != process.fence:
            text = f"run {process.fence} (pid {process.pid}) is on GPU {gpu.index}, which it was not given"
            do = f"it ignores CUDA_VISIBLE_DEVICES: cancel the job; or it has ended: kill {process.pid}"
            yield failure("gpus", text, do)
    for process in gpu.processes:
        if process.fence is None and held is not None and process.seen and not process.graphics:
            text = f"pid {process.pid} ({process.name}) is on GPU {gpu.index}, which run {held.fence} has"
            yield warning("gpus", text, f"if it is a left-over of a run, end it: kill {process.pid}")
