"""After a run: a GPU is empty, or somebody is to blame."""

from __future__ import annotations

import pytest

from gpuyard.actors.model.gpu_card import WatchRules
from gpuyard.actors.model.gpu_watch import Emptied
from tests.unit.gpu.readings import A, B, Watched, gpu, process

OURS = process(fence=1)


@pytest.fixture
def watched() -> Watched:
    """A run of fence 1 lives on A, which was seen idle before."""
    watched = Watched()
    watched.see(gpu(A), gpu(B, index=1))
    watched.start(1, A)
    watched.see(gpu(A, OURS), gpu(B, index=1))
    return watched


def test_a_gpu_is_empty_once_its_process_and_its_memory_are_gone(watched: Watched) -> None:
    watched.release(1, A)
    watched.see(gpu(A, OURS))
    watched.see(gpu(A, used=10))
    assert watched.emptied == []
    fact = watched.see(gpu(A))
    assert watched.emptied == [Emptied(1, (A,))]
    assert fact.usable


def test_a_reading_that_began_before_the_release_says_nothing_about_it(watched: Watched) -> None:
    watched.release(1, A)
    watched.see(gpu(A), after=-0.01)
    assert watched.emptied == []
    watched.see(gpu(A))
    assert watched.emptied == [Emptied(1, (A,))]


def test_the_gpus_of_a_run_become_empty_one_by_one() -> None:
    watched = Watched()
    watched.start(1, A, B)
    watched.release(1, A, B)
    watched.see(gpu(A), gpu(B, OURS, index=1))
    watched.see(gpu(A), gpu(B, index=1))
    assert watched.emptied == [Emptied(1, (A,)), Emptied(1, (B,))]


def test_emptied_is_told_once_and_again_when_asked_again(watched: Watched) -> None:
    watched.release(1, A)
    watched.release(1, A)
    watched.see(gpu(A))
    watched.see(gpu(A))
    assert len(watched.emptied) == 1
    watched.release(1, A)
    watched.see(gpu(A))
    assert len(watched.emptied) == 2


def test_the_looks_after_a_release_begin_at_once_and_grow_rarer(watched: Watched) -> None:
    assert watched.watch.pause() == float("inf")
    watched.release(1, A)
    pauses = [watched.watch.pause()]
    for _ in range(12):
        watched.see(gpu(A, OURS))
        pauses.append(watched.watch.pause())
    assert pauses[:2] == [0.0, 0.1]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 1.0


def test_a_process_that_stays_is_named_and_its_gpu_quarantined(watched: Watched) -> None:
    watched.release(1, A)
    watched.see(gpu(A, OURS), after=59)
    assert watched.emptied == []
    fact = watched.see(gpu(A, OURS), after=1)
    assert watched.emptied == [Emptied(1, (A,))]
    assert fact.fault == "run 1 ended but is still on it: pid 42 (python, 10.0 GiB); 10.0 GiB in use"
    assert not fact.usable
    assert fact.foreign == ()


def test_memory_that_stays_without_a_process_is_a_quarantine_and_nobody_from_outside(watched: Watched) -> None:
    watched.release(1, A)
    fact = watched.see(gpu(A, used=3), after=60)
    assert fact.fault == "run 1 left memory behind: 3.0 GiB in use and no process is listed"
    assert fact.foreign == ()


def test_a_quarantine_ends_by_itself_when_the_memory_is_back(watched: Watched) -> None:
    watched.release(1, A)
    watched.see(gpu(A, OURS), after=60)
    watched.see(gpu(A, used=3))
    assert not watched.facts[A].usable
    assert watched.see(gpu(A)).usable


def test_a_quarantine_can_be_cleared_by_hand(watched: Watched) -> None:
    watched.release(1, A)
    watched.see(gpu(A, used=3), after=60)
    watched.watch.set_aside(A, "clear")
    assert watched.see(gpu(A, used=3)).usable
    # What was accepted is accepted, but not more.
    assert not watched.see(gpu(A, used=5)).usable


def test_a_foreigner_that_came_meanwhile_takes_the_gpu_and_the_blame(watched: Watched) -> None:
    watched.release(1, A)
    fact = watched.see(gpu(A, process(7, 5), used=9))
    assert watched.emptied == [Emptied(1, (A,))]
    assert fact.fault is None
    assert [p.pid for p in fact.foreign] == [7]
    assert watched.see(gpu(A), after=60).usable


