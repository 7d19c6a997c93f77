"""`gpuyard gpus [list]`: the GPUs, who has them, and why one is not handed out; `exclude`, `include` and `clear`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from gpuyard.cli.http import Client, segment
from gpuyard.cli.lazy import SharedOptions
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_list
from gpuyard.cli.tables import Cell, Column, Table
from gpuyard.cli.text import clean

FIELDS = (
    "worker",
    "index",
    "name",
    "state",
    "job_id",
    "memory_gb",
    "memory_used_gb",
    "utilization",
    "temperature_c",
    "power_w",
    "uuid",
    "reason",
)
COLOURS = {"free": "green", "held": "blue", "releasing": "cyan", "busy_external": "yellow"}


@click.group(cls=SharedOptions, invoke_without_command=True)
@output_options
@client_options
@click.pass_context
def gpus(ctx: click.Context, /, client: Client, out: Output) -> None:
    """Show the GPUs, who has them, and why one is not handed out."""
    if ctx.invoked_subcommand is None:
        _list(client, out)


@gpus.command("list")
@output_options
@client_options
def list_gpus(client: Client, out: Output) -> None:
    """Show the GPUs, who has them, and why one is not handed out."""
    _list(client, out)


gpus_argument = click.argument("names", nargs=-1, required=True, metavar="GPU...")


@gpus.command()
@gpus_argument
@client_options
def exclude(client: Client, names: tuple[str, ...]) -> None:
    """Hand these GPUs out no more, until they are included; runs on them go on (admins).

    GPU is an index, a UUID or its beginning; for one of a worker also gpu-box:0, as they are listed.
    """
    _set_aside(client, names, "exclude", "excluded")


@gpus.command()
@gpus_argument
@client_options
def include(client: Client, names: tuple[str, ...]) -> None:
    """Hand excluded GPUs out again (admins)."""
    _set_aside(client, names, "include", "included")


@gpus.command()
@gpus_argument
@client_options
def clear(client: Client, names: tuple[str, ...]) -> None:
    """Take quarantined GPUs as they are, in spite of their faults or of what lies in their memory (admins)."""
    _set_aside(client, names, "clear", "cleared")


def _set_aside(client: Client, names: tuple[str, ...], verb: str, done: str) -> None:
    for name in names:
        answer = client.post(f"/api/gpus/{segment(name)}/{verb}", what=f"GPU {clean(name)} cannot be {done}")
        click.echo(f"GPU {place(answer)} {clean(answer.get('state', done))}")


def _list(client: Client, out: Output) -> None:
    status = system(client)
    emit_list(out, devices(status), table=gpu_table, fields=FIELDS, noun="GPU")


def system(client: Client) -> dict[str, Any]:
    """The system status with the allocation."""
    what = "the GPUs cannot be shown"
    answer: dict[str, Any] = client.get("/api/system/status", query={"include_allocation": True}, what=what)
    return answer


def devices(status: dict[str, Any]) -> list[dict[str, Any]]:
    """The server's own GPUs, then those of its workers."""
    allocation = status.get("gpu_allocation") or {}
    return [*(allocation.get("devices") or []), *(allocation.get("worker_devices") or [])]


def place(gpu: dict[str, Any]) -> str:
    """The GPU's index, behind its worker's name when it is not the server's own: `gpu-box:0`."""
    index = str(gpu.get("index"))
    return clean(f"{gpu['worker']}:{index}") if gpu.get("worker") else index


def gpu_table(gpus: Sequence[dict[str, Any]]) -> Table:
    columns = [
        Column("gpu", keep=True, right=True),
        Column("name"),
        Column("state", keep=True),
        Column("job", keep=True),
        Column("memory", right=True),
        Column("load", right=True),
        Column("temp", right=True),
        Column("power", right=True),
        Column("note"),
    ]
    return Table(columns, [gpu_row(gpu) for gpu in gpus])


def gpu_row(gpu: dict[str, Any]) -> list[Cell | str]:
    state = str(gpu.get("state") or ("held" if gpu.get("allocated") else "free"))
    return [
        place(gpu),
        clean(gpu.get("name") or "-"),
        Cell(clean(state), COLOURS.get(state, "red")),
        clean(gpu.get("job_id") or "-"),
        memory(gpu),
        _unit(gpu.get("utilization"), "%"),
        _unit(gpu.get("temperature_c"), "°C"),
        _unit(gpu.get("power_w"), "W"),
        clean(gpu.get("reason") or ""),
    ]


def memory(gpu: dict[str, Any]) -> str:
    """`3.2/80 GB`"""
    total, used = gpu.get("memory_gb"), gpu.get("memory_used_gb")
    if total is None:
        return "-"
    return f"{used:.1f}/{total:g} GB" if isinstance(used, (int, float)) else f"{total:g} GB"


def _unit(value: Any, unit: str) -> str:
    return f"{value:.0f}{unit}" if isinstance(value, (int, float)) else "-"
