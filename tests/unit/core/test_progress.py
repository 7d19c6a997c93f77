"""Progress is read from what trainings print."""

from __future__ import annotations

import pytest

from gpuyard.actors.model.progress import progress_of

TQDM = "Epoch 1/3:  45%|████▌     | 120/400 [00:10<00:20, 12.0it/s, loss=0.531]"


@pytest.mark.parametrize(
    ("line", "share", "loss"),
    [
        ("step 120/400 loss 0.53", 0.3, "0.53"),
        ("Steps: 120 / 400, train_loss: 1.2e-3", 0.3, "1.2e-3"),
        ("step 60 31% loss 2.393", 0.31, "2.393"),
        ("epoch 2/3 step 100/400 loss=0.5", 0.25, "0.5"),
        ("Epoch 1/4", 0.25, None),
        ("{'loss': 0.41, 'epoch': 1.0}", None, "0.41"),
        ("loss nan", None, "nan"),
        (TQDM, 0.45, "0.531"),
        (" 45%|####      | 120/400", 0.45, None),
        ("iteration 7 of 10", 0.7, None),
    ],
)
def test_lines_that_tell_progress(line: str, share: float | None, loss: str | None) -> None:
    found = progress_of(f"something before\n{line}\nsomething after\n")
    assert found is not None
    assert found.share == (None if share is None else pytest.approx(share))
    assert found.loss == loss
    assert found.text == line.strip()


@pytest.mark.parametrize(
    "line",
    ["", "ready", "loaded 3/4 shards of 10/10"[:6], "2026/11/22 10:00", "CPU 93%", "step 5/0", "step 500/400", "a/b"],
)
def test_lines_that_do_not(line: str) -> None:
    assert progress_of(line) is None


def test_the_latest_wins_also_within_a_bar_that_is_drawn_over_itself() -> None:
    found = progress_of("step 1/10\nstep 2/10\r\rstep 3/10\rstep 4/10")
    assert found is not None
    assert found.share == pytest.approx(0.4)


def test_a_long_hostile_line_is_read_in_time() -> None:
    assert progress_of("1" * 100_000 + "/" + "%" * 100_000 + " loss" * 20_000) is None


def test_colours_hide_nothing() -> None:
    said = progress_of("\x1b[1mstep 30/60\x1b[0m loss \x1b[32m1.25\x1b[0m lr 1e-4")
    assert said is not None and (said.share, said.loss) == (0.5, "1.25")
    assert "\x1b" not in said.text
