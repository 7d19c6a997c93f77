"""The configs folder over HTTP: list, read, check."""

from __future__ import annotations

import asyncio

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from gpuyard.api.answers import ConfigEntry, ConfigList, OneConfig, Validated
from gpuyard.api.configs import ConfigFile, Configs
from gpuyard.api.deps import SettingsDep
from gpuyard.api.documents import answer
from gpuyard.api.responses import JsonResponse
from gpuyard.api.settings import Settings

router = APIRouter(prefix="/api/configs", tags=["configs"])


def _configs(settings: Settings) -> Configs:
    return Configs(settings.configs_dir, settings.launch_command)


async def _read(settings: Settings, name: str) -> tuple[Configs, ConfigFile]:
    configs = _configs(settings)
    return configs, await asyncio.to_thread(configs.read, name)


@router.get("", operation_id="list_configs", responses=answer("list_configs", ConfigList))
async def list_configs(settings: SettingsDep) -> Response:
    """The configs that a submit may name."""
    found = await asyncio.to_thread(_configs(settings).listing)
    entries = [ConfigEntry(**msgspec.structs.asdict(listed)) for listed in found]
    return JsonResponse(ConfigList(configs=entries, count=len(entries)))


@router.get("/{name}", operation_id="get_config", responses=answer("get_config", OneConfig))
async def get_config(settings: SettingsDep, name: str) -> Response:
    """One config as it stands in its file."""
    configs, file = await _read(settings, name)
    kind = "unknown" if file.problem else configs.describe(file).kind
    return JsonResponse(OneConfig(name=file.name, config=file.data, kind=kind, format=file.format, sha256=file.sha256))


@router.post("/{name}/validate", operation_id="validate_config", responses=answer("validate_config", Validated))
async def validate_config(settings: SettingsDep, name: str) -> Response:
    """What is wrong with a config, as sentences; nothing is submitted."""
    configs, file = await _read(settings, name)
    errors, warnings = ([file.problem], []) if file.problem else configs.validate(file)
    return JsonResponse(Validated(valid=not errors, is_valid=not errors, errors=errors, warnings=warnings))