def test_where_foreigners_are_let_pass_only_the_rest_of_the_memory_must_be_back() -> None:
    watched = Watched(WatchRules(external="warn"))
    watched.start(1, A)
    watched.release(1, A)
    watched.see(gpu(A, process(7, 5), used=9))
    assert watched.emptied == []
    watched.see(gpu(A, process(7, 5)))
    assert watched.emptied == [Emptied(1, (A,))]


def test_what_was_in_use_before_the_run_may_be_in_use_after_it() -> None:
    watched = Watched()
    watched.see(gpu(A, used=0.6))
    watched.start(1, A)
    watched.release(1, A)
    watched.see(gpu(A, used=1.4))
    assert watched.emptied == [], "more than drift over what it was"
    watched.see(gpu(A, used=0.7))
    assert watched.emptied == [Emptied(1, (A,))]


def test_after_a_restart_the_level_of_an_unused_gpu_is_enough() -> None:
    watched = Watched()
    watched.release(1, A)
    watched.see(gpu(A, used=2))
    assert watched.emptied == []
    assert watched.facts[A].foreign == (), "a run that ended is nobody from outside"
    watched.see(gpu(A, used=1))
    assert watched.emptied == [Emptied(1, (A,))]


def test_a_gpu_that_is_gone_holds_nothing(watched: Watched) -> None:
    watched.release(1, A, B)
    watched.see(gpu(A, lost="GPU is lost"))
    assert watched.emptied == [Emptied(1, (A, B))]


def test_a_process_that_uses_no_memory_any_more_is_still_there(watched: Watched) -> None:
    watched.release(1, A)
    watched.see(gpu(A, process(fence=1, memory=0)))
    assert watched.emptied == []


def test_a_culprit_stays_the_culprit_and_is_nobody_from_outside(watched: Watched) -> None:
    watched.release(1, A)
    watched.see(gpu(A, OURS), after=60)
    fact = watched.see(gpu(A, OURS))
    assert fact.foreign == ()
    assert "run 1 ended but is still on it" in str(fact.fault)


def test_a_desktop_may_have_grown_meanwhile_where_its_memory_is_not_told() -> None:
    watched = Watched()
    watched.see(gpu(A, process(9, None, graphics=True), used=0.2))
    watched.start(1, A)
    watched.release(1, A)
    watched.see(gpu(A, process(9, None, graphics=True), used=1.2))
    assert watched.emptied == [Emptied(1, (A,))]


def test_memory_that_cannot_be_read_is_not_taken_for_empty(watched: Watched) -> None:
    watched.release(1, A)
    watched.see(gpu(A, memory_used=None, error="its memory cannot be read: Unknown Error"))
    assert watched.emptied == []


def test_a_late_release_of_a_gpu_that_has_a_new_run_is_answered_at_once(watched: Watched) -> None:
    watched.release(1, A)
    watched.see(gpu(A))
    watched.start(2, A)
    watched.release(1, A)
    watched.see(gpu(A, process(fence=2)))
    assert watched.emptied == [Emptied(1, (A,))] * 2
    assert watched.watch.running == {A: 2}


def test_simulated_gpus_are_empty_at_once_but_a_leak_is_found_out() -> None:
    watched = Watched(at_once=True)
    watched.see(gpu(A))
    watched.start(1, A)
    assert watched.watch.running == {A: 1}
    assert watched.release(1, A) == (A,)
    assert watched.watch.running == {}
    assert watched.watch.pause() == float("inf")
    assert watched.see(gpu(A, used=3)).usable
    assert not watched.see(gpu(A, used=3), after=60).usable
    assert watched.emptied == []
    assert watched.see(gpu(A)).usable


def test_a_gpu_that_is_given_to_the_next_run_belongs_to_it() -> None:
    watched = Watched(at_once=True)
    watched.start(1, A, B)
    watched.start(2, A)
    assert watched.watch.running == {A: 2}
    watched.see(gpu(A, process(fence=2)), gpu(B, index=1), after=61)
    assert watched.facts[A].usable
    assert watched.facts[B].usable
