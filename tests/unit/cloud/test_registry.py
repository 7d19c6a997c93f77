"""Which providers there are, and how other packages and settings bring theirs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.cloud import registry
from gpuyard.actors.cloud.provider import NotConfigured
from gpuyard.actors.cloud.settings import CloudSettings
from gpuyard.actors.cloud.simulated import Simulated
from gpuyard.actors.model.cloud_prices import PriceTable
from gpuyard.cli.cloud_settings import allowed_hosts, checked, price_table


class Theirs(Simulated):
    """Another package's provider."""

    given: Mapping[str, Any] = {}

    def __init__(self, settings: Mapping[str, Any], data_dir: Path) -> None:
        super().__init__({}, data_dir)
        type(self).given = settings


class NoProvider:
    def __init__(self, settings: Mapping[str, Any], data_dir: Path) -> None:
        pass


def brought(monkeypatch: pytest.MonkeyPatch, name: str, cls: type[Any]) -> None:
    point = EntryPoint(name, f"{cls.__module__}:{cls.__name__}", "gpuyard.providers")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "gpuyard.providers" else [])


def test_another_package_brings_a_provider_by_entry_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    brought(monkeypatch, "theirs", Theirs)
    settings = CloudSettings(data_dir=tmp_path, providers={"theirs": {"region": "moon"}}, public_url="https://q")
    assert "theirs" in registry.known(settings)
    assert isinstance(registry.open_one("theirs", settings), Theirs)
    assert Theirs.given == {"region": "moon", "public_url": "https://q"}


def test_what_lacks_methods_is_no_provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    brought(monkeypatch, "theirs", NoProvider)
    with pytest.raises(NotConfigured, match="lacks methods"):
        registry.open_one("theirs", CloudSettings(data_dir=tmp_path))


def test_a_name_in_the_settings_that_nobody_brings_is_known_and_not_configured(tmp_path: Path) -> None:
    settings = CloudSettings(data_dir=tmp_path, providers={"moon": {}})
    assert "moon" in registry.known(settings)
    with pytest.raises(NotConfigured, match="entry point"):
        registry.open_one("moon", settings)


@pytest.mark.parametrize("name", ["replicate", "slurm", "ray", "simulated"])
def test_ours_say_what_to_set(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REPLICATE_API_TOKEN", raising=False)
    with pytest.raises(NotConfigured) as caught:
        registry.open_one(name, CloudSettings(data_dir=tmp_path))
    assert len(str(caught.value)) > 20


@pytest.mark.parametrize("name", ["replicate", "slurm", "ray", "simulated"])
def test_a_setting_of_the_wrong_kind_is_no_crash(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "x")
    wrong = {"poll_seconds": "often", "latency": "long"}
    with pytest.raises(NotConfigured):
        registry.open_one(name, CloudSettings(data_dir=tmp_path, providers={name: wrong}))


@pytest.mark.parametrize(
    ("name", "table", "words"),
    [
        ("slurm", {"partitions": "gpu"}, r"\[providers.slurm\] has no setting partitions: do you mean partition\?"),
        ("ray", {"moon": 1}, r"\[providers.ray\] has no setting moon: it takes address, "),
        ("ray", {"address": "head:8265"}, r"address must begin with https:// or http://, not 'head:8265'"),
        ("replicate", {"model": 7}, r"\[providers.replicate\]: .*`\$.model`"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_right(
    name: str, table: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "x")
    with pytest.raises(NotConfigured, match=words):
        registry.open_one(name, CloudSettings(data_dir=tmp_path, providers={name: table}))


@pytest.mark.parametrize("key", ["token", "api_token", "password", "webhook_secret"])
def test_no_secret_stands_in_the_settings(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key}_file"):
        checked({"replicate": {key: "r8_x"}})


def test_prices_and_default_hardware_make_the_table() -> None:
    table = price_table({"slurm": {"prices": {"a100": 2, "h100": 4.5}, "hardware": "a100"}, "ray": {}}, 3.0)
    assert table.estimate("slurm", None, 2, None) == 12.0, "the default hardware for the assumed hours"
    assert table.estimate("slurm", "h100", 0, 3600) == 4.5, "a job without GPUs pays for one"
    assert table.estimate("slurm", "moon", 1, 3600) == 0.0 and table.cost("ray", None, 1, 60) is None
    assert PriceTable(usd_per_hour={"x": {"only": 1.0}}).price("x", None) == 1.0
    with pytest.raises(ValueError, match="slurm"):
        price_table({"slurm": {"prices": {"a100": "dear"}}}, 1.0)


def test_webhooks_may_be_sent_to_the_public_address() -> None:
    assert allowed_hosts(("a",), "https://queue.example.org:8443/x") == ("a", "queue.example.org")
    assert allowed_hosts(("a",), "") == ("a",)
