"""A provider's desk: every call is answered once, in a thread of its own; the log has no byte twice."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gpuyard.actors.cloud.desk import Desk
from gpuyard.actors.cloud.provider import Refused, Retryable
from gpuyard.actors.cloud.simulated import Simulated
from gpuyard.actors.model.cloud_calls import Fetch, Find, Poll, Probe, Submit, Upload
from gpuyard.actors.model.cloud_remote import Capabilities, LogPiece, Order, Remote, Trouble
from gpuyard.actors.model.commands import RunSpec
from gpuyard.actors.model.errors import Busy
from gpuyard.actors.model.sent_file import SentFile
from tests import leaks
from tests.support import eventually


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


class Odd(Simulated):
    """What each call does is said by the test; a log grows as it says."""

    def __init__(self, folder: Path, **able: Any) -> None:
        super().__init__({}, folder)
        self.raises: BaseException | None = None
        self.hangs = False
        self.gate: threading.Event | None = None
        self.text = b""
        self.most = 4
        self.looks_like: dict[str, list[Remote]] | None = None
        self._able = {"call_seconds": 30.0, "calls_at_once": 4, **able}

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(**self._able)

    async def submit(self, order: Order) -> Remote:
        if self.raises is not None:
            raise self.raises
        if self.hangs:
            await asyncio.Event().wait()
        return Remote(id=f"r{order.fence}", url="https://there")

    async def logs(self, remote_id: str, offset: int) -> LogPiece:
        piece = self.text[offset : offset + self.most]
        return LogPiece(data=piece, more=len(piece) == self.most)

    async def upload(self, order: Order, progress: Any) -> Any:
        for number in range(10):
            progress(f"step {number}")
        while self.gate is not None and not self.gate.is_set():
            await asyncio.sleep(0.005)
        return dict.fromkeys(order.spec.sent, "there")

    async def find(self, orders: Any) -> Any:
        return self.looks_like if self.looks_like is not None else await super().find(orders)


class Office:
    """A desk and what it answered."""

    def __init__(self, folder: Path, provider: Simulated) -> None:
        self.answers: queue.Queue[tuple[Any, Any, Trouble | None, str]] = queue.Queue()
        self.busy = 0
        self.runs = folder / "runs"
        self.runs.mkdir(exist_ok=True)
        self.said: list[tuple[int, str]] = []
        self.desk = Desk("somewhere", provider, self.runs, 1 << 20, self._answer, self._say)
        self.desk.start()

    def _answer(self, call: Any, result: Any, trouble: Trouble | None) -> None:
        if self.busy > 0:
            self.busy -= 1
            raise Busy("full")
        self.answers.put((call, result, trouble, threading.current_thread().name))

    def _say(self, fence: int, words: str) -> None:
        self.said.append((fence, words))
        raise Busy("nobody has time")

    def ask(self, call: Any) -> tuple[Any, Trouble | None]:
        self.desk.begin(call)
        answered, result, trouble, thread = self.answers.get(timeout=30)
        assert answered == call and thread == "cloud-somewhere"
        return result, trouble

    def log(self, fence: int) -> bytes:
        return (self.runs / str(fence) / "log").read_bytes()


@pytest.fixture
def odd(tmp_path: Path) -> Odd:
    return Odd(tmp_path)


@pytest.fixture
def office(tmp_path: Path, odd: Odd) -> Iterator[Office]:
    made = Office(tmp_path, odd)
    yield made
    made.desk.stop()


def order(fence: int) -> Order:
    return Order(token=f"gy-x-{fence}", spec=RunSpec(fence=fence, job_id="job", attempt=1, argv=("true",)))


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (Retryable("no"), "retry"),
        (Retryable("no", unsure=True), "unsure"),
        (Retryable("no", busy=True, retry_after=3.0), "busy"),
        (Retryable("no", down=True), "down"),
        (Refused("no"), "final"),
        (ZeroDivisionError("a bug"), "unsure"),
    ],
)
def test_what_a_provider_raises_becomes_a_trouble(office: Office, odd: Odd, raised: BaseException, kind: str) -> None:
    odd.raises = raised
    _, trouble = office.ask(Submit(order(1)))
    assert trouble is not None and trouble.kind == kind and (kind != "busy" or trouble.retry_after == 3.0)


def test_a_call_that_hangs_is_given_up_and_delays_no_other(tmp_path: Path) -> None:
    odd = Odd(tmp_path, call_seconds=0.2)
    office = Office(tmp_path, odd)
    try:
        odd.hangs = True
        office.desk.begin(Submit(order(1)))
        assert office.ask(Probe())[1] is None
        _, _, trouble, _ = office.answers.get(timeout=30)
        assert trouble is not None and trouble.kind == "unsure" and "0.2 s" in trouble.text
    finally:
        office.desk.stop()


def test_an_answer_waits_for_room_and_is_never_lost(office: Office) -> None:
    office.busy = 3
    assert office.ask(Probe())[1] is None
    assert office.busy == 0


def test_our_own_words_stand_before_the_remote_log_and_no_byte_comes_twice(office: Office, odd: Odd) -> None:
    odd.raises = Retryable("come again")
    office.ask(Submit(order(1)))
    odd.raises = None
    office.ask(Submit(order(1)))
    odd.text = b"0123456789"
    while office.ask(Fetch(1, "r1"))[0].more:
        pass
    own = b"gpuyard: somewhere: come again\ngpuyard: somewhere has it as r1 https://there\n"
    assert office.log(1) == own + b"0123456789"
    odd.text += b"ab"
    office.ask(Fetch(1, "r1"))
    assert office.log(1) == own + b"0123456789ab"


def test_a_new_desk_goes_on_with_the_log_where_the_old_one_was(office: Office, odd: Odd, tmp_path: Path) -> None:
    office.ask(Submit(order(1)))
    odd.text = b"0123456"
    office.ask(Fetch(1, "r1"))
    office.desk.stop()
    other = Office(tmp_path, odd)
    try:
        found, _ = other.ask(Find((order(1),)))
        assert [remote.id for remote in found["gy-x-1"]] == ["r1"], "as it was written down"
        while other.ask(Fetch(1, "r1"))[0].more:
            pass
        assert other.log(1).endswith(b"\n0123456")
    finally:
        other.desk.stop()


def test_a_log_is_kept_up_to_its_cap(tmp_path: Path, odd: Odd) -> None:
    office = Office(tmp_path, odd)
    office.desk.stop()
    office.desk = Desk("somewhere", odd, office.runs, 100, office._answer, office._say)
    office.desk.start()
    try:
        odd.text, odd.most = b"x" * 1000, 60
        office.ask(Submit(order(1)))
        for _ in range(5):
            office.ask(Fetch(1, "r1"))
        assert 100 <= len(office.log(1)) < 200
    finally:
        office.desk.stop()


def test_the_end_of_the_log_says_why_a_run_failed(office: Office, odd: Odd) -> None:
    office.ask(Submit(order(1)))
    odd.text, odd.most = b"step 1\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n", 4096
    fetched, _ = office.ask(Fetch(1, "r1", 1))
    assert fetched.exit_class == "oom" and "Tried to allocate" in fetched.message
    odd.text += b"ValueError: no such column\n" * 10
    assert office.ask(Fetch(1, "r1", None))[0].exit_class == ""


def test_what_was_written_down_does_not_count_once_the_provider_denies_it(office: Office) -> None:
    office.ask(Submit(order(1)))
    assert office.ask(Find((order(1),), True))[0] == {}


def test_what_looks_alike_is_given_to_one_run_only(tmp_path: Path) -> None:
    odd = Odd(tmp_path, tokens=False)
    office = Office(tmp_path, odd)
    try:
        office.ask(Submit(order(1)))  # r1 is the first run's
        same = [Remote(id="r1"), Remote(id="other"), Remote(id="third")]
        odd.looks_like = {"gy-x-2": same, "gy-x-3": same}
        found, _ = office.ask(Find((order(3), order(2))))
        assert {token: [r.id for r in remotes] for token, remotes in found.items()} == {
            "gy-x-2": ["other"],
            "gy-x-3": ["third"],
        }
    finally:
        office.desk.stop()


def test_what_a_webhook_named_is_the_runs_and_its_log_is_read_from_the_first_byte(tmp_path: Path) -> None:
    odd = Odd(tmp_path, tokens=False)
    office = Office(tmp_path, odd)
    try:
        odd.raises = Retryable("the answer was lost", unsure=True)
        office.ask(Submit(order(2)))
        odd.looks_like = {}
        found, _ = office.ask(Find((order(2),), told={"gy-x-2": "named"}))
        assert [remote.id for remote in found["gy-x-2"]] == ["named"]
        odd.text, odd.most = b"first byte\n", 4096
        office.ask(Fetch(2, "named"))
        assert office.log(2).endswith(b"found again at somewhere as named\nfirst byte\n")
        found, _ = office.ask(Find((order(3),), told={"gy-x-3": "named"}))
        assert found == {}, "it is another run's, whatever an address says"
        found, _ = office.ask(Find((order(4),), True, {"gy-x-4": "denied"}))
        assert found == {}, "the provider said twice that it knows none"
    finally:
        office.desk.stop()


def test_how_far_an_upload_is_stands_in_the_log_and_the_latest_word_is_told(office: Office, odd: Odd) -> None:
    sent = {"a": SentFile(blob="x", size=1)}
    odd.gate = threading.Event()
    office.desk.begin(Upload(replace(order(1), spec=replace(order(1).spec, sent=sent))))
    eventually(lambda: office.said[-1:] == [(1, "step 9")], timeout=30)
    assert len(office.said) < 10, "not each word"
    assert office.log(1).count(b"step ") == 10
    odd.gate.set()
    assert office.answers.get(timeout=30)[1] == {"a": "there"}


def test_its_end_ends_what_is_under_way(tmp_path: Path) -> None:
    odd = Odd(tmp_path)
    office = Office(tmp_path, odd)
    odd.hangs = True
    office.desk.begin(Submit(order(1)))
    office.ask(Poll(()))
    office.desk.stop()
    office.desk.stop()
