"""What train_tiny.py does, with PyTorch: a small transformer learns Shakespeare's sonnets, on the GPUs it is given.

`CUDA_VISIBLE_DEVICES` decides: every visible GPU takes its share of each batch; with none it runs on the CPU. The
checkpoint (weights, optimizer, step, random states) goes into `GPUYARD_JOB_DIR`; SIGTERM saves and ends with code 85,
which asks the queue for another attempt, and that one goes on where this one stopped.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import torch
from torch import nn
from torch.nn import functional
from train_tiny import PROGRESS_SECONDS, RUN_ME_AGAIN, SONNETS, say

CONTEXT = 64
WIDTH = 96
HEADS = 4
LAYERS = 3
BATCH = 48


class SonnetModel(nn.Module):
    """A causal transformer over characters: (batch, time) codes → (batch, time, alphabet) logits."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.codes = nn.Embedding(size, WIDTH)
        self.places = nn.Embedding(CONTEXT, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, size)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        length = seen.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=seen.device)
        place = torch.arange(length, device=seen.device)
        return self.head(self.layers(self.codes(seen) + self.places(place), mask=mask, is_causal=True))


def batch(codes: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Random windows of the text and, one place on, what follows: two (BATCH, CONTEXT) tensors on the CPU."""
    starts = torch.randint(len(codes) - CONTEXT - 1, (BATCH,), generator=generator)
    windows = torch.stack([codes[at : at + CONTEXT + 1] for at in starts.tolist()])
    return windows[:, :-1], windows[:, 1:]


def loss_of(model: nn.Module, seen: torch.Tensor, following: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The mean loss in nats a character."""
    logits = model(seen.to(device))
    return functional.cross_entropy(logits.flatten(0, 1), following.to(device).flatten())


def save(path: Path, state: dict[str, object]) -> None:
    """Write the checkpoint whole, or leave the old one."""
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=100, metavar="STEPS")
    parser.add_argument("--dir", type=Path, default=Path(os.environ.get("GPUYARD_JOB_DIR", ".")))
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    given = options(argv)
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    torch.manual_seed(given.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gpus = (
        [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        if device.type == "cuda"
        else []
    )
    say(f"GPUs told: {os.environ.get('CUDA_VISIBLE_DEVICES', 'none')}; used: {', '.join(gpus) or 'none (CPU)'}")

    alphabet = sorted(set(SONNETS))
    codes = torch.tensor([alphabet.index(char) for char in SONNETS])
    model = SonnetModel(len(alphabet)).to(device)
    spread = nn.DataParallel(model) if len(gpus) > 1 else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(given.seed)
    probe = batch(codes, torch.Generator().manual_seed(0))
    with torch.no_grad():
        first = loss_of(model, *probe, device).item()

    given.dir.mkdir(parents=True, exist_ok=True)
    checkpoint = given.dir / "checkpoint.pt"
    step = 0

    def remember() -> None:
        random = {"generator": generator.get_state()}
        save(
            checkpoint,
            {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "first": first} | random,
        )

    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        step, first = state["step"], state["first"]
        say(f"going on from step {step} of {checkpoint.name}")

    told = time.monotonic()
    while step < given.steps and not stopping:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(spread, *batch(codes, generator), device)
        loss.backward()
        optimizer.step()
        step += 1
        if step % given.save_every == 0:
            remember()
        if time.monotonic() - told >= PROGRESS_SECONDS:
            told = time.monotonic()
            say(f"step {step}/{given.steps} loss {loss.item():.3f}")
    remember()
    if stopping and step < given.steps:
        say(f"stopped at step {step}; the checkpoint is saved")
        return RUN_ME_AGAIN if "GPUYARD_JOB_ID" in os.environ else 128 + signal.SIGTERM

    with torch.no_grad():
        last = loss_of(model, *probe, device).item()
    say(f"step {step}/{given.steps} loss {last:.3f}")
    say(f"done: loss {first:.3f} -> {last:.3f} in {step} steps on {device.type}")
    return 0 if last < first else 1


if __name__ == "__main__":
    sys.exit(main())
