"""An attempt as a shell script, for providers that run commands.

The program gets what a keeper would give it: its files, its folder, its environment. Its exit code is written beside
its log, so that it is known even where the provider has forgotten the job. No value is ever read by the shell: each is
quoted.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from gpuyard.actors.model.cloud_remote import Order
from gpuyard.actors.model.job import JOB_DIR

EXIT = "exit"
LOG = "log"


def of_attempt(order: Order) -> dict[str, str]:
    """The environment of this attempt alone."""
    return {"GPUYARD_ATTEMPT": str(order.spec.attempt), "GPUYARD_FENCE": str(order.spec.fence)}


def environment(order: Order, job_dir: str) -> dict[str, str]:
    """What is added to the environment of each attempt. Which GPUs it sees is the provider's to say."""
    spec = order.spec
    return {
        "PYTHONUNBUFFERED": "1",
        **{name: value.replace(JOB_DIR, job_dir) for name, value in spec.env.items()},
        "GPUYARD_JOB_ID": spec.job_id,
        "GPUYARD_NUM_PROCESSES": str(spec.num_processes),
        "GPUYARD_JOB_DIR": job_dir,
    }


def lines(
    order: Order,
    job_dir: str,
    record: str = "",
    *,
    sent: Mapping[str, str] | None = None,
    folder_may_lack: bool = False,
) -> list[str]:
    """The script's lines after `#!/bin/sh`. `job_dir` is the job's own folder, kept over its attempts; with `record`
    (a folder) the exit code is written there, by rename. `sent` is where the job's files lie: name → a word for the
    shell. `folder_may_lack`: where the job's `workdir` is a folder of the server's that need not be there too, it runs
    in its own instead. What differs between attempts is not in here, but in `of_attempt`."""
    spec, quote = order.spec, shlex.quote
    made = [f"mkdir -p {quote(job_dir)} || exit 1", f"cd {quote(job_dir)} || exit 1"]
    for name, text in spec.files.items():
        made.append(f"printf %s {quote(text)} > {quote(name)} || exit 1")
    for name, word in (sent or {}).items():
        copy = f'mkdir -p -- "$(dirname -- {quote(name)})" && cp -- {word} {quote(name)}'
        mode = f" && chmod u+x -- {quote(name)}" if spec.sent[name].executable else ""
        made.append(f"{{ {copy}{mode}; }} || exit 1")
    made += [f"export {name}={quote(value)}" for name, value in environment(order, job_dir).items()]
    if spec.cwd is not None:
        otherwise = f"echo {quote(f'gpuyard: there is no {spec.cwd} here')}" if folder_may_lack else "exit 1"
        silent = " 2>/dev/null" if folder_may_lack else ""
        made.append(f"cd {quote(spec.cwd)}{silent} || {otherwise}")
    program = " ".join(quote(word) for word in spec.argv)
    if not record:
        return [*made, f"exec {program}"]
    folder = quote(record)
    return [
        *made,
        program,
        "code=$?",
        f"echo $code > {folder}/{EXIT}.new && mv {folder}/{EXIT}.new {folder}/{EXIT}",
        "exit $code",
    ]
