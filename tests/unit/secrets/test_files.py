"""Secrets on the disk: for this user alone, whole or not there, and what is said about them holds no value."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from gpuyard.actors.model import secrets
from gpuyard.actors.model.errors import InvalidInput, NotFound, StoreFailed
from gpuyard.actors.secrets.files import SecretFiles

VALUE = "canary-" + "x" * 40


@pytest.fixture
def files(tmp_path: Path) -> SecretFiles:
    return SecretFiles(tmp_path / "secrets")


def put(files: SecretFiles, name: str, value: str = VALUE, variable: str = "", owner: int = 1) -> None:
    files.put(owner, name, value, variable, 1_000.0, "ann")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_each_is_a_file_for_this_user_alone(files: SecretFiles, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o755)
    old = os.umask(0)
    try:
        put(files, "hf")
        put(files, "hf", "again")
    finally:
        os.umask(old)
    assert mode(tmp_path / "secrets") == mode(tmp_path / "secrets/1") == 0o700
    assert [path.name for path in (tmp_path / "secrets/1").iterdir()] == ["hf"]
    assert mode(tmp_path / "secrets/1/hf") == 0o600


def test_a_run_gets_it_in_its_variable_and_its_use_is_noted(files: SecretFiles) -> None:
    put(files, "hf", variable="HF_TOKEN")
    put(files, "wandb", "w")
    assert [view.last_used_at for view in files.list(1)] == [None, None]
    assert files.fetch(1, ["hf"], 2_000.5).env == {"HF_TOKEN": VALUE}
    views = {view.name: view for view in files.list(1)}
    assert views["hf"].last_used_at == "1970-01-01T00:33:20.500Z" and views["wandb"].last_used_at is None
    assert (views["wandb"].variable, views["hf"].set_by, views["hf"].set_at) == (
        "WANDB",
        "ann",
        "1970-01-01T00:16:40.000Z",
    )
    assert VALUE not in repr(views) + repr(files.fetch(1, ["hf"], 1.0))


def test_a_new_value_keeps_the_variable_and_begins_unused(files: SecretFiles) -> None:
    put(files, "hf", variable="HF_TOKEN")
    files.fetch(1, ["hf"], 2_000.0)
    put(files, "hf", "new")
    assert files.list(1)[0].last_used_at is None
    assert files.fetch(1, ["hf"], 2_000.0).env == {"HF_TOKEN": "new"}


def test_everybody_has_their_own(files: SecretFiles) -> None:
    put(files, "hf")
    assert files.list(2) == []
    assert files.why_not(2, ["hf"]) == secrets.missing(["hf"])
    with pytest.raises(NotFound, match="gpuyard secrets set hf"):
        files.fetch(2, ["hf"], 1.0)
    put(files, "hf", "bob's", owner=2)
    assert files.fetch(1, ["hf"], 1.0).env == {"HF": VALUE}


def test_what_is_missing_and_what_clashes_is_said_in_a_sentence(files: SecretFiles) -> None:
    put(files, "a", variable="TOKEN")
    put(files, "b", variable="TOKEN")
    assert files.why_not(1, ["a"]) == ""
    assert "a and b would both be TOKEN" in files.why_not(1, ["a", "b"])
    assert files.why_not(1, ["a", "c", "d"]) == (
        "there are no secrets c, d of yours: `gpuyard secrets set NAME`, then submit again"
    )


def test_deleted_is_gone_and_so_is_all_of_who_leaves(files: SecretFiles, tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(files, name)
    assert files.delete(1, "a").name == "a"
    with pytest.raises(NotFound):
        files.delete(1, "a")
    files.forget(1)
    files.forget(1)
    assert files.list(1) == [] and not (tmp_path / "secrets/1").exists()


def test_there_is_a_most(files: SecretFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "MOST", 2)
    put(files, "a")
    put(files, "b")
    put(files, "b", "replaced")
    with pytest.raises(InvalidInput, match="2 secrets already"):
        put(files, "c")


def test_a_damaged_file_and_a_disk_that_refuses_say_so_without_a_value(files: SecretFiles, tmp_path: Path) -> None:
    put(files, "hf")
    (tmp_path / "secrets/1/hf").write_text('{"value": "' + VALUE)
    with pytest.raises(StoreFailed, match="secret hf is damaged: set it again") as refused:
        files.fetch(1, ["hf"], 1.0)
    assert VALUE not in str(refused.value)
    (tmp_path / "secrets/1/hf").unlink()
    (tmp_path / "secrets/1/hf").mkdir()
    with pytest.raises(StoreFailed, match="cannot be kept or read") as refused:
        put(files, "hf")
    assert VALUE not in str(refused.value)


def test_a_link_in_the_place_of_the_file_is_replaced_not_followed(files: SecretFiles, tmp_path: Path) -> None:
    put(files, "hf")
    target = tmp_path / "outside"
    target.write_text("untouched")
    for name in ("hf", ".hf.new"):
        (tmp_path / "secrets/1" / name).unlink(missing_ok=True)
    (tmp_path / "secrets/1/hf").symlink_to(target)
    (tmp_path / "secrets/1/.hf.new").symlink_to(target)
    with pytest.raises(StoreFailed):
        put(files, "hf")
    assert target.read_text() == "untouched"


@given(st.text(max_size=70))
def test_no_name_leaves_the_folder(name: str) -> None:
    try:
        found = secrets.name(name)
    except ValueError:
        return
    assert found == name and name.isidentifier() and name.isascii() and len(name) <= 64


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a.b", "-a", "1a", "a\n", "ä", "a" * 65, None, 5])
def test_what_is_no_name(name: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        secrets.name(name)


@pytest.mark.parametrize("value", ["", "\0", "a\0b", "x" * 16_385, "ü" * 8_193, "\ud800", None, 5])
def test_what_is_no_value(value: object) -> None:
    with pytest.raises(ValueError, match="must"):
        secrets.content(value)


@pytest.mark.parametrize("variable", ["CUDA_VISIBLE_DEVICES", "GPUYARD_TOKEN", "a b", "A=B", "", 5])
def test_what_is_no_variable(variable: object) -> None:
    with pytest.raises(ValueError):
        secrets.variable(variable)
