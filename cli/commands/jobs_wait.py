"""`gpuyard jobs wait`."""

from __future__ import annotations

import time

import click

from gpuyard.cli import ids, watch
from gpuyard.cli.exits import ExitCode, job_exit
from gpuyard.cli.http import Client
from gpuyard.cli.options import SPAN, client_options


@click.command()
@ids.jobs_argument
@click.option("--timeout", type=SPAN, metavar="TIME", help="Wait at most so long; then end with 101.")
@client_options
@click.pass_context
def wait(ctx: click.Context, /, jobs: tuple[str, ...], timeout: float | None, client: Client) -> None:
    """Wait until the jobs have ended.

    The exit code is 0 when all completed, else that of the first one that did not: 100 failed, 101 not done in time,
    103 cancelled. Ctrl-C ends the waiting, not the jobs.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    code = ExitCode.OK
    for job_id in ids.resolve_all(client, jobs):
        try:
            job = watch.to_the_end(client, job_id, deadline=deadline)
        except KeyboardInterrupt:
            ctx.exit(watch.leave(job_id))
        if job is None:
            watch.notice(f"{job_id} has not ended in time")
            ctx.exit(ExitCode.NOT_IN_TIME)
        watch.tell_end(job)
        code = code or job_exit(job["status"], job.get("exit_class"))
    ctx.exit(code)
