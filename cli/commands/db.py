"""`gpuyard db check`, `backup` and `restore`: on the database itself, with the server running or not.

Only these verbs of the client touch the store; it is loaded when one of them is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from gpuyard.cli import terminal
from gpuyard.cli.exits import ExitCode, Failure
from gpuyard.cli.options import yes_option
from gpuyard.cli.text import amount, clean

# As in wiring, which is not imported here: it would load every actor.
DATABASE = "jobs.db"

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The server's data folder.  [GPUYARD_DATA_DIR; default: as the server's]",
)


@click.command()
@data_dir_option
def check(data_dir: Path | None) -> None:
    """Look for damage and for rows that contradict each other; the server may be running.

    Each problem is a line on stdout; with any, the exit code is 1.
    """
    from gpuyard.actors.store import admin

    path = database(data_dir)
    if not path.exists():
        raise Failure(f"there is no database at {path}", do="name its folder: --data-dir", exit_code=ExitCode.NOT_FOUND)
    problems = admin.check(path)
    for problem in problems:
        click.echo(clean(problem))
    if problems:
        do = "gpuyard db restore BACKUP puts a backup in its place"
        raise Failure(f"{path} has {amount(len(problems), 'problem')}", do=do)
    terminal.say(f"{path} is whole")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@yes_option
@data_dir_option
def backup(file: Path, yes: bool, data_dir: Path | None) -> None:
    """Copy the database into FILE, one checked and durable file; the server may be running."""
    from gpuyard.actors.store import admin

    path = database(data_dir)
    with refusals("no backup was made"):
        made = admin.backup(path, file.absolute(), force=yes)
    click.echo(str(made.path))
    terminal.say(f"{amount(made.jobs, 'job')}, {amount(made.events, 'event')}, {made.bytes} bytes")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@yes_option
@data_dir_option
def restore(file: Path, yes: bool, data_dir: Path | None) -> None:
    """Put the backup FILE in the database's place; the server must be stopped. What was there is kept beside it.

    Over a database that is whole it asks first.
    """
    from gpuyard.actors.model.errors import InvalidInput
    from gpuyard.actors.store import admin

    path = database(data_dir)
    with refusals("nothing was restored"):
        try:
            done = admin.restore(file.absolute(), path, force=yes)
        except InvalidInput as error:
            if error.data.get("field") != "force":
                raise
            terminal.confirm(f"{path} is not damaged. Put {file} in its place (it is kept beside it)?", yes)
            done = admin.restore(file.absolute(), path, force=True)
    click.echo(str(done.path))
    kept = f"; what was there is {done.replaced}" if done.replaced else ""
    terminal.say(f"{amount(done.jobs, 'job')} restored (epoch {done.db_epoch}){kept}")


def database(data_dir: Path | None) -> Path:
    """Where the server's database is, for this flag and the server's settings. Raises Failure."""
    from gpuyard.cli import settings

    try:
        found = settings.load({} if data_dir is None else {"data_dir": data_dir})
    except settings.SettingsError as error:
        raise Failure("the data folder is not known", str(error), exit_code=ExitCode.USAGE) from None
    return found.data_dir / DATABASE


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """The store's errors as failures with exit codes."""
    from gpuyard.actors.model.errors import GpuyardError, NotFound

    try:
        yield
    except NotFound as error:
        raise Failure(what, error.detail, exit_code=ExitCode.NOT_FOUND) from None
    except GpuyardError as error:
        raise Failure(what, error.detail) from None
