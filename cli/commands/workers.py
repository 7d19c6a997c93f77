"""`gpuyard workers list|add|get|drain|undrain|rotate-token|stop-orphan|delete`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

from gpuyard.cli import tables
from gpuyard.cli.exits import ExitCode, Failure
from gpuyard.cli.http import Client, segment
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_list, emit_one
from gpuyard.cli.people import save_option, write_secret
from gpuyard.cli.submission import pairs
from gpuyard.cli.tables import Cell, Column, Table
from gpuyard.cli.terminal import confirm, say
from gpuyard.cli.text import amount, clean, local_time, span

WORKERS = "/api/admin/workers"
FIELDS = (
    "id",
    "name",
    "status",
    "worker_type",
    "gpu_count",
    "gpu_name",
    "gpu_vram_gb",
    "labels",
    "current_job_ids",
    "last_heartbeat",
)
COLOURS = {"idle": "green", "busy": "blue", "draining": "yellow", "connecting": "cyan"}

Worker = dict[str, Any]

worker_argument = click.argument("worker", metavar="WORKER")
workers_argument = click.argument("workers", nargs=-1, required=True, metavar="WORKER...")


@click.command("list")
@output_options
@client_options
def list_workers(client: Client, out: Output) -> None:
    """List the workers: what each has, what it does, when it was last heard."""
    workers = client.get(WORKERS, what="the workers cannot be listed")["workers"]
    emit_list(out, workers, table=_table, fields=FIELDS, noun="worker")


@click.command()
@click.argument("name")
@click.option("--ephemeral", is_flag=True, help="It takes one job, leaves, and is removed an hour later.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="What jobs choose by; repeat it for more.")
@save_option
@output_options
@client_options
def add(client: Client, out: Output, name: str, ephemeral: bool, labels: Sequence[str], save: str | None) -> None:
    """Enrol a machine as a worker and print the line that starts it there (admins), this once.

    \b
      gpuyard workers add gpu-box --label gpu_type=a100-80gb --label location=us-east-1
      gpuyard workers add gpu-box --save gpu-box.token    then there: gpuyard worker --worker-token-file gpu-box.token
    """
    body = {
        "name": name,
        "worker_type": "ephemeral" if ephemeral else "persistent",
        "labels": pairs(labels, "--label"),
    }
    _show_token(out, client.post(WORKERS, body, what=f"worker {name} was not enrolled"), save)


@click.command()
@worker_argument
@output_options
@client_options
def get(client: Client, out: Output, worker: str) -> None:
    """Show everything about one worker; WORKER is its name, its id or the beginning of one."""
    emit_one(out, client.get(_path(worker), what=f"worker {worker} cannot be shown"), view=_show)


@click.command()
@workers_argument
@client_options
def drain(client: Client, workers: Sequence[str]) -> None:
    """Give these workers no new job (admins); what they run goes on. It holds until they are undrained."""
    _each(client, workers, "drain", "drained")


@click.command()
@workers_argument
@client_options
def undrain(client: Client, workers: Sequence[str]) -> None:
    """Give these workers jobs again (admins)."""
    _each(client, workers, "undrain", "undrained")


@click.command("rotate-token")
@worker_argument
@click.option(
    "--now", is_flag=True, help="The old token is void at once: the worker stops obeying until it has this one."
)
@save_option
@output_options
@client_options
def rotate_token(client: Client, out: Output, worker: str, now: bool, save: str | None) -> None:
    """Print a new token for a worker (admins), this once; its jobs go on.

    The old one works until the new one connects, or for 24 hours.
    """
    made = client.post(f"{_path(worker)}/token", {"now": now}, what=f"worker {worker} has no new token")
    _show_token(out, made, save)


@click.command()
@worker_argument
@click.option("--force", is_flag=True, help="Although it has jobs: they count as lost, and are tried elsewhere.")
@click.option("-y", "--yes", "yes", is_flag=True, help="Do not ask.")
@client_options
def delete(client: Client, worker: str, force: bool, yes: bool) -> None:
    """Delete a worker (admins): its token is void, and it gets nothing any more. One with jobs: drain it first."""
    found = client.get(_path(worker), what=f"worker {worker} was not deleted")
    jobs = found.get("current_job_ids") or []
    if jobs and not force:
        why = f"it has {amount(len(jobs), 'job')}: {', '.join(map(clean, jobs[:3]))}"
        do = f"gpuyard workers drain {clean(found['name'])}, wait, and try again; or --force"
        raise Failure(f"worker {worker} was not deleted", why, do, ExitCode.WRONG_STATE)
    confirm(
        f"delete worker {clean(found['name'])}" + (f" and lose {amount(len(jobs), 'job')}?" if jobs else "?"),
        yes or force,
    )
    query = {"force": True} if force else {}
    client.delete(_path(found["id"]), query=query, what=f"worker {worker} was not deleted")
    click.echo(f"{clean(found['name'])} deleted")


@click.command("stop-orphan")
@worker_argument
@click.argument("runs", nargs=-1, required=True, type=click.IntRange(min=1), metavar="RUN...")
@click.option("-y", "--yes", "yes", is_flag=True, help="Do not ask.")
@client_options
def stop_orphan(client: Client, worker: str, runs: Sequence[int], yes: bool) -> None:
    """End runs on a worker that this database did not order (admins).

    After an older or another database has come, nothing else ends them. `gpuyard workers get` lists them by number;
    WORKER is `local` for those on the server's own machine.
    """
    confirm(f"end {amount(len(runs), 'run')} on {clean(worker)}, of which this database knows nothing?", yes)
    for run in runs:
        client.post(f"{_path(worker)}/orphans/{run}/stop", what=f"run {run} was not stopped")
        click.echo(f"run {run} is being stopped")


def _path(worker: str) -> str:
    return f"{WORKERS}/{segment(worker)}"


def _each(client: Client, workers: Sequence[str], verb: str, done: str) -> None:
    for worker in workers:
        answer = client.post(f"{_path(worker)}/{verb}", what=f"worker {worker} was not {done}")
        click.echo(f"{clean(answer['name'])} {clean(answer['status'])}")


def _show_token(out: Output, made: dict[str, Any], save: str | None) -> None:
    """Print the line that starts the worker, or put the token into the file `save`; one that can't be saved is
    printed."""
    name = clean(made["name"])
    if save is not None:
        try:
            write_secret(save, str(made["token"]))
        except OSError as error:
            say(f"gpuyard: the token could not be written to {save}: {error.strerror}; here it is")
        else:
            secrets = ("token", "connection_command")
            made = {key: value for key, value in made.items() if key not in secrets} | {"token_file": save}
            say(f"the token of {name} is in {save} and kept nowhere else; on that machine:")
            say(f"  gpuyard worker --worker-token-file {save}")
            emit_one(out, made, view=lambda _: None)
            return
    emit_one(out, made, view=lambda made: click.echo(made["connection_command"]))
    if out.is_table:
        say(f"Run this line on {name}. It holds the worker's token, which is shown this once and kept nowhere.")


def _table(workers: Sequence[Worker]) -> Table:
    columns = [
        Column("name", keep=True),
        Column("state", keep=True),
        Column("gpus", right=True),
        Column("jobs", keep=True),
    ]
    columns += [Column("labels"), Column("heard"), Column("id", keep=True), Column("note")]
    now = time.time()
    return Table(columns, [_row(worker, now) for worker in workers])


def _row(worker: Worker, now: float) -> list[Cell | str]:
    status = str(worker.get("status"))
    jobs = worker.get("current_job_ids") or []
    return [
        clean(worker.get("name")),
        Cell(clean(status), COLOURS.get(status, "red")),
        _gpus(worker),
        ",".join(map(clean, jobs[:2])) + (f" +{len(jobs) - 2}" if len(jobs) > 2 else "") or "-",
        _labels(worker),
        local_time(worker.get("last_heartbeat"), now) if worker.get("last_heartbeat") else "never",
        clean(worker.get("id")),
        clean(_note(worker)),
    ]


def _gpus(worker: Worker) -> str:
    """`4×A100 80GB`, as far as it is known."""
    count = worker.get("gpu_count")
    if count is None:
        return "?"
    return str(count)


def _labels(worker: Worker) -> str:
    return clean(" ".join(f"{name}={value}" for name, value in (worker.get("labels") or {}).items()))


def _note(worker: Worker) -> str:
    orphans = worker.get("orphans") or []
    parts = [str(worker.get("why") or "")] if worker.get("status") in ("idle", "busy", "connecting") else []
    parts.append(f"{amount(len(orphans), 'orphan')}: not of this database" if orphans else "")
    parts.append(_clock(worker))
    parts.append("ephemeral" if worker.get("worker_type") == "ephemeral" else "")
    return "; ".join(part for part in parts if part)


def _clock(worker: Worker) -> str:
    """`its clock is 2h ahead: set it`"""
    ahead = worker.get("clock_ahead_seconds")
    if not isinstance(ahead, (int, float)) or not ahead:
        return ""
    return f"its clock is {span(abs(ahead))} {'ahead' if ahead > 0 else 'behind'}: set it"


def _show(worker: Worker) -> None:
    tables.show_facts(_facts(worker))


def _facts(worker: Worker) -> Iterator[tuple[str, Cell | str]]:
    status = str(worker.get("status"))
    yield "worker", clean(worker.get("id"))
    yield "name", clean(worker.get("name"))
    yield "state", Cell(clean(status), COLOURS.get(status, "red"))
    if worker.get("why"):
        yield "no work", clean(worker["why"])
    if _clock(worker):
        yield "clock", Cell(_clock(worker), "yellow")
    yield "type", clean(worker.get("worker_type"))
    gpus = _gpus(worker)
    if worker.get("gpu_name"):
        gpus += f" × {clean(worker['gpu_name'])}, {worker.get('gpu_vram_gb'):g} GB"
    yield "gpus", gpus
    yield "labels", _labels(worker) or "-"
    yield "jobs", ", ".join(map(clean, worker.get("current_job_ids") or [])) or "-"
    if worker.get("unreachable"):
        yield "unreachable", ", ".join(map(clean, worker["unreachable"]))
    for orphan in worker.get("orphans") or []:
        words = f"run {orphan.get('fence')} of job {clean(orphan.get('job_id') or '?')}, pid {orphan.get('pid')}"
        yield "orphan", Cell(f"{words}: not of this database, so it lives until `workers stop-orphan`", "yellow")
    for name in ("last_heartbeat", "connected_at", "enrolled_at"):
        yield name.replace("_", " "), local_time(worker[name]) if worker.get(name) else "never"
    for name in ("max_jobs", "cpu_count", "version", "address"):
        if worker.get(name) is not None:
            yield name.replace("_", " "), clean(worker[name])
