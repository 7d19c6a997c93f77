"""REFERENCE.md says what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from gpuyard.api.permissions import RULES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_up_to_date(maker: ModuleType) -> None:
    written = (ROOT / "REFERENCE.md").read_text("utf-8")
    assert written == maker.reference(), "run: python tools/reference.py"


def test_it_tells_of_every_route_and_every_exit_code(maker: ModuleType) -> None:
    page = maker.reference()
    for method, path in RULES:
        first = path.replace(maker.SECOND, maker.FIRST) if (method, path.replace("/cloud", "")) in RULES else path
        documented = path.startswith("/api/") or path in ("/healthz", "/readyz", "/metrics")
        assert f"`{method} {first}`" in page or not documented, path
    assert set(maker.exits.MEANINGS) == set(maker.exits.ExitCode)


def test_the_readme_leads_there() -> None:
    assert "REFERENCE.md" in (ROOT / "README.md").read_text("utf-8")
