"""Files that come with a run lie in its job's folder before it starts; one that cannot be had is said, not left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpuyard.actors.base import LATER, Actor, Context, Reply, start
from gpuyard.actors.keeper.program.lease import boottime
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import FetchBlob, RenewLeases, RunSpec, WantRun
from gpuyard.actors.model.errors import NotFound
from gpuyard.actors.model.events import AttemptExited
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.sent_file import SentFile
from gpuyard.actors.model.views import BlobFetched
from tests.keeper.host import Host
from tests.support import eventually


class Shelf(Actor):
    """Has blobs at once, later (when `asked` is answered by the test), or not at all."""

    def __init__(self, context: Context, folder: Path, asked: dict[str, Reply]) -> None:
        super().__init__(context)
        self._folder = folder
        self._asked = asked

    def handle(self, message: Message, reply: Reply | None) -> Any:
        assert isinstance(message, FetchBlob) and reply is not None
        if message.blob.startswith("late"):
            self._asked[message.blob] = reply
            return LATER
        path = self._folder / message.blob
        if not path.exists():
            raise NotFound(f"blob {message.blob} is not here")
        return BlobFetched(blob=message.blob, path=str(path), size=path.stat().st_size)


def shelf(host: Host, tmp_path: Path, **blobs: str) -> dict[str, Reply]:
    folder = tmp_path / "blobs"
    folder.mkdir()
    for name, text in blobs.items():
        (folder / name).write_text(text)
    asked: dict[str, Reply] = {}
    ref = start(Shelf, Context(names.BLOBS, directory=host.directory), folder, asked)
    host.also(ref)
    return asked


def sent(**files: str) -> dict[str, SentFile]:
    return {name.replace("__", "/"): SentFile(blob=blob, size=1) for name, blob in files.items()}


def test_they_are_there_when_it_starts(host: Host, tmp_path: Path) -> None:
    shelf(host, tmp_path, a="print('from the file')\n", b="#!/bin/sh\necho from the script\n")
    files = {
        "train.py": SentFile(blob="a", size=1),
        "bin/go": SentFile(blob="b", size=1, executable=True),
    }
    host.shell("python3 train.py && bin/go && ls -d $GPUYARD_JOB_DIR/train.py", sent=files)
    assert host.end().exit_class == "completed", host.log()
    assert host.log().splitlines()[:2] == ["from the file", "from the script"]


def test_a_later_attempt_gets_them_anew(host: Host, tmp_path: Path) -> None:
    shelf(host, tmp_path, a="one\n")
    for fence in (1, 2):
        argv = ("/bin/sh", "-c", "cat f; echo two > f")
        host.tell(WantRun(run=RunSpec(fence=fence, job_id="job1", attempt=fence, argv=argv, sent=sent(f="a"))))
        assert host.end(fence).exit_class == "completed"
        assert host.log(fence) == "one\n"
    assert (tmp_path / "blobs" / "a").read_text() == "one\n", "the content itself is never written to"


def test_one_that_cannot_be_had_is_final(host: Host, tmp_path: Path) -> None:
    shelf(host, tmp_path, a="x")
    host.shell("touch ran", sent=sent(a="a", b="gone"))
    end = host.end()
    assert (end.exit_class, end.started_at) == ("start_failed", None)
    assert end.message == "file 'b' could not be had: blob gone is not here"
    assert not (host.job() / "ran").exists()


def test_who_has_them_may_be_away_for_a_while(host: Host, tmp_path: Path) -> None:
    host.shell("cat f", sent=sent(f="a"))
    host.tell_ping()  # there is nobody to ask yet
    shelf(host, tmp_path, a="at last\n")
    assert host.end().exit_class == "completed" and host.log() == "at last\n"


def test_a_name_that_leads_out_is_refused(host: Host, tmp_path: Path) -> None:
    shelf(host, tmp_path, a="x")
    host.shell("touch ran", sent={"../escaped": SentFile(blob="a", size=1)})
    assert "would lie outside the job's folder" in host.end().message
    assert not (host.data_dir / "jobs" / "escaped").exists()


def test_a_stop_while_they_are_on_their_way(host: Host, tmp_path: Path) -> None:
    asked = shelf(host, tmp_path)
    host.shell("touch ran", sent=sent(a="late"))
    eventually(lambda: asked)
    host.stop()
    assert host.end().exit_class == "cancelled"
    asked["late"].set_result(BlobFetched(blob="late", path="/nowhere", size=1))
    host.shell("true", fence=2)
    host.end(2)
    assert not (host.job() / "ran").exists() and len(host.all(AttemptExited, 1)) == 1


def test_the_lease_is_as_it_is_when_they_have_come(host: Host, tmp_path: Path) -> None:
    asked = shelf(host, tmp_path, a="x")
    first = boottime() + 1.0
    argv = ("/bin/sh", "-c", "echo up; while :; do sleep 0.1; done")
    spec = RunSpec(fence=1, job_id="job1", attempt=1, argv=argv, sent=sent(f="late"))
    host.tell(WantRun(run=spec, lease_seconds=1.0, lease_until=first))
    eventually(lambda: asked)
    host.tell(RenewLeases(until={1: boottime() + 60.0}))
    host.tell_ping()
    eventually(lambda: boottime() > first + 0.7)
    asked["late"].set_result(BlobFetched(blob="late", path=str(tmp_path / "blobs" / "a"), size=1))
    host.wait_for_log("up")
    assert not host.all(AttemptExited)


def test_what_does_not_come_before_its_lease_ends_never_starts(host: Host, tmp_path: Path) -> None:
    asked = shelf(host, tmp_path, a="x")
    argv = ("/bin/sh", "-c", "touch ran")
    spec = RunSpec(fence=1, job_id="job1", attempt=1, argv=argv, sent=sent(f="late"))
    host.tell(WantRun(run=spec, lease_seconds=1.0, lease_until=boottime() + 0.5))
    eventually(lambda: asked)
    assert host.end().exit_class == "lost"
    asked["late"].set_result(BlobFetched(blob="late", path=str(tmp_path / "blobs" / "a"), size=1))
    host.shell("true", fence=2)
    host.end(2)
    assert not (host.job() / "ran").exists()
