"""`gpuyard demo`: real trainings through a real server with four simulated GPUs; nothing is left behind."""

from __future__ import annotations

import signal
from types import FrameType

import click

from gpuyard.cli import tables, terminal
from gpuyard.cli.exits import Failure


@click.command()
def demo() -> None:
    """See seven small real trainings go through a queue of four simulated GPUs, in about half a minute.

    A server is started in a temporary folder on a free port; GPUs are simulated, everything else is real: processes,
    queue, database, checkpoints. They run side by side, one waits and says why, one is cancelled, one breaks down. At
    the end all processes and the folder are gone, also after Ctrl-C.
    """
    from gpuyard.cli.demo import summary
    from gpuyard.cli.demo.show import shown
    from gpuyard.cli.demo.stage import stage
    from gpuyard.cli.demo.story import Story

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    terminal.say("gpuyard: starting a server with four simulated GPUs in a temporary folder")
    with stage() as scene:
        with shown(scene.client) as show:
            story = Story(scene.client, show.say)
            story.run(lambda: show.look(story.jobs))
        lessons = summary.read_logs(scene.client, story.jobs)
        click.echo()
        tables.show(summary.table(story.jobs, lessons))
        surprises = summary.surprises(story.jobs, lessons)
    click.echo()
    click.echo("Losses are nats a character; gap is the time a GPU stood idle between two trainings.")
    click.echo("The server and all its processes have ended, and its folder is removed.")
    click.echo("Your turn: gpuyard server --simulate-gpus 4, then gpuyard run -- echo hello")
    if surprises:
        raise Failure("the demo did not go as it should", "; ".join(surprises), "gpuyard doctor")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
