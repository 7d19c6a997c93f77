"""Fixtures around the fake library; a conftest takes them with `from tests.fake_nvml.fixtures import …`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fake_nvml import Script, build, compiler


@pytest.fixture(scope="session")
def fake_nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled library; skips where there is no C compiler."""
    if compiler() is None:
        pytest.skip("no C compiler (gcc or cc) to build the fake NVIDIA library with")
    return build(tmp_path_factory.mktemp("fake_nvml"))


@pytest.fixture
def script(fake_nvml_library: Path, tmp_path: Path) -> Script:
    """A driver without GPUs; the test adds them."""
    return Script(tmp_path / "gpus.txt", fake_nvml_library)
