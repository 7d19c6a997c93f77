"""`gpuyard run -- COMMAND…`: a command, but through the queue.

Ctrl-C (and SIGTERM) means what it means for any command: end it. The first one cancels the job and waits until no
process of it is left; a second one goes without waiting. A closed terminal (SIGHUP) leaves the job running.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import click

from gpuyard.cli import submission, watch
from gpuyard.cli.exits import ExitCode, Failure, job_exit
from gpuyard.cli.http import Client, segment
from gpuyard.cli.options import client_options


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="[--] COMMAND...")
@submission.submit_options
@client_options
@click.pass_context
def run(
    ctx: click.Context, /, command: tuple[str, ...], idempotency_key: str | None, client: Client, **given: Any
) -> None:
    """Run COMMAND through the queue, show what it prints, and end with its exit code.

    It runs in the current folder on GPUs of its own (--gpus, default 1), once it is its turn. Ctrl-C cancels it;
    a second Ctrl-C does not wait for its end.

    \b
      gpuyard run --gpus 2 -- python train.py --lr 1e-4

    Without an exit code of its own it ends with 100 (could not be started), 101 (over its time limit) or 103 (cancelled
    by somebody else).
    """
    answer = submission.send(client, submission.body_of(None, command, given), idempotency_key)
    refused = submission.refusal(answer)
    if refused is not None:
        raise refused
    job_id = str(answer["job_id"])
    watch.notice(submission.sentence(answer))
    stop = Stop(client, job_id)
    try:
        job = watch.to_the_end(client, job_id, line=watch.print_line)
    except KeyboardInterrupt:
        watch.notice(f"not waiting for its end. See it: gpuyard jobs get {job_id}")
        ctx.exit(stop.exit_code)
    finally:
        stop.restore()
    assert job is not None
    if job["status"] != "completed":
        watch.tell_end(job)
    ctx.exit(stop.exit_code if stop.asked and job["status"] == "cancelled" else exit_code(job))


def exit_code(job: dict[str, Any]) -> int:
    """The program's own code where it has one."""
    own = job.get("exit_code")
    if job["status"] in ("completed", "failed") and isinstance(own, int):
        return own
    return job_exit(job["status"], job.get("exit_class"))


class Stop:
    """The first Ctrl-C or SIGTERM cancels the job without disturbing who reads its log; the second ends the reading."""

    def __init__(self, client: Client, job_id: str) -> None:
        self.asked = False
        self.exit_code = int(ExitCode.INTERRUPTED)
        self._client = client
        self._job_id = job_id
        self._before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.exit_code = 128 + number
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        watch.notice(f"cancelling {self._job_id}; once more leaves without waiting for its end")
        fresh = self._client.twin()
        try:
            fresh.post(f"/api/jobs/{segment(self._job_id)}/cancel")
        except Failure as error:
            watch.notice(f"it could not be cancelled: {error.why or error.what}")
        finally:
            fresh.close()
