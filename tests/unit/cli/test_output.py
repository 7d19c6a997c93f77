"""How answers are written: fields, JSON, CSV, tables."""

from __future__ import annotations

import csv
import io
import json

import pytest

from gpuyard.cli.output import flat, pick, to_json
from gpuyard.cli.tables import Cell, Column, Table, lines
from tests.unit.cli.conftest import Gpuyard
from tests.unit.cli.recorder import Answer, Recorder, job


@pytest.fixture
def jobs(server: Recorder) -> list[dict[str, object]]:
    rows = [
        job("aaaaaaaaaaaa", name="first", metadata={"run_name": "r1", "a.b": 7}, allocated_gpus=[0, 1]),
        job("bbbbbbbbbbbb", name='=cmd|"x"!A1', metadata={}),
    ]
    server.on("GET", "/api/jobs", Answer({"jobs": rows, "total": 2}))
    return rows


def test_dot_paths() -> None:
    item = {"a": {"b": {"c": 1}, "b.d": 2}, "list": [{"x": 5}], "e.f": 3}
    assert pick(item, "a.b.c") == 1
    assert pick(item, "a.b.d") == 2
    assert pick(item, "e.f") == 3
    assert pick(item, "list.0.x") == 5
    for missing in ("nope", "a.nope", "a.b.c.d", "list.1.x", "list.x", ""):
        assert pick(item, missing) is None


def test_json_with_fields_has_flat_keys_and_null_for_what_is_missing(gpuyard: Gpuyard, jobs: list[object]) -> None:
    result = gpuyard("jobs", "list", "--format", "json", "-o", "job_id,metadata.run_name", "-o", "metadata.a.b")
    assert json.loads(result.stdout) == [
        {"job_id": "aaaaaaaaaaaa", "metadata.run_name": "r1", "metadata.a.b": 7},
        {"job_id": "bbbbbbbbbbbb", "metadata.run_name": None, "metadata.a.b": None},
    ]


def test_json_without_fields_is_the_answer_itself(gpuyard: Gpuyard, jobs: list[object]) -> None:
    assert json.loads(gpuyard("jobs", "list", "--format", "json").stdout) == jobs


def test_jsonl_is_one_object_a_line(gpuyard: Gpuyard, jobs: list[object]) -> None:
    result = gpuyard("jobs", "list", "--format", "jsonl", "-o", "job_id")
    assert [json.loads(line)["job_id"] for line in result.stdout.splitlines()] == ["aaaaaaaaaaaa", "bbbbbbbbbbbb"]


def test_an_empty_list_is_a_pair_of_brackets(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/jobs", Answer({"jobs": [], "total": 0}))
    assert gpuyard("jobs", "list", "--format", "json").stdout == "[]\n"
    assert gpuyard("jobs", "list", "--format", "json", "-o", "job_id").stdout == "[]\n"
    assert gpuyard("jobs", "list", "--format", "jsonl").stdout == ""
    table = gpuyard("jobs", "list")
    assert (table.stdout, table.stderr) == ("", "no jobs\n")


def test_csv_does_not_run_in_a_spreadsheet(gpuyard: Gpuyard, jobs: list[object]) -> None:
    result = gpuyard("jobs", "list", "--format", "csv", "-o", "job_id,name,allocated_gpus,metadata,estimated_cost")
    rows = list(csv.reader(io.StringIO(result.stdout)))
    assert rows[0] == ["job_id", "name", "allocated_gpus", "metadata", "estimated_cost"]
    assert rows[1] == ["aaaaaaaaaaaa", "first", "0,1", '{"run_name": "r1", "a.b": 7}', "0.0"]
    assert rows[2][1] == '\'=cmd|"x"!A1'


def test_csv_keeps_numbers_as_numbers(gpuyard: Gpuyard, server: Recorder) -> None:
    server.on("GET", "/api/jobs", Answer({"jobs": [job(exit_code=-11, name="-11")], "total": 1}))
    result = gpuyard("jobs", "list", "--format", "csv", "-o", "exit_code,name")
    assert result.stdout == "exit_code,name\n-11,'-11\n"


def test_a_table_of_fields(gpuyard: Gpuyard, jobs: list[object]) -> None:
    result = gpuyard("jobs", "list", "-o", "job_id,allocated_gpus,exit_code")
    assert result.stdout.splitlines() == [
        "JOB_ID        ALLOCATED_GPUS  EXIT_CODE",
        "aaaaaaaaaaaa  0,1             -",
        "bbbbbbbbbbbb  -               -",
    ]


def test_a_field_that_nothing_has_is_pointed_out(gpuyard: Gpuyard, jobs: list[object]) -> None:
    result = gpuyard("jobs", "list", "--format", "json", "-o", "job_id,statsu")
    assert "'statsu'" in result.stderr
    assert json.loads(result.stdout)[0] == {"job_id": "aaaaaaaaaaaa", "statsu": None}


def test_hostile_names_are_harmless_in_tables_and_json(gpuyard: Gpuyard, server: Recorder) -> None:
    hostile = "\x1b]0;owned\x07\u202egpj.exe\x9b2J"
    server.on("GET", "/api/jobs", Answer({"jobs": [job(name=hostile)], "total": 1}))
    for args in ([], ["--format", "json"], ["-o", "name"]):
        text = gpuyard("jobs", "list", *args).stdout
        assert not any(char in text for char in "\x1b\x07\u202e\x9b"), args
    assert json.loads(gpuyard("jobs", "list", "--format", "json").stdout)[0]["name"] == hostile


def test_json_with_half_a_surrogate_can_be_printed() -> None:
    assert json.loads(to_json({"a": "\ud83d"})) == {"a": "\ud83d"}
    to_json({"a": "\ud83d"}).encode()


def test_flat_values() -> None:
    assert [flat(value) for value in (None, True, [0, 1], [], {"a": [1]}, 0.5)] == [
        "",
        "true",
        "0,1",
        "",
        '{"a": [1]}',
        "0.5",
    ]


TABLE = Table(
    [Column("job", keep=True), Column("name"), Column("n", right=True), Column("why")],
    [
        ["aaaaaaaaaaaa", "a-rather-long-name-of-a-config", "5", "GPUs 0,1,2,3 are busy with job bbbbbbbbbbbb"],
        ["cccccccccccc", "\u65e5\u672c\u8a9e", "12", Cell("x", "red")],
    ],
)


@pytest.mark.parametrize("room", [120, 80, 60, 50])
def test_a_table_fits_the_terminal_and_never_cuts_an_id(room: int) -> None:
    shown = list(lines(TABLE, room=room, colour=False))
    from gpuyard.cli.terminal import cells

    assert all(cells(line) <= room for line in shown)
    assert shown[1].startswith("aaaaaaaaaaaa  ")
    assert shown[2].startswith("cccccccccccc  ")


def test_in_a_very_narrow_terminal_the_id_is_still_whole() -> None:
    assert list(lines(TABLE, room=10, colour=False))[1].startswith("aaaaaaaaaaaa")


def test_a_pipe_gets_everything_and_no_colour() -> None:
    shown = list(lines(TABLE, room=None, colour=False))
    assert shown[1].endswith("GPUs 0,1,2,3 are busy with job bbbbbbbbbbbb")
    assert "\x1b" not in "".join(shown)
    assert "\x1b[31mx\x1b[0m" in "".join(lines(TABLE, room=None, colour=True))
