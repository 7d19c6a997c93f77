"""`gpuyard webhooks add|list|test|enable|disable|delete|deliveries`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from gpuyard.cli.exits import ExitCode
from gpuyard.cli.http import Client, segment
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_list, emit_one
from gpuyard.cli.people import write_secret
from gpuyard.cli.tables import Cell, Column, Table
from gpuyard.cli.terminal import say
from gpuyard.cli.text import clean, local_time

EVENTS = ("completed", "failed", "cancelled", "blocked", "approved")
FIELDS = ("id", "username", "url", "events", "scope", "enabled", "why", "waiting", "delivered_at", "failing_since")
MESSAGES = ("id", "event", "job_id", "state", "attempts", "created_at", "next_at", "ended_at", "status", "why")
webhook_argument = click.argument("webhook", metavar="ID")


def _events(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    found = [part.strip() for value in values for part in value.split(",") if part.strip()]
    for event in found:
        if event not in EVENTS:
            raise click.BadParameter(f"{event!r} is no event; there are {', '.join(EVENTS)}", ctx, param)
    return tuple(dict.fromkeys(found))


@click.command()
@click.argument("url")
@click.option(
    "--on",
    "events",
    multiple=True,
    callback=_events,
    metavar="EVENTS",
    help=f"What to tell: {', '.join(EVENTS)}; repeat it or give a comma list.  [default: the ends of jobs]",
)
@click.option(
    "--scope",
    type=click.Choice(["own", "team", "all"]),
    default="own",
    show_default=True,
    help="Whose jobs: your own, your team's (leads), everybody's (admins).",
)
@click.option(
    "--save",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write the secret into FILE (0600), do not print it.",
)
@output_options
@client_options
def add(client: Client, out: Output, url: str, events: tuple[str, ...], scope: str, save: str | None) -> None:
    """Have URL told what happens to jobs; prints the secret that signs its messages, this once.

    \b
      gpuyard webhooks add https://example.com/hook --on failed --save hook.secret
    """
    body = {"url": url, "events": list(events), "scope": scope}
    made = client.post("/api/webhooks", body, what="no webhook was added")
    if save is not None:
        try:
            write_secret(save, str(made["secret"]))
        except OSError as error:
            say(f"gpuyard: the secret could not be written to {save}: {error.strerror}; here it is")
        else:
            made = {key: value for key, value in made.items() if key != "secret"} | {"secret_file": save}
    emit_one(out, made, view=_added)


def _added(made: dict[str, Any]) -> None:
    click.echo(f"{clean(made['id'])} added")
    if "secret" in made:
        click.echo(clean(made["secret"]))
        say("That is its signing secret. It is shown this once: give it to the receiver now.")
    else:
        say(f"its signing secret is in {made['secret_file']}; it is shown nowhere else")


@click.command("list")
@click.option("--all", "everybody", is_flag=True, help="Everybody's (admins).")
@output_options
@client_options
def list_webhooks(client: Client, out: Output, everybody: bool) -> None:
    """List your webhooks: where, for what, and whether what was sent is taken."""
    query = {"all_users": True} if everybody else {}
    hooks = client.get("/api/webhooks", query=query, what="the webhooks cannot be listed")["webhooks"]
    emit_list(out, hooks, table=_table, fields=FIELDS, noun="webhook")


@click.command("test")
@webhook_argument
@output_options
@client_options
@click.pass_context
def test_webhook(ctx: click.Context, client: Client, out: Output, webhook: str) -> None:
    """Send the webhook a message of type webhook.test now, and say what came of it."""
    done = client.post(f"/api/webhooks/{segment(webhook)}/test", what=f"webhook {webhook} was not tested")
    emit_one(out, done, view=_tested)
    ctx.exit(int(ExitCode.OK if done["ok"] else ExitCode.REFUSED))


def _tested(done: dict[str, Any]) -> None:
    said = f"it answered {done['status']}" if done["ok"] else clean(done["why"])
    click.echo(f"{'taken' if done['ok'] else 'not taken'}: {said} ({done['seconds']:.1f} s)")


@click.command()
@webhook_argument
@client_options
def enable(client: Client, webhook: str) -> None:
    """Tell the webhook again what happens from now on."""
    _set(client, webhook, True)


@click.command()
@webhook_argument
@client_options
def disable(client: Client, webhook: str) -> None:
    """Tell the webhook nothing any more; what waits for it is given up."""
    _set(client, webhook, False)


def _set(client: Client, webhook: str, enabled: bool) -> None:
    what = f"webhook {webhook} was not changed"
    changed = client.patch(f"/api/webhooks/{segment(webhook)}", {"enabled": enabled}, what=what)
    click.echo(f"{clean(changed['id'])} {'enabled' if changed['enabled'] else 'disabled'}")


@click.command()
@click.argument("webhooks", metavar="ID...", nargs=-1, required=True)
@client_options
def delete(client: Client, webhooks: tuple[str, ...]) -> None:
    """Delete webhooks, their messages and their secrets."""
    for webhook in webhooks:
        gone = client.delete(f"/api/webhooks/{segment(webhook)}", what=f"webhook {webhook} was not deleted")
        click.echo(f"{clean(gone['id'])} deleted")


@click.command()
@webhook_argument
@output_options
@client_options
def deliveries(client: Client, out: Output, webhook: str) -> None:
    """List the messages of a webhook, newest first: those that wait, and the last that ended."""
    path = f"/api/webhooks/{segment(webhook)}/deliveries"
    found = client.get(path, what=f"the messages of webhook {webhook} cannot be listed")["deliveries"]
    emit_list(out, found, table=_messages, fields=MESSAGES, noun="message")


def _table(hooks: Sequence[dict[str, Any]]) -> Table:
    columns = [
        Column("id", keep=True),
        Column("user"),
        Column("url"),
        Column("events"),
        Column("jobs"),
        Column("state"),
    ]
    columns += [Column("waiting", right=True), Column("last taken")]
    rows: list[list[Cell | str]] = []
    for hook in hooks:
        state = Cell("enabled", "green") if hook["enabled"] else Cell("disabled", "yellow")
        if hook["why"]:
            state = Cell(f"disabled: {clean(hook['why'])}", "red")
        elif hook["enabled"] and hook["failing_since"]:
            state = Cell(f"failing since {local_time(hook['failing_since'])}", "yellow")
        whose = [clean(hook["id"]), clean(hook["username"]), clean(hook["url"])]
        what = [",".join(hook["events"]), hook["scope"]]
        rows.append([*whose, *what, state, str(hook["waiting"]), local_time(hook["delivered_at"])])
    return Table(columns, rows)


def _messages(found: Sequence[dict[str, Any]]) -> Table:
    columns = [
        Column("message", keep=True),
        Column("event"),
        Column("job"),
        Column("state"),
        Column("tries", right=True),
    ]
    columns += [Column("next"), Column("status", right=True), Column("why")]
    colours = {"delivered": "green", "given_up": "red", "pending": "yellow"}
    rows: list[list[Cell | str]] = []
    for one in found:
        state = Cell(one["state"].replace("_", " "), colours[one["state"]])
        story = [str(one["attempts"]), local_time(one["next_at"]), str(one["status"] or "-"), clean(one["why"] or "-")]
        rows.append([clean(one["id"]), clean(one["event"]), clean(one["job_id"] or "-"), state, *story])
    return Table(columns, rows)
