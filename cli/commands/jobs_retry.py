"""`gpuyard jobs retry`."""

from __future__ import annotations

import secrets

import click

from gpuyard.cli import ids
from gpuyard.cli.http import Client, segment
from gpuyard.cli.options import client_options, output_options
from gpuyard.cli.output import Output, emit_list
from gpuyard.cli.submission import refusal
from gpuyard.cli.tables import Column, Table
from gpuyard.cli.text import clean


@click.command()
@ids.jobs_argument
@output_options
@client_options
def retry(client: Client, out: Output, jobs: tuple[str, ...]) -> None:
    """Submit failed or cancelled jobs again: each becomes a new job of the same description."""
    answers = []
    for job_id in ids.resolve_all(client, jobs):
        path, what = f"/api/jobs/{segment(job_id)}/retry", f"{job_id} cannot be retried"
        answer = client.post(path, what=what, key=secrets.token_hex(16))
        refused = refusal(answer)
        if refused is not None:
            raise refused
        answers.append({"retry_of": job_id, **answer})
    emit_list(
        out,
        answers,
        table=lambda rows: Table(
            [Column("retry of", keep=True), Column("job", keep=True), Column("status")],
            [[row["retry_of"], clean(row.get("job_id")), clean(row.get("status"))] for row in rows],
        ),
        fields=("retry_of", "job_id", "status"),
        noun="job",
    )
