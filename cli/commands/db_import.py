"""`gpuyard db import-simpletuner`: a SimpleTuner queue's past becomes history here; its database is only read."""

from __future__ import annotations

from pathlib import Path

import click

from gpuyard.cli import terminal
from gpuyard.cli.commands.db import data_dir_option, database, refusals
from gpuyard.cli.text import amount

SIMPLETUNER = Path("~/.simpletuner/cloud/jobs.db")


@click.command("import-simpletuner")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default=SIMPLETUNER)
@data_dir_option
def import_simpletuner(file: Path, data_dir: Path | None) -> None:
    """Take the ended jobs of a SimpleTuner database (FILE, default ~/.simpletuner/cloud/jobs.db) into the history.

    The server must be stopped. FILE is only read, and a repeat takes only what is new.
    """
    from gpuyard.actors.store import simpletuner

    path = database(data_dir)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with refusals("nothing was imported"):
        done = simpletuner.import_from(file.expanduser(), path)
    click.echo(str(done.jobs))
    terminal.say(f"{amount(done.jobs, 'job')} imported, {done.known} known already")
    if done.active:
        terminal.say(f"{amount(done.active, 'job')} not imported: not ended yet; submit what you still want here")
    if done.odd:
        terminal.say(f"{amount(done.odd, 'job')} not imported: not to be understood")
