"""Who is from outside the queue, and what that means for handing a GPU out."""

from __future__ import annotations

import pytest

from gpuyard.actors.model.gpu_card import WatchRules
from tests.unit.gpu.readings import GIB, A, B, Watched, gpu, process


def test_a_compute_process_without_a_fence_is_foreign_while_it_is_there() -> None:
    watched = Watched()
    fact = watched.see(gpu(A, process(7, 12, user="ann")))
    assert [(p.pid, p.name, p.user, p.memory_bytes) for p in fact.foreign] == [(7, "python", "ann", 12 * GIB)]
    assert not fact.usable
    assert watched.see(gpu(A)).usable


def test_even_one_that_uses_no_memory_yet() -> None:
    assert not Watched().see(gpu(A, process(7, 0))).usable


def test_a_process_of_a_run_is_not_foreign_on_its_gpu() -> None:
    watched = Watched()
    watched.start(1, A)
    assert watched.see(gpu(A, process(fence=1))).foreign == ()


def test_before_the_runs_are_known_every_fence_has_the_benefit() -> None:
    assert Watched().see(gpu(A, process(fence=77))).foreign == ()


def test_a_run_on_a_gpu_that_it_was_not_given_is_foreign_there() -> None:
    watched = Watched()
    watched.start(1, A)
    watched.see(gpu(A, process(fence=1)), gpu(B, process(fence=1), index=1))
    assert watched.facts[A].foreign == ()
    assert [(p.pid, p.name) for p in watched.facts[B].foreign] == [(42, "python (of run 1)")]


def test_a_process_of_a_run_that_is_over_is_foreign() -> None:
    watched = Watched()
    watched.start(1, A)
    watched.release(1, A)
    watched.see(gpu(A))
    assert watched.see(gpu(A, process(fence=1))).foreign != ()


@pytest.mark.parametrize(("used", "free"), [(0.5, True), (1.5, True), (1.7, False), (40, False)])
def test_unexplained_memory_tells_of_somebody_with_an_unknown_pid(used: float, free: bool) -> None:
    """2 % of 80 GiB may be in use."""
    fact = Watched().see(gpu(A, used=used))
    assert fact.usable is free
    assert [p.pid for p in fact.foreign] == ([] if free else [0])


def test_on_small_cards_half_a_gibibyte_may_be_in_use() -> None:
    assert Watched().see(gpu(A, used=0.5, memory_total=8 * GIB)).usable
    assert not Watched().see(gpu(A, used=0.6, memory_total=8 * GIB)).usable


def test_pids_of_another_namespace_say_nothing_but_their_memory_does() -> None:
    fact = Watched().see(gpu(A, process(31337, 12, seen=False)))
    assert [(p.pid, p.memory_bytes) for p in fact.foreign] == [(0, 12 * GIB)]


def test_never_with_our_own_hold() -> None:
    watched = Watched()
    watched.start(1, A)
    assert watched.see(gpu(A, process(31337, 12, seen=False))).foreign == ()


def test_an_unknown_amount_of_memory_is_enough_to_be_foreign() -> None:
    """Some drivers translate pids into a container, and then do not tell their memory."""
    fact = Watched().see(gpu(A, process(7, None), used=20))
    assert [(p.pid, p.memory_bytes) for p in fact.foreign] == [(7, None)]


def test_where_its_memory_is_not_told_all_of_it_may_be_the_foreigners() -> None:
    watched = Watched(WatchRules(external="warn"))
    watched.start(1, A)
    watched.release(1, A)
    watched.see(gpu(A, process(7, None), used=20))
    assert len(watched.emptied) == 1


def test_a_desktop_may_share_a_gpu_but_a_renderer_that_fills_it_may_not() -> None:
    watched = Watched()
    assert watched.see(gpu(A, process(7, 1, graphics=True), process(8, 0.9, graphics=True))).usable
    assert not watched.see(gpu(A, process(7, 12, graphics=True))).usable


def test_settings_may_let_foreigners_pass_with_or_without_a_word() -> None:
    warned = Watched(WatchRules(external="warn")).see(gpu(A, process(7)))
    assert warned.usable
    assert [p.pid for p in warned.tolerated] == [7]
    ignored = Watched(WatchRules(external="ignore")).see(gpu(A, process(7)))
    assert ignored.usable
    assert ignored.tolerated == ()


def test_a_foreigner_is_looked_for_once_more_after_the_start() -> None:
    watched = Watched()
    watched.start(1, A, B)
    both = gpu(A, process(fence=1), process(7)), gpu(B, process(fence=1), index=1)
    watched.see(*both, after=4.9)
    assert watched.foreign == []
    watched.see(*both, after=0.2)
    watched.see(*both, after=5)
    assert [(f.fence, f.uuid, [p.pid for p in f.processes]) for f in watched.foreign] == [(1, A, [7])]


def test_nothing_is_looked_for_when_the_run_is_over_or_nobody_cares() -> None:
    over = Watched()
    over.start(1, A)
    over.release(1, A)
    over.see(gpu(A, process(7)), after=6)
    careless = Watched(WatchRules(external="ignore"))
    careless.start(1, A)
    careless.see(gpu(A, process(7)), after=6)
    assert over.foreign == careless.foreign == []


def test_a_repeated_start_changes_nothing() -> None:
    watched = Watched()
    watched.start(1, A)
    watched.now += 4
    watched.start(1, A)
    watched.see(gpu(A, process(7)), after=1)
    assert len(watched.foreign) == 1
