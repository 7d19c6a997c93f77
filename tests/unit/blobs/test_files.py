"""Blobs as files: named by their content, whole or not there at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from gpuyard.actors.blobs.digest import DIGEST_BYTES, PIECE, blob_name, digests, piece_count, piece_digest
from gpuyard.actors.blobs.files import YOUNG_SECONDS, BlobFiles
from gpuyard.actors.model.errors import InvalidInput, NotFound

SIZES = [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7]


@pytest.fixture
def files(tmp_path: Path) -> BlobFiles:
    return BlobFiles(tmp_path / "blobs")


def source(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "source"
    path.write_bytes(data)
    return path


def content(size: int) -> bytes:
    return bytes(i * 7 % 251 for i in range(size % PIECE)) + b"\x01" * (size - size % PIECE)


@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_taken_in_and_arrives_elsewhere_piece_by_piece(tmp_path: Path, files: BlobFiles, size: int) -> None:
    data = content(size)
    blob, taken = files.take(source(tmp_path, data), limit=size)
    assert taken == size == files.size(blob) and files.path(blob).read_bytes() == data
    length, pieces = files.pieces(blob)
    assert length == size and len(pieces) == DIGEST_BYTES * piece_count(size) and blob_name(size, pieces) == blob
    there = BlobFiles(tmp_path / "there")
    arriving = there.arriving(blob, length, pieces)
    for index in sorted(arriving.missing, reverse=True):
        assert there.size(blob) is None, "nothing shows before it is whole"
        arriving.put(index, files.piece(blob, index))
    arriving.finish()
    assert there.path(blob).read_bytes() == data and there.pieces(blob) == (length, pieces)
    assert {path.suffix for path in (tmp_path / "there").iterdir()} == {"", ".pieces"}


def test_the_same_content_is_the_same_blob(tmp_path: Path, files: BlobFiles) -> None:
    first = files.take(source(tmp_path, b"x" * 9), 100)
    assert files.take(source(tmp_path, b"x" * 9), 100) == first
    assert len(list((tmp_path / "blobs").iterdir())) == 2


def test_one_that_was_broken_off_goes_on_where_it_was_and_checks_what_is_there(
    tmp_path: Path, files: BlobFiles
) -> None:
    blob, size = files.take(source(tmp_path, content(4 * PIECE + 5)), 1 << 30)
    _, pieces = files.pieces(blob)
    there = BlobFiles(tmp_path / "there")
    first = there.arriving(blob, size, pieces)
    for index in (0, 2, 4):
        first.put(index, files.piece(blob, index))
    with (tmp_path / "there" / f"{blob}.part").open("r+b") as part:
        part.seek(2 * PIECE)
        part.write(b"damaged")
    second = there.arriving(blob, size, pieces)
    assert second.missing == {1, 2, 3}
    for index in list(second.missing):
        second.put(index, files.piece(blob, index))
    second.finish()
    assert there.path(blob).read_bytes() == files.path(blob).read_bytes()


def test_a_longer_rest_of_an_earlier_life_is_cut_off(tmp_path: Path, files: BlobFiles) -> None:
    blob, size = files.take(source(tmp_path, b"short"), 100)
    there = BlobFiles(tmp_path / "there")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / f"{blob}.part").write_bytes(b"long " * 1_000)
    arriving = there.arriving(blob, size, files.pieces(blob)[1])
    arriving.put(0, b"short")
    arriving.finish()
    assert there.path(blob).read_bytes() == b"short"


def test_a_wrong_piece_is_refused_and_may_come_again(tmp_path: Path, files: BlobFiles) -> None:
    blob, size = files.take(source(tmp_path, content(PIECE + 1)), 1 << 30)
    arriving = BlobFiles(tmp_path / "there").arriving(blob, size, files.pieces(blob)[1])
    for wrong in (b"", b"x", files.piece(blob, 1), files.piece(blob, 0) + b"x"):
        with pytest.raises(InvalidInput, match="not what it should be"):
            arriving.put(0, wrong)
    arriving.put(0, files.piece(blob, 0))
    assert arriving.missing == {1}


@pytest.mark.parametrize("lie", ["size", "pieces", "fewer", "huge", "negative"])
def test_a_list_of_pieces_that_is_not_the_names_is_refused(tmp_path: Path, files: BlobFiles, lie: str) -> None:
    blob, size = files.take(source(tmp_path, content(PIECE + 1)), 1 << 30)
    pieces = files.pieces(blob)[1]
    told = {
        "size": (size + 1, pieces),
        "pieces": (size, bytes(len(pieces))),
        "fewer": (size, pieces[:DIGEST_BYTES]),
        "huge": (1 << 60, pieces),
        "negative": (-1, b""),
    }[lie]
    with pytest.raises(InvalidInput):
        BlobFiles(tmp_path / "there").arriving(blob, *told)
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize(
    "name", ["", "..", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n", "0" * 64 + "/x", "\0" * 64]
)
def test_what_is_no_name_is_not_looked_for(files: BlobFiles, name: str) -> None:
    for ask in (files.size, files.pieces, files.path, lambda name: files.piece(name, 0)):
        with pytest.raises(NotFound):
            ask(name)


def test_what_is_not_here_is_not_found(tmp_path: Path, files: BlobFiles) -> None:
    assert files.size("0" * 64) is None
    for ask in (files.pieces, lambda name: files.piece(name, 0)):
        with pytest.raises(NotFound):
            ask("0" * 64)
    blob, _ = files.take(source(tmp_path, b"x"), 9)
    for index in (1, -1, 1 << 40):
        with pytest.raises(NotFound):
            files.piece(blob, index)


def test_only_plain_files_up_to_the_limit_are_taken(tmp_path: Path, files: BlobFiles) -> None:
    with pytest.raises(InvalidInput, match="larger than 4 bytes"):
        files.take(source(tmp_path, b"12345"), 4)
    with pytest.raises(NotFound):
        files.take(tmp_path / "nowhere", 9)
    with pytest.raises(InvalidInput, match="plain file"):
        files.take(tmp_path, 9)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InvalidInput, match="plain file"):
        files.take(tmp_path / "fifo", 9)
    assert list((tmp_path / "blobs").iterdir()) == [], "no draft stays"


def test_only_what_is_old_and_not_needed_is_deleted(tmp_path: Path, files: BlobFiles) -> None:
    needed, young, old = (files.take(source(tmp_path, name), 99)[0] for name in (b"needed", b"young", b"old"))
    for blob in (needed, old):
        for path in (tmp_path / "blobs").glob(f"{blob}*"):
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - YOUNG_SECONDS - 60))
    assert files.keep([needed]) == 1
    assert files.size(old) is None and files.size(needed) == 6 and files.size(young) == 5
    assert len(list((tmp_path / "blobs").iterdir())) == 4


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_two_contents_never_share_a_name(one: bytes, other: bytes) -> None:
    names = [blob_name(len(data), piece_digest(data) if data else b"") for data in (one, other)]
    assert (names[0] == names[1]) == (one == other)
    assert list(digests(piece_digest(one) + piece_digest(other))) == [piece_digest(one), piece_digest(other)]
