"""Who watches the demonstration: a live picture on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from gpuyard.actors.model.progress import progress_of
from gpuyard.cli import terminal
from gpuyard.cli.demo.story import gpu_words
from gpuyard.cli.http import Client, segment
from gpuyard.cli.text import clean

PICTURES_EVERY = 0.25
LINES_EVERY = 1.5


class Lines:
    """Plain lines with the seconds since the start: what is told, changes of status, now and then the progress."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._started = time.monotonic()
        self._states: dict[str, str] = {}
        self._told = 0.0

    def say(self, text: str) -> None:
        click.echo(f"{time.monotonic() - self._started:5.1f}s  {clean_indented(text)}")

    def look(self, jobs: dict[str, dict[str, Any]]) -> None:
        """Tell what changed since the last look."""
        for name, job in sorted(jobs.items(), key=lambda item: str(item[1]["queued_at"])):
            state = str(job["status"])
            if self._states.get(name) != state:
                self._states[name] = state
                gpus = job.get("allocated_gpus") if state == "running" else None
                self.say(f"  [{name} {state}{' on ' + gpu_words(gpus) if gpus else ''}]")
        if time.monotonic() - self._told >= LINES_EVERY:
            self._told = time.monotonic()
            self._tell_progress(jobs)

    def _tell_progress(self, jobs: dict[str, dict[str, Any]]) -> None:
        for name, job in jobs.items():
            if job["status"] == "running":
                log = self._client.get(f"/api/jobs/{segment(job['job_id'])}/logs", query={"tail": 5})["logs"]
                said = progress_of(str(log))
                if said is not None:
                    self.say(f"  [{name} {said.text}]")


class Pictures:
    """The live view of `top`, and above it what is told."""

    def __init__(self, client: Client, live: Any) -> None:
        self._client = client
        self._live = live
        self._drawn = 0.0

    def say(self, text: str) -> None:
        from rich.text import Text

        self._live.console.print(Text(clean_indented(text)), soft_wrap=True)

    def look(self, jobs: dict[str, dict[str, Any]]) -> None:
        from gpuyard.cli import live

        if time.monotonic() - self._drawn >= PICTURES_EVERY:
            self._drawn = time.monotonic()
            self._live.update(live.screen(live.take(self._client, ended=7)), refresh=True)


@contextmanager
def shown(client: Client) -> Iterator[Lines | Pictures]:
    """The way that fits where stdout goes."""
    if not terminal.has_cursor():
        yield Lines(client)
        return
    from rich.console import Console

    from gpuyard.cli import live

    console = Console(file=sys.stdout, highlight=False, no_color=not terminal.has_colour())
    with live.display(console, transient=True) as display:
        yield Pictures(client, display)


def clean_indented(text: str) -> str:
    """`clean`, which would fold the indent away for a terminal's sake, but with it."""
    inner = text.lstrip(" ")
    return " " * (len(text) - len(inner)) + clean(inner)
