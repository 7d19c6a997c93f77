"""Job ids on the command line: any unique prefix will do; the server knows which is meant."""

from __future__ import annotations

from typing import Any

import click

from gpuyard.cli.exits import ExitCode, Failure
from gpuyard.cli.http import Client, segment

FULL_LENGTH = 12


def resolve(client: Client, prefix: str) -> str:
    """The id of the job that `prefix` means. Raises Failure (5) when it means none or several."""
    return prefix if len(prefix) == FULL_LENGTH else str(find(client, prefix)["job_id"])


def resolve_all(client: Client, prefixes: tuple[str, ...]) -> list[str]:
    """The ids, each once, in the order given."""
    return list(dict.fromkeys(resolve(client, prefix) for prefix in prefixes))


def find(client: Client, prefix: str) -> dict[str, Any]:
    """The whole job that `prefix` means, with its attempts and events. Raises Failure (5)."""
    if not prefix.replace("-", "").isalnum():
        raise Failure(f"{prefix!r} is not a job's id", "ids are letters and digits", "", ExitCode.NOT_FOUND)
    what = f"the job {prefix} cannot be found"
    job: dict[str, Any] = client.get(f"/api/jobs/{segment(prefix)}", what=what)["job"]
    return job


def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The newest jobs' ids for the shell; a server that does not answer gives none."""
    try:
        client = Client(ctx.params.get("server"), timeout=1.0)
        jobs = client.request("GET", "/api/jobs", query={"limit": 100})["jobs"]
    except Failure:
        return []
    return [job["job_id"] for job in jobs if job["job_id"].startswith(incomplete)]


job_argument = click.argument("job", metavar="JOB", shell_complete=complete)
jobs_argument = click.argument("jobs", metavar="JOB...", nargs=-1, required=True, shell_complete=complete)
