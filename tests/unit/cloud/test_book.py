"""The book of a provider: never twice, never lost, silence is no end; one sentence a test."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from gpuyard.actors.model.cloud_calls import Cancel, Fetch, Fetched, Find, Poll, Probe, Submit, Sweep, Upload
from gpuyard.actors.model.cloud_remote import Remote, RemoteState, RemoteStatus, Trouble
from gpuyard.actors.model.events import AttemptAccepted, AttemptProgress, AttemptStarted, OrphanSeen
from gpuyard.actors.model.sent_file import SentFile
from tests.unit.cloud.bench import DONE, GONE, RUNNING, STOPPED, Bench


def only(calls: list[Any]) -> Any:
    assert len(calls) == 1, calls
    return calls[0]


class TestTheUsualWay:
    def test_submitted_accepted_seen_running_log_read_to_the_end_then_ended(self) -> None:
        bench = Bench()
        submit = only(bench.want(7))
        assert isinstance(submit, Submit) and submit.order.token == "gy-test-7"
        bench.answer(submit, Remote(id="r7", url="https://there/7"))
        assert bench.tells == [AttemptAccepted(fence=7, remote_id="r7", url="https://there/7")]
        assert only(bench.poll(r7=RUNNING)) == Fetch(7, "r7")
        assert isinstance(bench.tells[-1], AttemptStarted)
        bench.answer(Fetch(7, "r7"), Fetched())
        bench.poll(r7=DONE)
        assert bench.exit_of(7) is None, "the rest of the log comes before the end"
        bench.read_logs()
        end = bench.exit_of(7)
        assert end is not None and (end.exit_class, end.exit_code, end.host) == ("completed", 0, "cloud:somewhere")

    def test_a_log_read_that_began_before_the_end_was_seen_is_not_the_last(self) -> None:
        bench = Bench()
        bench.live(1)
        early = only(bench.poll(r1=RUNNING))
        bench.poll(r1=DONE)
        late = only(bench.answer(early, Fetched()))
        assert isinstance(late, Fetch) and bench.exit_of(1) is None
        bench.answer(late, Fetched())
        assert bench.exit_of(1) is not None

    def test_an_end_is_told_again_at_each_beat_until_it_is_forgotten(self) -> None:
        bench = Bench(logs=False)
        bench.live(1)
        bench.poll(r1=DONE)
        told = len(bench.tells)
        bench.book.beat()
        bench.step()
        assert bench.tells[told:] == [bench.exit_of(1)]
        bench.book.forget(1)
        bench.book.beat()
        bench.step()
        assert len(bench.tells) == told + 1 and not bench.book.runs

    def test_wanting_a_known_run_again_submits_nothing(self) -> None:
        bench = Bench()
        bench.live(1)
        bench.poll(r1=RUNNING)
        bench.want(1, again=True)
        assert bench.kinds().count("Submit") == 1

    def test_a_log_that_cannot_be_read_does_not_hide_the_end(self) -> None:
        bench = Bench()
        bench.live(1)
        calls = bench.poll(r1=DONE)
        for _ in range(4):
            bench.fail(calls[0])
            if bench.exit_of(1) is None:
                calls = [bench.next(Fetch)]
        assert bench.exit_of(1) is not None

    def test_the_log_may_say_why_it_failed(self) -> None:
        bench = Bench()
        bench.live(1)
        failed = RemoteStatus(state=RemoteState.FAILED, exit_code=1, exit_class="exit:1")
        fetch = only(bench.poll(r1=failed))
        assert fetch.code == 1
        bench.answer(fetch, Fetched(exit_class="oom", message="CUDA out of memory"))
        end = bench.exit_of(1)
        assert end is not None and (end.exit_class, end.exit_code, end.message) == ("oom", 1, "CUDA out of memory")

    def test_progress_is_told_when_it_changes(self) -> None:
        bench = Bench(logs=False)
        bench.live(1)
        for text in ("10 %", "10 %", "20 %"):
            bench.poll(r1=RemoteStatus(state=RemoteState.RUNNING, progress=text))
        assert [e.progress for e in bench.tells if isinstance(e, AttemptProgress)] == ["10 %", "20 %"]

    def test_many_runs_are_looked_at_in_batches(self) -> None:
        bench = Bench(batch=2, logs=False)
        for fence in range(1, 6):
            bench.live(fence)
        bench.clock.advance(10)
        polls = [call for call in bench.step() if isinstance(call, Poll)]
        assert [len(poll.jobs) for poll in polls] == [2, 2, 1]
        assert bench.pass_time(100) == [], "no second look while one is under way"


class TestDoubt:
    def test_a_submit_without_an_answer_is_looked_for_before_it_is_repeated(self) -> None:
        bench = Bench()
        submit = only(bench.want(1))
        find = only(bench.fail(submit, "unsure"))
        assert isinstance(find, Find)
        bench.answer(find, {"gy-test-1": (Remote(id="r1"),)})
        assert bench.book.runs[1].remote_id == "r1"
        assert bench.kinds().count("Submit") == 1

    def test_only_after_the_settling_time_is_it_submitted_again(self) -> None:
        bench = Bench(settle_seconds=60.0)
        began = bench.clock.monotonic()
        bench.fail(only(bench.want(1)), "unsure")
        while bench.kinds().count("Submit") < 2:
            calls = bench.step()
            for call in [c for c in bench.calls[-1:] if isinstance(c, Find)]:
                calls = bench.answer(call, {})
            if not calls:
                bench.clock.advance(1.0)
        assert bench.clock.monotonic() - began >= 60.0

    def test_after_a_restart_a_wanted_run_is_looked_for_first(self) -> None:
        bench = Bench()
        find = only(bench.want(1, again=True))
        assert isinstance(find, Find) and not find.anew
        bench.answer(find, {"gy-test-1": (Remote(id="r1"),)})
        bench.end(1)
        assert bench.kinds().count("Submit") == 0 and bench.exit_of(1) is not None

    def test_an_idempotent_provider_is_simply_asked_again(self) -> None:
        bench = Bench(idempotent=True)
        submit = only(bench.want(1, again=True))
        assert isinstance(submit, Submit)
        find = only(bench.fail(submit, "unsure"))
        assert isinstance(only(bench.answer(find, {})), Submit), "no settling time: a second submit makes no second job"

    def test_of_two_jobs_of_one_token_the_first_stays_and_the_second_is_ended(self) -> None:
        bench = Bench()
        find = only(bench.fail(only(bench.want(1)), "unsure"))
        calls = bench.answer(find, {"gy-test-1": (Remote(id="a"), Remote(id="b"))})
        assert Cancel(0, "b") in calls and bench.book.runs[1].remote_id == "a"
        again = bench.fail(Cancel(0, "b"))
        assert Cancel(0, "b") not in again
        assert bench.next(Cancel) == Cancel(0, "b"), "until it is done"

    def test_one_that_lived_and_is_nowhere_is_lost_not_begun_anew(self) -> None:
        bench = Bench(settle_seconds=0.0)
        find = only(bench.want(1, started=True))
        bench.answer(find, {})
        end = bench.exit_of(1)
        assert end is not None and end.exit_class == "lost" and "Submit" not in bench.kinds()

    def test_submits_that_never_answer_end_as_the_providers_error_once_none_is_there(self) -> None:
        bench = Bench(settle_seconds=0.0)
        bench.want(1)
        for _ in range(4):
            submit = bench.calls[-1] if isinstance(bench.calls[-1], Submit) else bench.next(Submit)
            find = only(bench.fail(submit, "unsure"))
            bench.answer(find, {})
        end = bench.exit_of(1)
        assert end is not None and end.exit_class == "provider_error"


class TestSilence:
    def test_looks_without_an_answer_end_nothing_however_many(self) -> None:
        bench = Bench()
        bench.live(1)
        for _ in range(20):
            if bench.book.circuit.open:
                bench.fail(bench.next(Probe))
            else:
                bench.fail(bench.next(Poll), "unsure")
        assert bench.exit_of(1) is None and bench.book.circuit.open
        bench.answer(bench.next(Probe))
        bench.end(1)
        end = bench.exit_of(1)
        assert end is not None and end.exit_class == "completed" and bench.book.circuit.closed

    def test_an_answer_that_leaves_a_job_out_says_nothing_of_it(self) -> None:
        bench = Bench()
        bench.live(1)
        for _ in range(10):
            bench.poll()
        assert bench.exit_of(1) is None

    def test_twice_no_such_job_and_not_found_by_its_token_is_lost(self) -> None:
        bench = Bench(settle_seconds=0.0)
        bench.live(1)
        bench.poll(r1=GONE)
        assert bench.exit_of(1) is None
        find = only([c for c in bench.poll(r1=GONE) if isinstance(c, Find)])
        assert find.anew, "what was written down at the start is no proof"
        bench.answer(find, {})
        end = bench.exit_of(1)
        assert end is not None and end.exit_class == "lost"

    def test_looks_that_fail_come_less_and_less_often(self) -> None:
        bench = Bench()
        bench.live(1)
        at = []
        for _ in range(4):
            poll = bench.next(Poll)
            at.append(bench.clock.monotonic())
            bench.fail(poll)
        gaps = [round(later - earlier, 3) for earlier, later in pairwise(at)]
        assert gaps == [5.0, 10.0, 20.0]


class TestCircuit:
    def test_five_failures_in_a_row_open_it_and_what_never_began_goes_back_to_the_queue(self) -> None:
        bench = Bench()
        bench.live(9)
        for _ in range(5):
            bench.fail(bench.next(Poll))
        assert bench.book.circuit.open and bench.changes == 1
        bench.want(1)
        end = bench.exit_of(1)
        assert end is not None and end.exit_class == "provider_down"
        assert bench.exit_of(9) is None, "what runs there runs on"

    def test_no_use_in_going_on_opens_it_at_once(self) -> None:
        bench = Bench()
        bench.fail(only(bench.want(1)), "down")
        assert bench.book.circuit.open
        end = bench.exit_of(1)
        assert end is not None and end.exit_class == "provider_down"

    def test_a_test_by_a_person_that_fails_counts_as_any_call(self) -> None:
        bench = Bench()
        bench.book.tested(Trouble(kind="down", text="401"), bench.now())
        bench.step()
        assert bench.book.circuit.open and bench.book.circuit.why == "401" and bench.changes == 1

    def test_an_open_one_is_probed_less_and_less_often_and_closes_by_a_look(self) -> None:
        bench = Bench(logs=False)
        bench.live(1)
        bench.fail(bench.next(Poll), "down")
        waits = []
        for _ in range(3):
            before = bench.clock.monotonic()
            probe = bench.next(Probe)
            waits.append(round(bench.clock.monotonic() - before, 3))
            bench.fail(probe)
        assert waits == [5.0, 10.0, 20.0]
        bench.answer(bench.next(Probe))
        assert bench.book.circuit.state == "half_open"
        assert bench.want(2) == [], "nothing is submitted while it is half open"
        assert bench.exit_of(2) is None
        bench.poll(r1=RUNNING)
        assert bench.book.circuit.closed
        assert isinstance(bench.calls[-1], Submit)

    def test_too_many_calls_wait_as_long_as_the_provider_says_and_count_as_no_failure(self) -> None:
        bench = Bench()
        submit = only(bench.want(1))
        bench.fail(submit, "busy", retry_after=30.0)
        assert bench.pass_time(29.9) == []
        assert isinstance(only(bench.pass_time(0.2)), Submit)
        assert bench.book.circuit.failures == 0

    def test_a_job_that_is_refused_fails_at_once_and_the_provider_is_fine(self) -> None:
        bench = Bench()
        bench.fail(only(bench.want(1)), "final")
        end = bench.exit_of(1)
        assert end is not None and end.exit_class == "start_failed" and bench.book.circuit.closed

    def test_a_submit_that_fails_is_tried_four_times_then_it_is_the_providers_error(self) -> None:
        bench = Bench(logs=False)
        bench.live(9)
        for _ in range(4):
            bench.fail(bench.next(Submit) if bench.book.runs.get(1) else only(bench.want(1)))
            if bench.exit_of(1) is None:
                bench.poll(r9=RUNNING)  # the provider as a whole answers
        end = bench.exit_of(1)
        assert end is not None and end.exit_class == "provider_error"


class TestStopping:
    def test_one_that_was_never_submitted_is_cancelled_at_once_even_in_an_outage(self) -> None:
        bench = Bench()
        bench.fail(only(bench.want(1)), "retry")
        bench.stop(1)
        end = bench.exit_of(1)
        assert end is not None and end.exit_class == "cancelled" and "Cancel" not in bench.kinds()

    def test_a_running_one_is_cancelled_only_once_the_provider_says_so(self) -> None:
        bench = Bench()
        bench.live(1)
        bench.poll(r1=RUNNING)
        cancel = only([c for c in bench.stop(1) if isinstance(c, Cancel)])
        bench.answer(cancel)
        assert bench.exit_of(1) is None
        bench.poll(r1=RUNNING)
        assert bench.exit_of(1) is None
        bench.end(1, STOPPED)
        end = bench.exit_of(1)
        assert end is not None and (end.exit_class, end.message) == ("cancelled", "cancelled by owner")

    def test_a_cancel_that_the_provider_ignores_is_asked_again(self) -> None:
        bench = Bench(logs=False)
        bench.live(1)
        bench.answer(only([c for c in bench.stop(1) if isinstance(c, Cancel)]))
        assert bench.next(Cancel) == Cancel(1, "r1")

    def test_one_whose_submit_is_under_way_is_cancelled_as_soon_as_its_id_is_known(self) -> None:
        bench = Bench()
        submit = only(bench.want(1))
        assert bench.stop(1) == []
        assert Cancel(1, "r1") in bench.answer(submit, Remote(id="r1"))

    def test_one_in_doubt_is_looked_for_cancelled_and_never_submitted_again(self) -> None:
        bench = Bench(settle_seconds=2.0)
        find = only(bench.fail(only(bench.want(1)), "unsure"))
        bench.stop(1)
        bench.answer(find, {})
        bench.answer(bench.next(Find), {})
        while bench.exit_of(1) is None:
            bench.answer(bench.next(Find), {})
        end = bench.exit_of(1)
        assert end is not None and end.exit_class == "cancelled" and bench.kinds().count("Submit") == 1

    def test_an_idempotent_one_in_doubt_is_not_submitted_in_order_to_be_stopped(self) -> None:
        bench = Bench(idempotent=True)
        bench.fail(only(bench.want(1)), "busy", retry_after=1.0)
        bench.book.runs[1].sure = False
        bench.stop(1)
        assert isinstance(bench.next(Find), Find) and bench.kinds().count("Submit") == 1

    def test_a_time_limit_ends_it_as_timed_out(self) -> None:
        bench = Bench(logs=False)
        bench.live(1, time_limit=60.0)
        bench.poll(r1=RUNNING)
        bench.clock.advance(61)
        cancel = bench.next(Cancel)
        bench.answer(cancel)
        bench.poll(r1=STOPPED)
        end = bench.exit_of(1)
        assert end is not None and end.exit_class == "timeout" and "1m" in end.message

    def test_one_that_completed_before_the_cancel_came_has_completed(self) -> None:
        bench = Bench(logs=False)
        bench.live(1)
        bench.stop(1)
        bench.poll(r1=DONE)
        end = bench.exit_of(1)
        assert end is not None and end.exit_class == "completed"

    def test_one_that_somebody_else_cancelled_there_says_so(self) -> None:
        bench = Bench(logs=False)
        bench.live(1)
        bench.poll(r1=STOPPED)
        end = bench.exit_of(1)
        assert end is not None and end.exit_class == "cancelled" and "not by gpuyard" in end.message


class TestWebhooks:
    def test_one_that_runs_is_looked_at_at_once(self) -> None:
        bench = Bench(poll_seconds=3600.0)
        bench.live(1)
        bench.poll(r1=RUNNING)
        bench.book.heard("gy-test-1", "r1", bench.now())
        assert any(isinstance(call, Poll) for call in bench.step())

    def test_in_doubt_its_id_is_a_hint_for_the_search_and_no_more(self) -> None:
        bench = Bench()
        find = only(bench.fail(only(bench.want(1)), "unsure"))
        bench.book.heard("gy-test-1", "their-id", bench.now())
        assert bench.book.runs[1].remote_id == "", "the token of an address is not signed"
        bench.answer(find, {})
        again = bench.next(Find)
        assert again.told == {"gy-test-1": "their-id"}
        bench.answer(again, {"gy-test-1": (Remote(id="their-id"),)})
        assert bench.book.runs[1].remote_id == "their-id"

    @pytest.mark.parametrize("token", ["gy-other-1", "gy-test-2", "", "x", "gy-test-1-1"])
    def test_of_others_and_of_nobody_nothing_follows(self, token: str) -> None:
        bench = Bench(poll_seconds=3600.0)
        bench.live(1)
        bench.poll(r1=RUNNING)
        bench.read_logs()
        bench.book.heard(token, "r1", bench.now())
        assert bench.step() == []


class TestUploads:
    def test_files_go_first_and_how_far_they_are_is_told(self) -> None:
        bench = Bench(uploads=True)
        upload = only(bench.want(1, sent={"a": SentFile(blob="x", size=1)}))
        assert isinstance(upload, Upload)
        for words in ("uploading a (1 of 2)", "uploading a (1 of 2)", "uploading b (2 of 2)"):
            bench.book.uploading(1, words)
            bench.step()
        told = [event.progress for event in bench.tells if isinstance(event, AttemptProgress)]
        assert told == ["uploading a (1 of 2)", "uploading b (2 of 2)"]
        submit = only(bench.answer(upload, {"a": "there"}))
        assert isinstance(submit, Submit) and submit.order.uploads == {"a": "there"}
        bench.book.uploading(1, "late words")
        bench.step()
        assert len([event for event in bench.tells if isinstance(event, AttemptProgress)]) == 2

    def test_in_doubt_nothing_is_brought_there_before_it_is_known_that_it_is_not_there(self) -> None:
        bench = Bench(uploads=True)
        find = only(bench.want(1, again=True, sent={"a": SentFile(blob="x", size=1)}))
        assert isinstance(find, Find)
        bench.answer(find, {"gy-test-1": (Remote(id="r1"),)})
        assert "Upload" not in bench.kinds()


class TestOrphans:
    def test_what_carries_our_token_and_is_not_wanted_is_told_once(self) -> None:
        bench = Bench(listing=True, settle_seconds=10.0)
        bench.live(1)
        bench.book.wanted_complete(bench.now())
        for _ in range(2):
            sweep = bench.next(Sweep)
            bench.answer(sweep, [("gy-test-1", Remote(id="r1")), ("gy-test-5", Remote(id="r5"))])
        assert [e.fence for e in bench.tells if isinstance(e, OrphanSeen)] == [5]

    def test_a_second_job_of_a_live_run_is_ended(self) -> None:
        bench = Bench(listing=True, settle_seconds=10.0)
        bench.live(1)
        bench.book.wanted_complete(bench.now())
        calls = bench.answer(bench.next(Sweep), [("gy-test-1", Remote(id="r1")), ("gy-test-1", Remote(id="other"))])
        assert Cancel(0, "other") in calls and Cancel(0, "r1") not in calls

    def test_an_unknown_run_that_shall_end_is_found_by_its_token(self) -> None:
        bench = Bench(listing=True)
        find = only(bench.stop(77))
        assert isinstance(find, Find) and find.orders[0].token == "gy-test-77"
        assert Cancel(77, "r77") in bench.answer(find, {"gy-test-77": (Remote(id="r77"),)})


@pytest.mark.parametrize("kind", ["retry", "unsure", "busy", "down"])
def test_every_trouble_of_every_call_leaves_a_live_run_alive(kind: str) -> None:
    bench = Bench()
    bench.live(1)
    fetch = only(bench.poll(r1=RUNNING))
    bench.fail(fetch, kind)
    assert bench.exit_of(1) is None and 1 in bench.book.runs
