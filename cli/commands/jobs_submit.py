"""`gpuyard jobs submit CONFIG` and `gpuyard jobs submit -- COMMAND…`."""

from __future__ import annotations

from typing import Any

import click

from gpuyard.cli import submission, terminal, watch
from gpuyard.cli.exits import ExitCode
from gpuyard.cli.http import Client
from gpuyard.cli.options import client_options, dry_run_option, follow_option, output_options
from gpuyard.cli.output import Output, emit_one

_COMMAND = "gpuyard.cli.command"


class AfterDashes(click.Command):
    """A command that takes what stands after `--` as it is, apart from its own arguments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args and not ctx.resilient_parsing:
            at = args.index("--")
            args, ctx.meta[_COMMAND] = args[:at], args[at + 1 :]
        return super().parse_args(ctx, args)


@click.command(cls=AfterDashes, options_metavar="[OPTIONS]")
@click.argument("config", required=False, metavar="CONFIG | -- COMMAND...")
@submission.submit_options
@dry_run_option
@follow_option
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
@output_options
@client_options
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    config: str | None,
    idempotency_key: str | None,
    follow: bool,
    wait: bool,
    client: Client,
    out: Output,
    **given: Any,
) -> None:
    """Put a job in the queue: CONFIG is the name of a file in the server's configs directory, without its ending.

    A COMMAND runs in the current folder, with the server's cleaned environment plus --env.

    \b
      gpuyard jobs submit my-config
      gpuyard jobs submit --gpus 2 -- python train.py --lr 1e-4

    With --follow or --wait the exit code says how the job ended: 0 completed, 100 failed, 101 over its time limit,
    103 cancelled. Ctrl-C ends the watching, not the job.
    """
    command = ctx.meta.get(_COMMAND, [])
    if (config is None) == (not command):
        raise click.UsageError("Name a config, or give a command after --.", ctx)
    if follow and not out.is_table:
        raise click.UsageError("--follow writes the log; take --wait with --format or -o.", ctx)
    dry_run = bool(given["dry_run"])
    if dry_run and (follow or wait):
        raise click.UsageError("with --dry-run there is no job to watch.", ctx)
    answer = submission.send(client, submission.body_of(config, command, given), idempotency_key)
    refused = submission.refusal(answer)
    if refused is not None and not dry_run:
        if not out.is_table:
            emit_one(out, answer, view=_show)
        raise refused
    if refused is not None:
        emit_one(out, answer, view=lambda answer: click.echo(f"would be refused: {refused.why}"))
        return
    if follow:
        terminal.say(f"gpuyard: {submission.sentence(answer)}")
    else:
        emit_one(out, answer, view=_predict if dry_run else _show)
    if follow or wait:
        code = watch.watch(client, str(answer["job_id"]), logs=follow)
        ctx.exit(int(code))
    if out.is_table and not dry_run and answer.get("status") in ("queued", "blocked"):
        submission.tell_reasons(answer)
        terminal.say(f"  more: gpuyard jobs why {answer['job_id']}")
    ctx.exit(ExitCode.OK)


def _show(answer: dict[str, Any]) -> None:
    click.echo(submission.sentence(answer))


def _predict(answer: dict[str, Any]) -> None:
    click.echo(submission.sentence(answer, predicted=True))
