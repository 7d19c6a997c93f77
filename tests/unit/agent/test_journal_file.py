"""The worker's journal: what was added is there again, whatever tore the file's end; damage is no such thing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from gpuyard.actors.journal.file import NAME, JournalFile
from gpuyard.actors.model.agent.journal import Began, Ended, Entry, Forgotten, Obeyed, Ordered
from gpuyard.actors.model.commands import RunSpec, WantRun
from gpuyard.actors.model.errors import StoreFailed
from tests.support_disk import fill, small_disk

WANT = WantRun(
    run=RunSpec(fence=5, job_id="job", attempt=2, argv=("train", "--name", "Grüße\nzwei"), env={"A": "1"}),
    host="w1",
    lease_seconds=60.0,
    lease_until=1234.5,
)
ENTRIES: list[Entry] = [
    Began("journal"),
    Obeyed("db", 3),
    Ordered(want=WANT, spec_hash="h", incarnation="boot"),
    Ended(5, "cancelled", "never started", 1_700_000_000.25),
    Forgotten(5),
]


def loaded(folder: Path) -> list[Entry]:
    file = JournalFile(folder)
    entries = file.load()
    file.close()
    return entries


def written(folder: Path, entries: list[Entry] = ENTRIES) -> Path:
    file = JournalFile(folder)
    file.load()
    for entry in entries:
        file.append([entry])
    file.close()
    return folder / NAME


def test_a_new_one_is_empty_and_for_us_alone(tmp_path: Path) -> None:
    assert loaded(tmp_path) == []
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_what_was_added_is_there_again(tmp_path: Path) -> None:
    written(tmp_path)
    assert loaded(tmp_path) == ENTRIES
    file = JournalFile(tmp_path)
    file.load()
    file.append([Forgotten(6), Forgotten(7)])
    assert file.lines == len(ENTRIES) + 2
    file.close()
    assert loaded(tmp_path)[-2:] == [Forgotten(6), Forgotten(7)]


@settings(max_examples=60)
@given(cut=st.integers(min_value=0, max_value=2_000))
def test_a_torn_end_is_cut_off_and_written_over(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("journal")
    path = written(folder)
    data = path.read_bytes()
    torn = data[: min(cut, len(data))]
    path.write_bytes(torn)
    whole = torn.count(b"\n")
    assert loaded(folder) == ENTRIES[:whole]
    file = JournalFile(folder)
    file.load()
    file.append([Forgotten(9)])
    file.close()
    assert loaded(folder) == [*ENTRIES[:whole], Forgotten(9)]


def test_a_last_line_of_rubbish_was_promised_to_nobody(tmp_path: Path) -> None:
    path = written(tmp_path)
    with path.open("ab") as file:
        file.write(b"\0" * 100 + b"\n")
    assert loaded(tmp_path) == ENTRIES


@pytest.mark.parametrize("position", [0, 20, 200])
def test_damage_in_the_middle_is_refused_with_what_to_do(tmp_path: Path, position: int) -> None:
    path = written(tmp_path)
    data = bytearray(path.read_bytes())
    data[position] ^= 0x01
    path.write_bytes(data)
    with pytest.raises(StoreFailed, match="damaged: move the file away"):
        loaded(tmp_path)
    assert path.read_bytes() == data, "nothing was changed"


def test_a_new_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    written(tmp_path)
    file = JournalFile(tmp_path)
    file.load()
    file.replace(ENTRIES[:2])
    file.append([Forgotten(8)])
    assert file.lines == 3
    file.close()
    assert loaded(tmp_path) == [*ENTRIES[:2], Forgotten(8)]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_full_disk_tears_nothing_and_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as folder:
        file = JournalFile(folder)
        file.load()
        file.append(ENTRIES)
        ballast = fill(folder)
        big = [Ordered(want=WANT, spec_hash="x" * 5_000, incarnation="boot")]
        with pytest.raises(StoreFailed, match="could not be written"):
            file.append(big)
        ballast.unlink()
        file.append([Forgotten(7)])
        assert loaded(folder) == [*ENTRIES, Forgotten(7)]
        file.append(big)
        file.close()
        assert loaded(folder) == [*ENTRIES, Forgotten(7), *big]


def test_a_failed_sync_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = JournalFile(tmp_path)
    file.load()

    def refuse(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse)
        with pytest.raises(StoreFailed):
            file.append([Forgotten(1)])
    file.append([Forgotten(2)])
    file.close()
    assert loaded(tmp_path) == [Forgotten(2)]
