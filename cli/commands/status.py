"""`gpuyard status`: one screen of the server, its GPUs and the queue."""

from __future__ import annotations

from typing import Any

import click

from gpuyard.cli import tables
from gpuyard.cli.commands import gpus, jobs_status
from gpuyard.cli.http import Client
from gpuyard.cli.jobs import job_table
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_one
from gpuyard.cli.text import amount, span


@click.command()
@output_options
@client_options
def status(client: Client, out: Output) -> None:
    """Show one screen: the server, the GPUs, the counts, and what runs and waits first.

    `--format json` has `system`, `stats` and `queue` as the API answers them.
    """
    found = {
        "system": gpus.system(client),
        "stats": client.get("/api/queue/stats", what="the queue's status is not known"),
        "queue": client.get("/api/queue", query={"limit": 10}, what="the queue cannot be shown"),
    }
    emit_one(out, {"server": client.url, **found}, view=_show)


def _show(found: dict[str, Any]) -> None:
    system, stats, queue = found["system"], found["stats"], found["queue"]
    click.echo(headline(found["server"], system))
    click.echo()
    if gpus.devices(system):
        tables.show(gpus.gpu_table(gpus.devices(system)))
        click.echo()
    jobs_status.show(stats)
    if queue["entries"]:
        click.echo()
        tables.show(job_table(queue["entries"]))


def headline(url: str, system: dict[str, Any]) -> str:
    """`http://… up 3h07m · 4 simulated GPUs · load 0.52 · memory 38%`."""
    inventory = system.get("gpu_inventory") or {}
    parts = [f"{url} up {span(system.get('uptime_seconds'))}"]
    backend = inventory.get("backend")
    count = int(inventory.get("count") or 0)
    parts.append(f"{amount(count, 'GPU')} ({backend})" if count else "no GPU")
    if isinstance(system.get("load_avg_5min"), (int, float)):
        parts.append(f"load {system['load_avg_5min']:.2f}")
    if isinstance(system.get("memory_percent"), (int, float)):
        parts.append(f"memory {system['memory_percent']:.0f}%")
    return " · ".join(parts)
