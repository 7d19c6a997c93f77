"""What a config sends along is found below its own folder, bounded, and never through a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gpuyard.api import jobfiles
from gpuyard.api.jobfiles import Unusable, look


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "configs"
    (made / "lib" / "deep").mkdir(parents=True)
    (made / "train.py").write_text("print()")
    (made / "lib" / "a.py").write_text("aa")
    (made / "lib" / "deep" / "go").write_text("#!/bin/sh")
    (made / "lib" / "deep" / "go").chmod(0o755)
    (tmp_path / "secret").write_text("s")
    return made


def test_files_and_whole_folders_by_their_names_there(folder: Path) -> None:
    found = {file.name: file for file in look(folder, ("train.py", "lib", "lib/a.py"))}
    assert set(found) == {"train.py", "lib/a.py", "lib/deep/go"}
    assert (found["lib/a.py"].size, found["lib/a.py"].executable) == (2, False)
    assert found["lib/deep/go"].executable and found["train.py"].path == str(folder / "train.py")


@pytest.mark.parametrize("name", ["link", "lib/link", "out/secret"])
def test_no_link_is_followed(folder: Path, name: str) -> None:
    (folder / "link").symlink_to("train.py")
    (folder / "lib" / "link").symlink_to("../../secret")
    (folder / "out").symlink_to("..")
    with pytest.raises(Unusable, match="is a link, which is not followed"):
        look(folder, (name,))
    with pytest.raises(Unusable, match="lib/link is a link"):
        look(folder, ("lib",))


def test_what_is_missing_or_no_file_is_named(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(Unusable, match=r"gone\.py: no such file or directory"):
        look(folder, ("gone.py",))
    with pytest.raises(Unusable, match="pipe is no plain file"):
        look(folder, ("pipe",))


def test_too_many_and_too_much(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(jobfiles, "MOST_FILES", 2)
        with pytest.raises(Unusable, match="more than 2 files"):
            look(folder, ("train.py", "lib"))
    with (folder / "huge").open("wb") as file:
        file.truncate(jobfiles.MOST_BYTES)
    with pytest.raises(Unusable, match="more than 1 GiB together"):
        look(folder, ("huge", "train.py"))
