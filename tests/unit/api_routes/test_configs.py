"""The configs folder: what a name may open, and that nothing else is opened by it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from gpuyard.actors.model.errors import InvalidInput
from gpuyard.api.configs import MAX_BYTES, Configs, UnknownConfig

TRUE = 'command = ["true"]\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "configs"
    folder.mkdir()
    (tmp_path / "secret.toml").write_text('command = ["secret"]')
    return folder


def put(root: Path, file: str, text: str = TRUE) -> Path:
    path = root / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.toml", TRUE),
        ("a.json", '{"command": ["true"]}'),
        ("a.yaml", "command: ['true']"),
        ("a/config.toml", TRUE),
        ("a/config.json", '{"command": ["true"]}'),
    ],
)
def test_each_place_of_a_config_is_found(root: Path, file: str, text: str) -> None:
    path = put(root, file, text)
    found = Configs(str(root)).read("a")
    assert found.data == {"command": ["true"]}
    assert found.text == text
    assert found.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert found.folder == str(path.parent)
    assert Configs(str(root)).validate(found) == ([], [])


def test_the_order_of_looking_up_is_fixed(root: Path) -> None:
    for file in ("a/config.json", "a/config.toml", "a.yaml", "a.json", "a.toml"):
        put(root, file, json.dumps({"command": [file]}) if file.endswith("json") else TRUE)
        assert Configs(str(root)).read("a").folder == str((root / file).parent)
        assert [listed.file for listed in Configs(str(root)).listing()] == [file]


HOSTILE = [
    "../secret",
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    ".hidden",
    "",
    "a/b",
    "a\\b",
    "a\0",
    "a\n",
    "a b",
    "a%2fb",
    "ａ",
    "é",
    "\ud800",
    "-rf",
    "_a",
    "a" * 129,
    "a" * 100_000,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_before_anything_is_opened(root: Path, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Configs(str(root)).read(name)
    assert caught.value.data["field"] == "config_name"


@pytest.mark.parametrize("name", ["a..b", "a.", "a...", "a.toml", "config", "a" * 128, "CON", "passwd"])
def test_an_allowed_name_that_is_not_there_is_unknown(root: Path, name: str) -> None:
    put(root, "a.toml")
    with pytest.raises(UnknownConfig):
        Configs(str(root)).read(name)


def test_links_lead_nowhere(root: Path) -> None:
    (root / "file.toml").symlink_to(root.parent / "secret.toml")
    (root / "inner.toml").symlink_to(put(root, "real.toml"))
    outside = root.parent / "outside"
    outside.mkdir()
    put(outside, "config.toml")
    (root / "folder").symlink_to(outside)
    (root / "half").mkdir()
    (root / "half" / "config.toml").symlink_to(root.parent / "secret.toml")
    for name in ("file", "inner", "folder", "half"):
        with pytest.raises(UnknownConfig):
            Configs(str(root)).read(name)
    assert [listed.name for listed in Configs(str(root)).listing()] == ["real"]


def test_what_is_no_plain_file_is_no_config(root: Path) -> None:
    os.mkfifo(root / "pipe.toml")
    (root / "folder.toml").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(UnknownConfig):
            Configs(str(root)).read(name)
    assert Configs(str(root)).listing() == []


def test_a_missing_folder_holds_nothing(tmp_path: Path) -> None:
    for configs in (Configs(""), Configs(str(tmp_path / "none"))):
        assert configs.listing() == []
        with pytest.raises(UnknownConfig):
            configs.read("a")


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("a.toml", "command = [", "not valid TOML"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", "[]", "must hold a table"),
        ("a.json", '{"a": NaN}', "not finite"),
        ("a.json", '{"a": 1e999}', "not finite"),
        ("a.json", '{"a": 99999999999999999999}', "64 bits"),
        ("a.json", '{"a": "\\ud800"}', "not valid Unicode"),
        ("a.json", '{"a": "\\u0000"}', "not valid Unicode"),
        ("a.json", '{"a":' * 5_000 + "1" + "}" * 5_000, "nested too deeply"),
        ("a.json", '{"a": ' + "9" * 5_000 + "}", "digits"),
        ("a.toml", "a = " + "[" * 2_000 + "]" * 2_000, "nested too deeply"),
        ("a.yaml", "a: [" * 2_000, "the file is n"),
        ("a.yaml", "a: &x [1]\nb: [*x, *x]", "aliases"),
        ("a.yaml", "a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("a.yaml", "a: !!binary aGk=", "a value of the kind bytes"),
        ("a.yaml", "a: {", "not valid YAML"),
        ("a.yaml", "", "must hold a table"),
        ("a.toml", "x" * (MAX_BYTES + 1), "larger than 256 KiB"),
    ],
)
def test_a_broken_file_says_what_is_wrong(root: Path, file: str, text: str, problem: str) -> None:
    put(root, file, text)
    found = Configs(str(root)).read("a")
    assert found.problem is not None
    assert problem in found.problem
    assert str(root) not in found.problem


def test_bytes_that_are_no_text(root: Path) -> None:
    (root / "a.toml").write_bytes(b"\xff\xfe")
    assert Configs(str(root)).read("a").problem == "the file is not UTF-8 text"


def test_a_byte_order_mark_is_no_problem(root: Path) -> None:
    (root / "a.json").write_bytes(b'\xef\xbb\xbf{"command": ["true"]}')
    assert Configs(str(root)).read("a").problem is None


def test_times_and_odd_keys_of_yaml_become_json(root: Path) -> None:
    put(root, "a.yaml", "when: 2026-11-22\n7: one\nyes: no\nset: !!set {a, b}\n")
    data = Configs(str(root)).read("a").data
    assert data == {"when": "2026-11-22", "7": "one", "True": False, "set": data["set"]}
    assert sorted(data["set"]) == ["a", "b"]
    json.dumps(data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.text(max_size=200) | st.sampled_from(HOSTILE))
def test_no_name_opens_anything_outside(root: Path, name: str) -> None:
    with pytest.raises((InvalidInput, UnknownConfig)):
        Configs(str(root)).read(name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.sampled_from(["toml", "json", "yaml"]), st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_any_content_is_data_or_a_sentence(root: Path, format: str, content: bytes) -> None:
    (root / f"any.{format}").write_bytes(content)
    found = Configs(str(root)).read("any")
    (root / f"any.{format}").unlink()
    json.dumps(found.data)
    Configs(str(root)).validate(found)
