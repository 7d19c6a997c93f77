"""Power loss in short; `tools/powerloss.py` loses it more often. And the disk that forgets is itself right."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fire.disk import Disk, Record, recorder
from tests.fire.powerloss import Trial


def test_every_acknowledgement_survives_a_power_loss_at_its_moment(tmp_path: Path) -> None:
    library = recorder(tmp_path)
    if library is None:
        pytest.skip("no C compiler (gcc or cc): what the server writes cannot be recorded")
    report = Trial(tmp_path, library, images=12).run()
    assert report.ok, str(report)
    assert report.figures["images"] == "12"


class TestDisk:
    """Records as the recorder writes them, by hand."""

    @staticmethod
    def _disk(*steps: tuple[str, int, bytes]) -> Disk:
        disk = Disk()
        for kind, offset, data in steps:
            disk.follow(Record(kind, 7, offset, data, "/d/jobs.db", 0))
        return disk

    def _left(self, disk: Disk, folder: Path, chance: random.Random | None = None) -> dict[str, bytes]:
        disk.image(folder, chance)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def test_a_name_whose_folder_was_not_synced_is_gone(self, tmp_path: Path) -> None:
        disk = self._disk(("C", 0, b""), ("W", 0, b"abc"), ("B", 1, b""), ("E", 1, b""))
        assert self._left(disk, tmp_path) == {}

    def test_only_what_was_written_before_a_sync_began_survives_it(self, tmp_path: Path) -> None:
        named = (("C", 0, b""), ("b", 1, b""), ("e", 1, b""))
        disk = self._disk(*named, ("W", 0, b"abc"), ("B", 1, b""), ("W", 3, b"def"), ("E", 1, b""))
        assert self._left(disk, tmp_path) == {"jobs.db": b"abc"}
        left = {self._left(disk, tmp_path, random.Random(seed))["jobs.db"] for seed in range(20)}
        assert left == {b"abc", b"abcdef"}

    def test_two_syncs_at_once_settle_what_each_saw(self, tmp_path: Path) -> None:
        named = (("C", 0, b""), ("b", 1, b""), ("e", 1, b""))
        disk = self._disk(
            *named, ("W", 0, b"abc"), ("B", 1, b""), ("W", 0, b"ABCD"), ("B", 2, b""), ("T", 2, b""), ("E", 1, b"")
        )
        assert self._left(disk, tmp_path) == {"jobs.db": b"abc"}
        disk.follow(Record("E", 7, 2, b"", "", 0))
        assert self._left(disk, tmp_path) == {"jobs.db": b"ABCD"}
