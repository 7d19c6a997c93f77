"""A submit body → the command to the Scheduler, and its reply → the answer.

What the body says wins over what the config says. Reading configs is slow (disk) and happens in a thread, once a
name; everything else is plain data.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from typing import Any, Final

import msgspec

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import CheckSecrets, SubmitJob
from gpuyard.actors.model.errors import InvalidInput, NotAllowed
from gpuyard.actors.model.job import JobSpec
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.actors.model.views import JobAccepted, JobRefused
from gpuyard.api import jobfiles, zones
from gpuyard.api.answers import Submitted
from gpuyard.api.configs import ConfigFile, Configs, UnknownConfig
from gpuyard.api.core import Core
from gpuyard.api.schemas.submit import SubmitBody

# Body fields that are JobSpec fields of the same name.
SPEC_FIELDS: Final = tuple(name for name in JobSpec.__struct_fields__ if name in SubmitBody.model_fields)
LONGEST_KEY: Final = 255

Wanted = JobSpec | JobRefused
Found = dict[str, ConfigFile | JobRefused]


def check_key(key: str | None) -> str | None:
    """An Idempotency-Key: 1 to 255 printable ASCII characters. Raises InvalidInput."""
    if key is None:
        return None
    if not 1 <= len(key) <= LONGEST_KEY or not all("!" <= char <= "~" for char in key):
        raise InvalidInput(
            f"Idempotency-Key must be 1 to {LONGEST_KEY} printable ASCII characters", field="Idempotency-Key"
        )
    return key


def digest(*parts: Any) -> str:
    """SHA-256 of the whole request as canonical JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_level(viewer: Viewer, bodies: list[SubmitBody]) -> None:
    """Viewers submit existing configs as they are: a command of one's own is for researchers and above."""
    if viewer.level < Level.RESEARCHER and any(b.command or b.workdir or b.env for b in bodies):
        raise NotAllowed("a viewer submits existing configs only, without command, workdir and env")


async def read_configs(configs: Configs, bodies: list[SubmitBody]) -> Found:
    """Each config that the bodies name, read once; or why it can't be."""
    wanted = {body.config_name for body in bodies if body.config_name is not None}
    return await asyncio.to_thread(_read, configs, wanted) if wanted else {}


def _read(configs: Configs, wanted: set[str]) -> Found:
    found: Found = {}
    for name in wanted:
        try:
            found[name] = configs.read(name)
        except UnknownConfig as error:
            found[name] = JobRefused(error="unknown_config", reason=error.detail)
    return found


async def wanted_of(
    core: Core, viewer: Viewer, body: SubmitBody, configs: Configs, found: Found, time_zone: str
) -> Wanted:
    """What the body asks for, with the files that its config sends along. `time_zone` is that of windows which name
    none."""
    wanted, files = spec_of(body, configs, found)
    if isinstance(wanted, JobRefused):
        return wanted
    wanted = await with_secrets(core, in_zone(wanted, time_zone), viewer)
    if isinstance(wanted, JobRefused) or not files or body.config_name is None:
        return wanted
    file = found[body.config_name]
    assert isinstance(file, ConfigFile), "a refusal has no files"
    return await jobfiles.keep(core, wanted, file.folder, files, body.dry_run)


def spec_of(body: SubmitBody, configs: Configs, found: Found) -> tuple[Wanted, tuple[str, ...]]:
    """What the body asks for, and the names of the files to send along; a config that is unknown or wrong is a
    refusal, not an error."""
    values: dict[str, Any] = {}
    files: tuple[str, ...] = ()
    if body.config_name is not None:
        file = found[body.config_name]
        if isinstance(file, JobRefused):
            return file, ()
        said = configs.describe(file)
        problem = file.problem or (said.problems[0].text if said.problems else None)
        if problem is not None:
            return JobRefused(error="invalid_config", reason=f"config {file.name}: {problem}"), ()
        values = {
            **said.values,
            "config_hash": file.sha256,
            "config_file": f"config.{file.format}",
            "config_text": file.text,
        }
        files = values.pop("files", ())
    return JobSpec(**_merged(values, body)), files


async def with_secrets(core: Core, spec: JobSpec, viewer: Viewer) -> Wanted:
    """`spec`, if the secrets that it names are there; they are its submitter's own."""
    if not spec.secrets:
        return spec
    why = await core.ask(names.SECRETS, CheckSecrets(names=spec.secrets, by=viewer))
    return JobRefused(error="unknown_secret", reason=why) if why else spec


def in_zone(spec: JobSpec, time_zone: str) -> JobSpec:
    """`spec` with the offsets of its window's zone, as they are known today."""
    if spec.window is None:
        return spec
    return msgspec.structs.replace(spec, window=zones.resolved(spec.window, time_zone, time.time()))


def _merged(values: dict[str, Any], body: SubmitBody) -> dict[str, Any]:
    said = {name: value for name in SPEC_FIELDS if (value := getattr(body, name)) is not None}
    if body.command is not None:
        said["argv"] = body.command
    for table in ("env", "metadata", "provider_options"):
        if table in said:
            said[table] = {**values.get(table, {}), **said[table]}
    if "secrets" in said:
        said["secrets"] = tuple(dict.fromkeys((*values.get("secrets", ()), *said["secrets"])))
    return {**values, **said}


def command(body: SubmitBody, spec: JobSpec, viewer: Viewer, key: str | None = None, digest: str = "") -> SubmitJob:
    return SubmitJob(
        spec=spec,
        by=viewer,
        no_wait=body.no_wait,
        dry_run=body.dry_run,
        priority_override=body.priority_override,
        team_id=body.team_id,
        requires_approval=body.requires_approval,
        for_approval=body.for_approval,
        idempotency_key=key,
        digest=digest,
    )


def submitted(reply: JobAccepted | JobRefused, *, dry_run: bool = False) -> Submitted:
    """The answer of submit."""
    if isinstance(reply, JobRefused):
        return Submitted(
            success=False,
            job_id=None,
            status="rejected",
            error=reply.error,
            reason=reply.reason,
            reasons=reply.reasons,
            dry_run=dry_run,
        )
    return Submitted(success=True, dry_run=dry_run, **msgspec.structs.asdict(reply))
