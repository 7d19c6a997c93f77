"""The log: a file that survives everybody, has a cap, and is read in pieces."""

from __future__ import annotations

import pytest

from gpuyard.actors.base import Context, Directory, start
from gpuyard.actors.log_reader import LONGEST_CHUNK, LogReader
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import ReadLog, Ready
from gpuyard.actors.model.errors import NotFound
from gpuyard.actors.model.message import Shutdown
from gpuyard.actors.model.views import LogChunk
from tests.keeper.host import Host
from tests.support import eventually


class Reader:
    def __init__(self, host: Host) -> None:
        self._directory = Directory()
        self.ref = start(LogReader, Context(names.LOGS, directory=self._directory), host.data_dir)

    def read(self, fence: int, offset: int | None = None, limit: int = 65_536) -> LogChunk:
        message = ReadLog(fence=fence, offset=offset, limit=limit)
        chunk: LogChunk = self._directory.ref(names.LOGS).ask(message).result(10)
        return chunk

    def is_ready(self) -> bool:
        return self._directory.ref(names.LOGS).ask(Ready()).result(10) is True

    def stop(self) -> None:
        self.ref.tell(Shutdown())
        eventually(lambda: not self.ref.is_alive())


def test_a_log_is_read_in_pieces_while_it_grows(host: Host) -> None:
    host.shell("printf 'first line\\nsecond'; while [ ! -e go ]; do sleep 0.05; done; echo ' line'")
    host.wait_for_log("second")
    reader = Reader(host)
    try:
        assert reader.is_ready()
        assert reader.read(1) == LogChunk(data=b"first line\nsecond", offset=0, end=17, size=17)
        assert reader.read(1, limit=6) == LogChunk(data=b"second", offset=11, end=17, size=17)
        assert reader.read(1, offset=6, limit=4) == LogChunk(data=b"line", offset=6, end=10, size=17)
        assert reader.read(1, offset=17) == LogChunk(data=b"", offset=17, end=17, size=17)
        assert reader.read(1, offset=10**15) == LogChunk(data=b"", offset=17, end=17, size=17)
        (host.job() / "go").touch()
        host.end()
        assert reader.read(1, offset=17).data == b" line\n"
        with pytest.raises(NotFound):
            reader.read(2)
    finally:
        reader.stop()


def test_an_answer_is_bounded(host: Host) -> None:
    host.shell("head -c 3000000 /dev/zero")
    host.end()
    reader = Reader(host)
    try:
        assert len(reader.read(1, offset=0, limit=10**9).data) == LONGEST_CHUNK
        assert len(reader.read(1, offset=None, limit=10**9).data) == LONGEST_CHUNK
        assert reader.read(1, offset=0, limit=-5).data == b""
    finally:
        reader.stop()


def test_a_log_past_its_cap_keeps_its_head_and_its_end_and_harms_nobody(cold_host: Host) -> None:
    cold_host.boot(log_cap_mb=2)
    cold_host.python(
        "import sys\n"
        "print('the beginning', flush=True)\n"
        "for n in range(400):\n"
        "    print('x' * 100_000, flush=True)\n"
        "print('no room')\n"
        "raise ValueError('the very end')\n"
    )
    end = cold_host.end()
    assert (end.exit_class, end.exit_code) == ("exit:1", 1)
    assert end.message == "exit code 1: ValueError: the very end"
    log = cold_host.log()
    assert log.startswith("the beginning\n") and log.endswith("ValueError: the very end\n")
    assert log.count("[gpuyard] the log passed its cap of 2 MB: from here on only its end is kept") == 1
    assert len(log) < (2 << 20) + 200_000


def test_a_log_that_goes_on_past_its_cap_stays_bounded(cold_host: Host) -> None:
    cold_host.boot(log_cap_mb=1)
    cold_host.python(
        "import os\n"
        "n = 0\n"
        "while not os.path.exists('go'):\n"
        "    n += 1\n"
        "    os.write(1, b'%d %s\\n' % (n, b'y' * 50_000))\n"
        "    if n % 100 == 0:\n"
        "        open('written', 'w').write(str(n * 50_000))\n"
    )
    written = cold_host.job() / "written"
    eventually(lambda: written.exists() and int(written.read_text() or 0) > 100_000_000, 60)
    (cold_host.job() / "go").touch()
    assert cold_host.end().exit_class == "completed"
    assert (cold_host.folder() / "log").stat().st_size < (1 << 20) + 17 * 65_536 + 200_000
    assert cold_host.log().count("[gpuyard]") == 1
