from collections.abc import Iterator

import pytest

from tests import leaks
from tests.fake_nvml.fixtures import fake_nvml_library, script

__all__ = ["fake_nvml_library", "script"]


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()
