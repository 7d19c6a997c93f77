"""Settings of the server and of a worker: flag, then `GPUYARD_…` in the environment, then the TOML file,
then the default (CONTRACT "Command line"). Only server verbs import this: it needs pydantic."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import platformdirs
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gpuyard.actors.model.webhooks import address
from gpuyard.api import proxies, zones
from gpuyard.cli import cloud_settings

ENV_PREFIX = "GPUYARD_"
HOST_NAME = re.compile(r"\[[0-9a-f:.]{2,45}\]|(\*\.)?[a-z0-9]([a-z0-9.-]{0,252}[a-z0-9])?")
SIMULATE = re.compile(r"\d{1,4}(:[^:]{1,64}(:\d+(\.\d+)?)?)?")


class SettingsError(Exception):
    """A setting has a value that it cannot have; the text names it, the value and where it came from."""


def config_file() -> Path:
    """Where the TOML file is looked for: GPUYARD_CONFIG_FILE, else the platform's user configuration folder."""
    named = os.environ.get(f"{ENV_PREFIX}CONFIG_FILE")
    return Path(named) if named else platformdirs.user_config_path("gpuyard") / "gpuyard.toml"


class HostSettings(BaseSettings):
    """What every host of GPUs has, the server's and a worker's. Seconds may be decimal; paths are made absolute. The
    descriptions are what `gpuyard config show` prints."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore", frozen=True)

    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("gpuyard"), description="database, logs and runs"
    )
    simulate_gpus: str | None = Field(None, description="N[:MODEL[:GB]]: simulated GPUs instead of real ones")
    gpu_external: Literal["avoid", "warn", "ignore"] = Field(
        "avoid", description="a GPU that others use: leave it, use it with a warning, or do not look"
    )
    gpus_excluded: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="device indices or UUIDs that are never handed out, comma separated"
    )
    stop_grace_seconds: float = Field(30.0, ge=0, le=86_400, description="from TERM to KILL when a run is stopped")
    log_cap_mb: int = Field(1024, ge=1, description="size at which a run's log is cut")
    heartbeat_seconds: float = Field(10.0, gt=0, description="beat of a worker")
    lease_margin_seconds: float = Field(30.0, ge=0, description="what the server waits beyond a lease")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what the log holds")

    @field_validator("data_dir", "configs_dir", "ssl_cert", "ssl_key", mode="after", check_fields=False)
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("simulate_gpus", mode="before")
    @classmethod
    def _simulate(cls, value: Any) -> Any:
        text = None if value is None else str(value)
        if text is not None and not SIMULATE.fullmatch(text):
            raise ValueError("must be N, N:MODEL or N:MODEL:GB, such as 4 or 8:A100:80")
        return text

    @field_validator(
        "gpus_excluded", "allowed_hosts", "trusted_proxies", "webhook_networks", mode="before", check_fields=False
    )
    @classmethod
    def _list(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return tuple(map(str, value)) if isinstance(value, list | tuple) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_file())


class ServerSettings(HostSettings):
    """The server's."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    configs_dir: Path | None = Field(None, description="job configs; default: `configs` in the data folder")
    launch_command: Annotated[tuple[str, ...], NoDecode] = Field(
        ("simpletuner", "train"), description="what starts a SimpleTuner config"
    )
    zmq_bind: str | None = Field(None, description="HOST:PORT where workers reach this server; without it none can")
    zmq_advertise: str | None = Field(None, description="HOST:PORT as workers know it; default: as in zmq_bind")
    offline_after_seconds: float = Field(120.0, gt=0, description="silence after which a worker gets no new work")
    lease_seconds: float = Field(1800.0, gt=0, description="how long a run lives without contact")
    providers: dict[str, dict[str, Any]] = Field(
        {}, description="cloud providers by name: their own settings, `prices` (USD an hour by hardware), `hardware`"
    )
    webhook_networks: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="networks (CIDR) that are not public but webhooks may reach, with http too, comma separated"
    )
    assumed_hours: float = Field(1.0, gt=0, description="what a cloud job without a time limit is expected to take")
    public_url: str = Field("", description="where cloud providers reach this server's webhooks, such as https://HOST")
    time_zone: str = Field(
        "", description="zone of queue windows that name none, such as Europe/Berlin; default: this machine's"
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="names besides loopback and the certificate's that a request may be sent to, comma separated"
    )
    ssl_cert: Path | None = Field(None, description="PEM file of the TLS certificate (and of those above it)")
    ssl_key: Path | None = Field(None, description="PEM file of its key; default: in the certificate's file")
    behind_tls_proxy: bool = Field(False, description="a proxy before this server does the TLS")
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="addresses or CIDRs of proxies that are believed whom they forward, comma separated"
    )

    @field_validator("allowed_hosts", mode="after")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not HOST_NAME.fullmatch(name.lower()):
                raise ValueError(f"must be names such as gpu.lab or *.gpu.lab, without scheme and port, not {name!r}")
        return tuple(name.lower() for name in value)

    @field_validator("trusted_proxies", mode="after")
    @classmethod
    def _proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        proxies.networks(value)
        return value

    @field_validator("webhook_networks", mode="after")
    @classmethod
    def _webhook_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            address.networks(value)
        except ValueError as error:
            raise ValueError(f"must be networks such as 10.1.0.0/16: {error}") from None
        return value

    @field_validator("time_zone", mode="after")
    @classmethod
    def _time_zone(cls, value: str) -> str:
        if value and not zones.exists(value):
            raise ValueError("must be the name of a time zone, such as Europe/Berlin or UTC")
        return value

    @field_validator("providers", mode="after")
    @classmethod
    def _providers(cls, value: cloud_settings.Providers) -> cloud_settings.Providers:
        return cloud_settings.checked(value)

    @field_validator("launch_command", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return tuple(shlex.split(value)) if isinstance(value, str) else value

    @property
    def configs(self) -> Path:
        return self.configs_dir or self.data_dir / "configs"


S = TypeVar("S", bound=HostSettings)


class Origin(NamedTuple):
    """A setting's value and where it came from: `flag`, `environment`, the TOML file's path, or `default`."""

    name: str
    value: Any
    source: str
    description: str


def load(flags: dict[str, Any]) -> ServerSettings:
    """The server's settings; `flags` are those given on the command line. Raises SettingsError."""
    return load_as(ServerSettings, flags)


def load_as(cls: type[S], flags: dict[str, Any]) -> S:
    """The settings of this class. Raises SettingsError."""
    try:
        return cls(**flags)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        source = next((origin for key, origin in _sources(cls, flags) if name in key), "default")
        raise SettingsError(f"{name} ({source}): {first['msg'].removeprefix('Value error, ')}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{config_file()} is not a TOML file: {error}") from None


def origins(flags: dict[str, Any]) -> list[Origin]:
    """Every setting with its source, in the order of the class. Raises SettingsError."""
    settings, sources = load(flags), _sources(ServerSettings, flags)
    return [
        Origin(
            name,
            getattr(settings, name),
            next((origin for keys, origin in sources if name in keys), "default"),
            field.description or "",
        )
        for name, field in ServerSettings.model_fields.items()
    ]


def _sources(cls: type[HostSettings], flags: dict[str, Any]) -> list[tuple[set[str], str]]:
    return [
        (set(InitSettingsSource(cls, flags)()), "flag"),
        (set(EnvSettingsSource(cls, env_prefix=ENV_PREFIX)()), "environment"),
        (set(TomlConfigSettingsSource(cls, config_file())()), str(config_file())),
    ]
