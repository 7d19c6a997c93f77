"""`gpuyard jobs status` and `gpuyard queue status`: the queue's statistics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from gpuyard.cli import tables, terminal
from gpuyard.cli.http import Client
from gpuyard.cli.jobs import LOOKS
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_one, flat
from gpuyard.cli.tables import Cell
from gpuyard.cli.text import amount, span


@click.command()
@output_options
@client_options
def status(client: Client, out: Output) -> None:
    """Show counts, limits and local GPUs; `--format json` is the stats object of the API as it is."""
    emit_one(out, client.get("/api/queue/stats", what="the queue's status is not known"), view=show)


def show(stats: dict[str, Any]) -> None:
    tables.show_facts(facts(stats))
    if stats.get("store_error"):
        terminal.say(f"This is the last durable state, for {stats['store_error']}")
    if stats.get("processing_held"):
        terminal.say(HELD)


HELD = "Nothing waiting is started since a run was cancelled. Start what may start: gpuyard queue process"


def facts(stats: dict[str, Any]) -> Iterator[tuple[str, Cell | str]]:
    """The statistics for people."""
    by_status = stats.get("by_status") or {}
    signs = terminal.has_signs()
    counts = [
        f"{look.sign if signs else look.ascii} {by_status[name]} {name}"
        for name, look in LOOKS.items()
        if by_status.get(name)
    ]
    yield "jobs", "   ".join(counts) or "none"
    local = stats.get("local") or {}
    free = local.get("available_gpus") or []
    yield "local GPUs", f"{len(free)} of {local.get('total_gpus', 0)} free" + (f" ({flat(free)})" if free else "")
    most = local.get("max_concurrent_jobs")
    runs = int(local.get("running_jobs") or 0)
    cpu = int(local.get("cpu_running_jobs") or 0)
    yield (
        "local jobs",
        f"{runs} running (limit {most})"
        + (f", {cpu} on CPU" if cpu else "")
        + f", {local.get('pending_jobs', 0)} waiting",
    )
    workers = stats.get("workers") or {}
    if workers.get("running_jobs") or workers.get("pending_jobs"):
        yield "worker jobs", f"{workers['running_jobs']} running, {workers['pending_jobs']} waiting"
    if workers.get("total_workers"):
        states = ("idle", "busy", "draining", "offline", "connecting")
        parts = [f"{count} {state}" for state in states if (count := workers.get(f"{state}_workers"))]
        yield "workers", f"{amount(workers['total_workers'], 'worker')}: {', '.join(parts)}"
    if stats.get("running") or stats.get("queue_depth"):
        yield (
            "cloud jobs",
            f"{stats['running']} running (limit {stats.get('max_concurrent')}), {stats['queue_depth']} waiting",
        )
    if stats.get("paused"):
        paused = ", ".join(map(str, stats["paused"]))
        yield "paused", Cell(f"{paused} (gpuyard queue resume)", "yellow")
    yield "average wait", span(stats.get("avg_wait_seconds"))
    waiting = stats.get("pending_by_reason") or {}
    if waiting:
        yield "they wait for", ", ".join(f"{count} {code}" for code, count in waiting.items())
