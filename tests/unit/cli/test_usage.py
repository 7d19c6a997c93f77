"""`gpuyard usage` against a real HTTP server."""

from __future__ import annotations

import time
from typing import Any

from tests.unit.cli.conftest import Gpuyard
from tests.unit.cli.recorder import Answer, Recorder

LINE: dict[str, Any] = {
    "period": "2026-11",
    "user_id": 2,
    "username": "ann",
    "team_id": "red",
    "place": None,
    "runs": 41,
    "running": 1,
    "run_hours": 61.5,
    "gpu_hours": 123.004,
    "gpu_seconds": 442_814.4,
}
REPORT = {
    "first": "2026-11-01",
    "last": "2026-11-22",
    "period": "month",
    "by": ["user", "team"],
    "lines": [LINE, {**LINE, "user_id": 3, "username": None, "team_id": "=HYPERLINK(1)"}],
    "runs": 82,
    "gpu_hours": 246.0,
}


def test_a_table_for_people_and_a_csv_for_accounting(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/usage", Answer(REPORT))
    words = ["--by", "user,team", "--period", "month", "--from", "2026-11-01", "--to", "2026-11-22", "--user", "2"]
    result = gpuyard("usage", *words, "--team", "red")
    assert server.asked[0].query == {
        "by": "user,team",
        "period": "month",
        "from": "2026-11-01",
        "to": "2026-11-22",
        "user_id": "2",
        "team_id": "red",
    }
    for word in ("2026-11", "ann", "user 3", "red", "41", "61.50", "123.00"):
        assert word in result.stdout
    assert "246 GPU-hours from 2026-11-01 to 2026-11-22" in result.stderr
    csv = gpuyard("usage", "--by", "user,team", "--format", "csv").stdout.splitlines()
    assert csv[0] == "period,user_id,username,team_id,place,runs,running,run_hours,gpu_hours,gpu_seconds"
    assert csv[1] == "2026-11,2,ann,red,,41,1,61.5,123.004,442814.4"
    assert "'=HYPERLINK(1)" in csv[2], "no formula for a spreadsheet"


def test_the_last_days_and_one_sum(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/usage", Answer({**REPORT, "lines": []}))
    result = gpuyard("usage", "--by", "none", "--last", "7d")
    assert result.exit_code == 0
    first = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 6 * 86_400))
    assert server.asked[0].query == {"by": ",", "period": "total", "from": first}
    assert gpuyard("usage", "--by", "job").exit_code == 2
    assert gpuyard("usage", "--last", "7d", "--from", "2026-01-01").exit_code == 2
    assert gpuyard("usage", "--format", "json").stdout == "[]\n"
