"""`gpuyard doctor`: look for what is wrong here, and say what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from gpuyard.cli import terminal
from gpuyard.cli.doctor.finding import Finding, Level, failure
from gpuyard.cli.exits import ExitCode
from gpuyard.cli.options import SHARED, make_client, output_options
from gpuyard.cli.output import Output, emit_list, field_table
from gpuyard.cli.text import amount, clean

FIELDS = ("level", "about", "text", "do")
SIGNS = {
    Level.OK: ("✓", "+", "green"),
    Level.NOTE: ("·", ".", None),
    Level.WARNING: ("!", "!", "yellow"),
    Level.FAILURE: ("✗", "x", "red"),
}


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The server's data folder.  [GPUYARD_DATA_DIR; default: as the server's]",
)
@output_options
@SHARED["server"]
@SHARED["token_file"]
@SHARED["cacert"]
@click.pass_context
def doctor(
    ctx: click.Context,
    /,
    data_dir: Path | None,
    out: Output,
    server: str | None,
    token_file: str | None,
    cacert: str | None,
) -> None:
    """Look at Python, kernel, clock, limits, data folder, database, runs, GPUs and the server; say what to do.

    Runs are held against their promises: one live run a job, one job a GPU, no run without a process and no process
    without a run, and an end that stays what it was.

    The exit code is 1 when something does not work, 0 with warnings.
    """
    findings = list(examine(data_dir, server, token_file, cacert))
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    if out.is_table:
        show(findings)
        failures, warnings = amount(counts[Level.FAILURE], "failure"), amount(counts[Level.WARNING], "warning")
        terminal.say(f"{failures}, {warnings}, {counts[Level.OK]} as it should be")
    else:
        items = [{"level": str(f.level), "about": f.about, "text": f.text, "do": f.do} for f in findings]
        emit_list(out, items, table=lambda rows: field_table(rows, FIELDS), fields=FIELDS, noun="finding")
    ctx.exit(ExitCode.REFUSED if counts[Level.FAILURE] else ExitCode.OK)


def examine(
    data_dir: Path | None, url: str | None, token_file: str | None, cacert: str | None = None
) -> Iterator[Finding]:
    """All findings; the checks of the server's own folder need what the server needs, and are loaded only here."""
    from gpuyard.cli import settings as server_settings
    from gpuyard.cli.commands.db import DATABASE
    from gpuyard.cli.doctor import data, live, machine, network, runs

    yield from machine.python()
    yield from machine.kernel()
    yield from machine.clock()
    yield from machine.limits()
    yield from machine.control_groups()
    try:
        settings = server_settings.load({} if data_dir is None else {"data_dir": data_dir})
    except server_settings.SettingsError as error:
        yield failure("settings", str(error), "gpuyard config show says where each value comes from")
        return
    yield from data.folder(settings.data_dir)
    yield from data.database(settings.data_dir / DATABASE)
    running = live.address(settings.data_dir)
    pid = running.get("pid")
    yield from machine.service(pid if isinstance(pid, int) else None)
    served = live.server_pid(running)
    yield from runs.check(settings.data_dir, settings.data_dir / DATABASE, served)
    judge = runs.on_gpus(settings.data_dir / DATABASE)
    yield from data.gpus(settings.data_dir, settings.simulate_gpus, judge, served=bool(running))
    yield from network.reach(running if served else {}, settings)
    wanted = url or os.environ.get("GPUYARD_SERVER") or running.get("url")
    with make_client(wanted, token_file, cacert, timeout=10.0) as client:
        yield from live.server(client)


def show(findings: list[Finding]) -> None:
    """A line a finding, and one below it on what to do."""
    signs, colour = terminal.has_signs(), terminal.has_colour()
    size = max(len(finding.about) for finding in findings)
    for finding in findings:
        sign, ascii_sign, hue = SIGNS[finding.level]
        mark = sign if signs else ascii_sign
        click.echo(f"{click.style(mark, fg=hue) if colour else mark} {finding.about:{size}}  {clean(finding.text)}")
        if finding.do:
            click.echo(f"  {'':{size}}  {'→' if signs else '->'} {clean(finding.do)}")
