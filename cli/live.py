"""A live view of a queue: GPUs, what runs with its progress, what waits and why. Used by `top` and by `demo`.

Rich is loaded here and nowhere else; `screen` makes one picture of a `Snapshot`, whoever shows it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gpuyard.actors.model.progress import Progress, progress_of
from gpuyard.cli import terminal
from gpuyard.cli.commands.gpus import COLOURS, devices, memory, place, system
from gpuyard.cli.exits import ExitCode
from gpuyard.cli.http import ApiError, Client, segment
from gpuyard.cli.jobs import gpus_cell, label, note, status_cell, time_cell
from gpuyard.cli.tables import Cell
from gpuyard.cli.text import clean, span

MOST_RUNS = 12
MOST_WAITING = 10
LOG_LINES = 20

Job = dict[str, Any]


class Snapshot(NamedTuple):
    """The queue at one moment; `progress` by job id, `ended` newest first."""

    url: str
    system: dict[str, Any]
    stats: dict[str, Any]
    entries: Sequence[Job]
    ended: Sequence[Job]
    progress: dict[str, Progress]


def display(console: Console, *, screen: bool = False, transient: bool = False) -> Live:
    """Where pictures are drawn over each other, when told to.

    stdout is left in its place: what can be written there is judged by it (`terminal.has_signs`).
    """
    return Live(
        console=console,
        screen=screen,
        transient=transient,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
        vertical_overflow="crop",
    )


def take(client: Client, *, ended: int = 3) -> Snapshot:
    """Ask the server. Raises Failure."""
    status = system(client)
    stats = client.get("/api/queue/stats", what="the queue's status is not known")
    entries = client.get("/api/queue", query={"limit": 200}, what="the queue cannot be shown")["entries"]
    query = {"status": "completed,failed,cancelled", "limit": ended}
    past = client.get("/api/jobs", query=query, what="the jobs cannot be listed")["jobs"] if ended else []
    running = [entry for entry in entries if entry["status"] == "running"][:MOST_RUNS]
    found = {}
    for entry in running:
        progress = _progress(client, entry["job_id"])
        if progress is not None:
            found[entry["job_id"]] = progress
    return Snapshot(client.url, status, stats, entries, past, found)


def _progress(client: Client, job_id: str) -> Progress | None:
    try:
        answer = client.get(f"/api/jobs/{segment(job_id)}/logs", query={"tail": LOG_LINES})
    except ApiError as error:
        if error.exit_code == ExitCode.NOT_FOUND:
            return None
        raise
    return progress_of(str(answer["logs"]))


def screen(now: Snapshot, title: str = "") -> RenderableType:
    """One picture: GPUs, runs, what waits, what ended last."""
    parts: list[RenderableType] = [Text(title or headline(now), style="bold")]
    running = [entry for entry in now.entries if entry["status"] == "running"]
    waiting = [entry for entry in now.entries if entry["status"] != "running"]
    if devices(now.system):
        parts += [Text(), gpu_grid(now)]
    if running:
        parts += [Text(), run_grid(running, now.progress)]
    if waiting:
        parts += [Text(), waiting_grid(waiting)]
    if now.stats.get("processing_held"):
        parts += [Text("held since a run was cancelled: gpuyard queue process", style="yellow")]
    if now.stats.get("paused"):
        paused = ", ".join(map(str, now.stats["paused"]))
        parts += [Text(f"paused: {paused} (gpuyard queue resume)", style="yellow")]
    if now.ended:
        parts += [Text(), ended_grid(now.ended)]
    return Group(*parts)


def headline(now: Snapshot) -> str:
    stats, inventory = now.stats, now.system.get("gpu_inventory") or {}
    counts = f"{stats.get('total_running', 0)} running · {stats.get('total_pending', 0)} waiting"
    return clean(
        f"gpuyard {now.url} · up {span(now.system.get('uptime_seconds'))} · {inventory.get('count', 0)} GPUs"
        f" ({inventory.get('backend', 'none')}) · {counts} · {time.strftime('%H:%M:%S')}"
    )


def grid(*titles: str) -> Table:
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in titles:
        keep = title in ("JOB", "GPU", "STATUS", "TIME", "STATE", "PROGRESS")
        found.add_column(title, no_wrap=True, overflow="ignore" if keep else "ellipsis")
    return found


def words(cell: Cell | str) -> Text:
    """A cell of ours as rich's; never as markup, which a job's name could contain."""
    if isinstance(cell, str):
        return Text(clean(cell))
    return Text(cell.text, style=cell.colour or ("dim" if cell.dim else ""))


def _row(*cells: Cell | str) -> list[Text]:
    return [words(cell) for cell in cells]


def gpu_grid(now: Snapshot) -> Table:
    names = {entry["job_id"]: label(entry) for entry in now.entries}
    found = grid("GPU", "NAME", "STATE", "LOAD", "MEMORY", "JOB", "WHOSE")
    for gpu in devices(now.system):
        state = str(gpu.get("state"))
        load = gpu.get("utilization")
        owner = names.get(str(gpu.get("job_id")), "")
        found.add_row(
            words(place(gpu)),
            words(str(gpu.get("name"))),
            Text(clean(state), style=COLOURS.get(state, "red")),
            bar(load / 100 if isinstance(load, int) else None),
            memory(gpu),
            words(str(gpu.get("job_id") or "-")),
            words(owner or str(gpu.get("reason") or "")),
        )
    return found


def run_grid(running: Sequence[Job], progress: dict[str, Progress]) -> Table:
    found = grid("JOB", "NAME", "STATUS", "GPUS", "TIME", "PROGRESS", "IT SAYS")
    now = time.time()
    for job in running[:MOST_RUNS]:
        said = progress.get(job["job_id"])
        cells = _row(str(job["job_id"]), label(job), status_cell(job), gpus_cell(job), time_cell(job, now))
        found.add_row(*cells, bar(said.share if said else None), words(said.text if said else ""))
    _more(found, len(running) - MOST_RUNS)
    return found


def waiting_grid(waiting: Sequence[Job]) -> Table:
    found = grid("JOB", "NAME", "STATUS", "GPUS", "TIME", "WHY")
    now = time.time()
    for job in waiting[:MOST_WAITING]:
        found.add_row(
            *_row(str(job["job_id"]), label(job), status_cell(job), gpus_cell(job), time_cell(job, now), note(job))
        )
    _more(found, len(waiting) - MOST_WAITING)
    return found


def ended_grid(ended: Sequence[Job]) -> Table:
    found = grid("JOB", "NAME", "STATUS", "TIME", "NOTE")
    now = time.time()
    for job in ended:
        found.add_row(*_row(str(job["job_id"]), label(job), status_cell(job), time_cell(job, now), note(job)))
    return found


def bar(share: float | None) -> RenderableType:
    if share is None:
        return Text("-", style="dim")
    if not terminal.has_signs():
        return Text(f"{share:4.0%}")
    return ProgressBar(total=1.0, completed=share, width=16)


def _more(table: Table, count: int) -> None:
    if count > 0:
        table.add_row(Text(f"… and {count} more", style="dim"))
