"""Some hundred requests made from the OpenAPI document; `tools/fuzz.py` makes thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fire.fuzz import Fuzzer, served

pytestmark = pytest.mark.e2e


def test_no_request_makes_a_5xx_an_undocumented_status_or_another_shape(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        report = Fuzzer(server.url, 200).run()
        assert report.ok, str(report)
        assert report.requests == 200
        assert len(report.operations) > 35
        assert {200, 404, 422} <= set(report.statuses)
        assert server.get("/readyz").status == 200
