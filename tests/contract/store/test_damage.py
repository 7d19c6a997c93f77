"""Damage anywhere: the start is refused with the cure named, or every job is there unchanged. Never less in silence."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from gpuyard.actors.model.commands import Commit
from gpuyard.actors.model.errors import DatabaseRefused
from gpuyard.actors.store import admin, groups
from gpuyard.actors.store.database import Database
from gpuyard.actors.store.wal import HEADER, wal_path
from tests.support_store import T0, ended, opened, started, submitted

JOBS = 120
FRAME = 4096 + 24

Content = list[tuple[object, ...]]


def _fill(path: Path, group: int = JOBS) -> None:
    with opened(path) as database:
        for first in range(1, JOBS + 1, group):
            commits = []
            for n in range(first, first + group):
                rows = submitted(n) if n % 2 else (*submitted(n), *started(n, n), *ended(n, n))
                commits.append(Commit(generation=1, number=n, rows=rows))
            assert groups.write(database, commits).done == group


def _content(path: Path) -> Content:
    with opened(path) as database:
        database.snapshot(T0)
        connection = database.connection
        return [
            *connection.execute("SELECT q.*, s.spec FROM queue q LEFT JOIN job_spec s ON s.id = q.id ORDER BY q.id"),
            *connection.execute("SELECT * FROM attempt ORDER BY fence"),
            *connection.execute("SELECT * FROM event ORDER BY id"),
        ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Content]:
    """A cleanly closed database, and all that is in it."""
    path = tmp_path_factory.mktemp("whole") / "jobs.db"
    _fill(path)
    return path, _content(path)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Content]:
    """What `kill -9` leaves: a database whose jobs are all still in the log, one commit each."""
    folder = tmp_path_factory.mktemp("killed")
    path, copy = folder / "jobs.db", folder / "left" / "jobs.db"
    with opened(path) as database:
        for n in range(1, JOBS + 1):
            rows = submitted(n) if n % 2 else (*submitted(n), *started(n, n), *ended(n, n))
            assert groups.write(database, [Commit(generation=1, number=n, rows=rows)]).done == 1
        copy.parent.mkdir()
        shutil.copy(path, copy)
        shutil.copy(wal_path(path), wal_path(copy))
    again = folder / "again" / "jobs.db"
    _copy(copy, again)
    return copy, _content(again)


def _copy(source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, path)
    if wal_path(source).exists():
        shutil.copy(wal_path(source), wal_path(path))


def _refused(path: Path) -> bool:
    """Is the start refused with the cure? A database that opens must be whole by its own check."""
    try:
        with opened(path) as database:
            database.snapshot(T0)
    except DatabaseRefused as error:
        assert "gpuyard db restore BACKUP" in error.detail, error.detail
        return True
    return False


PAGES = range(20)


@pytest.mark.parametrize("turn", PAGES)
def test_a_page_of_garbage(whole: tuple[Path, Content], tmp_path: Path, turn: int) -> None:
    source, content = whole
    path = tmp_path / "jobs.db"
    _copy(source, path)
    size = path.stat().st_size
    chance = random.Random(turn)
    with path.open("r+b") as file:
        file.seek(size // 4096 * turn // len(PAGES) * 4096)
        file.write(chance.randbytes(4096))
    # A page that no table uses may hold anything.
    assert _refused(path) or _content(path) == content


@pytest.mark.parametrize("turn", PAGES)
def test_a_file_cut_short(whole: tuple[Path, Content], tmp_path: Path, turn: int) -> None:
    source, _ = whole
    path = tmp_path / "jobs.db"
    _copy(source, path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size * turn // len(PAGES) + (turn % 3) * 100)
    assert _refused(path)
    assert admin.check(path) != []


@pytest.mark.parametrize("turn", PAGES)
def test_flipped_bytes_are_refused_or_change_no_state(whole: tuple[Path, Content], tmp_path: Path, turn: int) -> None:
    source, content = whole
    path = tmp_path / "jobs.db"
    _copy(source, path)
    size = path.stat().st_size
    chance = random.Random(turn)
    with path.open("r+b") as file:
        at = size * turn // len(PAGES) + chance.randrange(100)
        file.seek(at)
        old = file.read(8)
        file.seek(at)
        file.write(bytes(byte ^ 0xFF for byte in old))
    if not _refused(path):
        # Bytes of a free page, or of a text whose every value is allowed: no job may be missing or in another state.
        if admin.check(path):
            return
        with opened(path) as database:
            states = database.connection.execute("SELECT id, status FROM queue ORDER BY id").fetchall()
        assert states == [(row[0], row[8]) for row in content[:JOBS]]


def test_the_untouched_copies_open(whole: tuple[Path, Content], killed: tuple[Path, Content], tmp_path: Path) -> None:
    for number, (source, content) in enumerate((whole, killed)):
        path = tmp_path / str(number) / "jobs.db"
        _copy(source, path)
        assert not _refused(path)
        assert _content(path) == content
        assert admin.check(path) == []


@pytest.mark.parametrize("turn", PAGES)
def test_a_broken_log_is_refused_unless_only_its_last_commit_is_torn(
    killed: tuple[Path, Content], tmp_path: Path, turn: int
) -> None:
    source, content = killed
    path = tmp_path / "jobs.db"
    _copy(source, path)
    used = _frames_used(path)
    frame = used * turn // len(PAGES)
    with wal_path(path).open("r+b") as file:
        file.seek(HEADER + frame * FRAME + 500)
        file.write(random.Random(turn).randbytes(64))
    before = path.read_bytes(), wal_path(path).read_bytes()
    if _refused(path):
        assert (path.read_bytes(), wal_path(path).read_bytes()) == before
        assert any("write-ahead log is broken" in problem for problem in admin.check(path))
    else:
        assert _content(path) == content


def test_a_broken_header_of_the_log_is_refused(killed: tuple[Path, Content], tmp_path: Path) -> None:
    for at in (0, 8, 13, 20, 30):
        path = tmp_path / str(at) / "jobs.db"
        _copy(killed[0], path)
        with wal_path(path).open("r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 0xFF]))
        with pytest.raises(DatabaseRefused, match="header of its write-ahead log"):
            Database.open(path)


def test_the_torn_last_commit_of_a_power_loss_is_no_damage(killed: tuple[Path, Content], tmp_path: Path) -> None:
    """The log ends in the middle of a transaction: it was never acknowledged, and all before it is there."""
    path = tmp_path / "jobs.db"
    _copy(killed[0], path)
    with wal_path(path).open("r+b") as file:
        last = HEADER + (_frames_used(path) - 1) * FRAME
        file.seek(last + 24 + 100)
        file.write(random.Random(7).randbytes(200))
    with opened(path) as database:
        assert database.connection.execute("SELECT count(*) FROM queue").fetchone() == (JOBS - 1,)


def test_a_log_of_zeros_is_no_damage(whole: tuple[Path, Content], tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    _copy(whole[0], path)
    wal_path(path).write_bytes(bytes(8192))
    assert _content(path) == whole[1]


def test_a_backup_laid_over_a_database_with_a_log_is_refused(killed: tuple[Path, Content], tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    _copy(killed[0], path)
    copied = admin.backup(path, tmp_path / "backup.db")
    shutil.copy(copied.path, path)
    with pytest.raises(DatabaseRefused, match=r"was replaced by hand.*gpuyard db restore BACKUP"):
        Database.open(path)
    assert admin.restore(copied.path, path).jobs == JOBS
    assert len(_content(path)) == len(killed[1])


def _frames_used(path: Path) -> int:
    """Frames of the log's present round: they carry its header's salts."""
    data = wal_path(path).read_bytes()
    count = 0
    while data[HEADER + count * FRAME + 8 : HEADER + count * FRAME + 16] == data[16:24]:
        count += 1
    # The space written in advance has the salts too, but is no part of a commit.
    while data[HEADER + (count - 1) * FRAME + 4 : HEADER + (count - 1) * FRAME + 8] == bytes(4):
        count -= 1
    return count
