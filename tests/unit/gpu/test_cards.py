"""Cards that fail, leave, come back, are split or set aside."""

from __future__ import annotations

import pytest

from gpuyard.actors.model.errors import NotFound
from gpuyard.actors.model.gpu_card import Asides, WatchRules
from gpuyard.actors.model.gpu_faults import xid_fault
from gpuyard.actors.model.gpu_reading import ReadXid
from tests.unit.gpu.readings import GIB, A, B, Watched, gpu, process


def test_facts_say_what_was_read() -> None:
    fact = Watched().see(gpu(A, process(fence=1), utilization=97, temperature_c=64, power_w=612.5))
    assert (fact.index, fact.name, fact.memory_total, fact.memory_used) == (0, "H100", 80 * GIB, 10 * GIB)
    assert (fact.utilization, fact.temperature_c, fact.power_w) == (97, 64, 612.5)


def test_a_lost_gpu_is_missing_with_the_reason_and_heals() -> None:
    watched = Watched()
    watched.see(gpu(A), gpu(B, index=1))
    watched.see(gpu(A, lost="GPU is lost"), gpu(B, index=1))
    lost = watched.facts[A]
    assert (lost.missing, lost.fault, lost.usable, lost.memory_total) == (True, "GPU is lost", False, 80 * GIB)
    assert watched.facts[B].usable
    watched.see(gpu(A), gpu(B, index=1))
    assert watched.facts[A].usable


def test_a_gpu_that_is_not_listed_any_more_is_missing() -> None:
    watched = Watched()
    watched.see(gpu(A), gpu(B, index=1))
    watched.see(gpu(A))
    assert watched.facts[B].missing
    assert watched.facts[B].fault == "the driver does not list it any more"
    assert watched.facts[B].index == 1


def test_a_gpu_that_cannot_be_named_any_more_is_the_one_that_had_its_index() -> None:
    watched = Watched()
    watched.see(gpu(A), gpu(B, index=1))
    watched.see(gpu(A), unreachable={1: "GPU is lost"})
    assert set(watched.facts) == {A, B}
    assert (watched.facts[B].missing, watched.facts[B].fault) == (True, "GPU is lost")


def test_a_gpu_that_was_never_named_is_shown_by_its_index() -> None:
    watched = Watched()
    watched.see(gpu(A), unreachable={1: "GPU is lost"})
    ghost = watched.facts["unreachable-1"]
    assert (ghost.index, ghost.missing, ghost.fault, ghost.usable) == (1, True, "GPU is lost", False)
    watched.see(gpu(A), gpu(B, index=1))
    assert set(watched.facts) == {A, B}


def test_identity_is_the_uuid_when_the_order_changes() -> None:
    watched = Watched()
    watched.see(gpu(A), gpu(B, index=1))
    watched.start(1, A)
    watched.see(gpu(B, index=0), gpu(A, process(fence=1), index=1))
    assert [(fact.uuid, fact.index) for fact in watched.facts.values()] == [(B, 0), (A, 1)]
    assert watched.watch.running == {A: 1}
    assert watched.facts[A].foreign == ()


def test_an_xid_is_a_fault_until_it_is_cleared() -> None:
    watched = Watched()
    fact = watched.see(gpu(A), xids=(ReadXid(A, 79), ReadXid(A, 79), ReadXid(A, 48)))
    assert fact.fault == "Xid 79 (the GPU has fallen off the bus); Xid 48 (double-bit ECC error)"
    assert not watched.see(gpu(A)).usable
    watched.watch.set_aside(A, "clear")
    assert watched.see(gpu(A)).usable


@pytest.mark.parametrize("number", [13, 31, 43, 45])
def test_an_xid_that_a_program_brought_on_itself_is_none(number: int) -> None:
    assert Watched().see(gpu(A), xids=(ReadXid(A, number),)).usable


def test_an_xid_without_words_of_its_own_is_still_a_fault() -> None:
    assert xid_fault(999) == "Xid 999"


def test_uncorrected_ecc_errors_are_a_fault_and_clearing_them_is_remembered() -> None:
    asides = Asides()
    watched = Watched(asides=asides)
    assert watched.see(gpu(A, ecc_uncorrected=0)).usable
    assert watched.see(gpu(A, ecc_uncorrected=2)).fault == "2 uncorrected ECC errors"
    watched.watch.set_aside(A, "clear")
    assert watched.see(gpu(A, ecc_uncorrected=2)).usable
    after_restart = Watched(asides=asides)
    assert after_restart.see(gpu(A, ecc_uncorrected=2)).usable
    assert after_restart.see(gpu(A, ecc_uncorrected=3)).fault == "1 uncorrected ECC error"


def test_what_the_probe_calls_an_error_is_a_fault_while_it_lasts() -> None:
    watched = Watched()
    assert watched.see(gpu(A, error="its processes cannot be read: Unknown Error")).fault is not None
    assert watched.see(gpu(A)).usable


def test_mig_devices_take_the_place_of_their_gpu() -> None:
    watched = Watched()
    watched.see(gpu(A), gpu(B, index=1))
    parts = gpu("MIG-1", index=200, mig=True), gpu("MIG-2", index=201, mig=True)
    watched.see(gpu(A), *parts, replaced=(B,))
    assert list(watched.facts) == [A, "MIG-1", "MIG-2"]
    assert watched.facts["MIG-1"].mig


def test_a_mig_device_that_was_destroyed_is_forgotten_but_not_while_it_is_held() -> None:
    watched = Watched()
    parts = gpu("MIG-1", index=100, mig=True), gpu("MIG-2", index=101, mig=True)
    watched.see(*parts, replaced=(A,))
    watched.start(1, "MIG-2")
    watched.see(gpu(A), gpu(B, index=1))
    assert list(watched.facts) == [A, B, "MIG-2"]
    assert watched.facts["MIG-2"].missing


def test_mig_devices_of_a_gpu_that_is_lost_are_missing_with_it() -> None:
    watched = Watched()
    watched.see(gpu("MIG-1", index=100, mig=True), replaced=(A,))
    watched.see(gpu(A, lost="GPU is lost"))
    assert watched.facts["MIG-1"].missing


@pytest.mark.parametrize("entry", ["1", "GPU-bbbb", "GPU-b"])
def test_a_gpu_may_be_kept_out_by_index_or_uuid(entry: str) -> None:
    watched = Watched(WatchRules(excluded=(entry,)))
    watched.see(gpu(A), gpu(B, index=1))
    assert [(fact.excluded, fact.usable) for fact in watched.facts.values()] == [(False, True), (True, False)]


def test_an_empty_entry_keeps_nothing_out() -> None:
    assert Watched(WatchRules(excluded=("",))).see(gpu(A)).usable


def test_by_hand_goes_before_the_settings_and_is_remembered() -> None:
    asides = Asides()
    watched = Watched(WatchRules(excluded=("0",)), asides=asides)
    watched.see(gpu(A), gpu(B, index=1))
    watched.watch.set_aside(A, "include")
    watched.watch.set_aside(B, "exclude")
    again = Watched(WatchRules(excluded=("0",)), asides=asides)
    again.see(gpu(A, index=1), gpu(B, index=0))
    assert again.facts[A].usable
    assert again.facts[B].excluded


def test_an_unknown_gpu_cannot_be_set_aside() -> None:
    with pytest.raises(NotFound, match="GPU-nope"):
        Watched().watch.set_aside("GPU-nope", "exclude")
