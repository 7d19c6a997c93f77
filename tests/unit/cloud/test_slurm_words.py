"""What Slurm prints, understood: every state has a meaning, and no line of whatever kind breaks the reading."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from gpuyard.actors.cloud import slurm_words as words
from gpuyard.actors.model.cloud_remote import RemoteState


def line(state: str, reason: str = "None", start: str = "1700000000", end: str = "1700000060") -> words.Seen:
    [seen] = words.squeue(f"17|gy-0a1b2c3d-5|{state}|{start}|{end}|{reason}\n")
    return seen


@pytest.mark.parametrize(
    ("state", "code", "means", "exit_class"),
    [
        ("PENDING", None, RemoteState.QUEUED, ""),
        ("CONFIGURING", None, RemoteState.QUEUED, ""),
        ("RUNNING", None, RemoteState.RUNNING, ""),
        ("COMPLETING", None, RemoteState.RUNNING, ""),
        ("SUSPENDED", None, RemoteState.RUNNING, ""),
        ("COMPLETED", 0, RemoteState.COMPLETED, ""),
        ("FAILED", 3, RemoteState.FAILED, "exit:3"),
        ("FAILED", 137, RemoteState.FAILED, "signal:SIGKILL"),
        ("FAILED", None, RemoteState.FAILED, "exit:1"),
        ("CANCELLED", None, RemoteState.CANCELLED, ""),
        ("CANCELLED by 1000", None, RemoteState.CANCELLED, ""),
        ("TIMEOUT", None, RemoteState.FAILED, "timeout"),
        ("DEADLINE", None, RemoteState.FAILED, "timeout"),
        ("OUT_OF_MEMORY", 137, RemoteState.FAILED, "oom"),
        ("NODE_FAIL", None, RemoteState.FAILED, "lost"),
        ("BOOT_FAIL", None, RemoteState.FAILED, "lost"),
        ("PREEMPTED", None, RemoteState.FAILED, "lost"),
        ("A_STATE_OF_SLURM_99", None, RemoteState.FAILED, "exit:1"),
    ],
)
def test_each_state_means_what_the_manual_says(
    state: str, code: int | None, means: RemoteState, exit_class: str
) -> None:
    status = words.status(line(state), code)
    assert (status.state, status.exit_class) == (means, exit_class)


def test_why_it_waits_there_is_its_progress_and_a_start_that_is_only_planned_is_no_start() -> None:
    status = words.status(line("PENDING", "Resources"), None)
    assert status.progress == "Slurm: Resources" and status.started_at is None
    assert words.status(line("PENDING", "None"), None).progress == ""
    assert words.status(line("RUNNING"), None).started_at == 1_700_000_000


def test_a_reason_may_hold_the_separator() -> None:
    assert line("PENDING", "a|b").reason == "a|b"


def test_accounting_tells_the_exit_code_too() -> None:
    [seen] = words.sacct("17|gy-0a1b2c3d-5|FAILED|1700000000|Unknown|NonZeroExitCode|7:0\n")
    assert (seen.id, seen.state, seen.started_at, seen.ended_at, seen.code) == ("17", "FAILED", 1.7e9, None, 7)
    assert words.status(seen, seen.code).message == "", "its own failure needs no word of Slurm's"


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading(text: str) -> None:
    for seen in [*words.squeue(text), *words.sacct(text)]:
        words.status(seen, None)
    words.exit_code(text)
    words.field(text, "ExitCode")
