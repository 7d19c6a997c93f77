"""A small but real training that needs only Python: a neural network learns to continue Shakespeare's sonnets.

It reads four characters and predicts the next one: a hidden layer of tanh units, a softmax over the characters, and
gradients written out by hand, in plain SGD. After 400 steps (a few seconds) the loss has fallen from 3.9 to about 1.8
nats a character on the text it learns, and what it writes by itself begins to look like English.

How it behaves in a queue is what any training could copy:

- `CUDA_VISIBLE_DEVICES` says which GPUs it was given. Plain Python can't use them; train_torch.py does.
- Every so many steps, and on SIGTERM, it writes a checkpoint into `GPUYARD_JOB_DIR`, a folder that outlives the
  attempt, and starts from there when it finds one: an interrupted run ends with the numbers of one that was not.
- After SIGTERM it ends with code 85, "my checkpoint is saved, run me again" (143 outside the queue).
- A line a few times a second says `step 120/400 loss 2.53`, from which `gpuyard top` draws the progress.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import sys
import time
from operator import mul
from pathlib import Path
from types import FrameType
from typing import Any

SONNETS = """\
Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date:
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance or nature's changing course untrimm'd;
But thy eternal summer shall not fade
Nor lose possession of that fair thou owest;
Nor shall Death brag thou wander'st in his shade,
When in eternal lines to time thou growest:
So long as men can breathe or eyes can see,
So long lives this and this gives life to thee.

When, in disgrace with fortune and men's eyes,
I all alone beweep my outcast state
And trouble deaf heaven with my bootless cries
And look upon myself and curse my fate,
Wishing me like to one more rich in hope,
Featured like him, like him with friends possess'd,
Desiring this man's art and that man's scope,
With what I most enjoy contented least;
Yet in these thoughts myself almost despising,
Haply I think on thee, and then my state,
Like to the lark at break of day arising
From sullen earth, sings hymns at heaven's gate;
For thy sweet love remember'd such wealth brings
That then I scorn to change my state with kings.

Let me not to the marriage of true minds
Admit impediments. Love is not love
Which alters when it alteration finds,
Or bends with the remover to remove:
O no! it is an ever-fixed mark
That looks on tempests and is never shaken;
It is the star to every wandering bark,
Whose worth's unknown, although his height be taken.
Love's not Time's fool, though rosy lips and cheeks
Within his bending sickle's compass come:
Love alters not with his brief hours and weeks,
But bears it out even to the edge of doom.
If this be error and upon me proved,
I never writ, nor no man ever loved.
"""
"""Sonnets 18, 29 and 116 (1609)."""

CONTEXT = 4
HIDDEN = 24
BATCH = 16
RATE = 0.1
RUN_ME_AGAIN = 85
PROGRESS_SECONDS = 0.2

Vector = list[float]
Matrix = list[Vector]


class Network:
    """Two layers: a table of hidden contributions for each (place, character), and a softmax over characters."""

    def __init__(self, size: int, rng: random.Random) -> None:
        def matrix(rows: int, columns: int, scale: float) -> Matrix:
            return [[rng.gauss(0.0, scale) for _ in range(columns)] for _ in range(rows)]

        self.size = size
        self.seen = [matrix(size, HIDDEN, 0.3) for _ in range(CONTEXT)]
        self.bias = [0.0] * HIDDEN
        self.out = matrix(size, HIDDEN, 0.1)
        self.out_bias = [0.0] * size

    def predict(self, context: tuple[int, ...]) -> tuple[Vector, Vector]:
        """The hidden layer and the probability of each next character."""
        rows = [self.seen[place][char] for place, char in enumerate(context)]
        hidden = [math.tanh(sum(parts)) for parts in zip(self.bias, *rows, strict=True)]
        logits = [bias + sum(map(mul, row, hidden)) for row, bias in zip(self.out, self.out_bias, strict=True)]
        top = max(logits)
        powers = [math.exp(logit - top) for logit in logits]
        total = sum(powers)
        return hidden, [power / total for power in powers]

    def learn(self, context: tuple[int, ...], target: int, rate: float) -> float:
        """One step of gradient descent on one example; returns its loss (nats) before the step."""
        hidden, probability = self.predict(context)
        # d loss / d logit is the probability, less one for what really came.
        error = probability[:]
        error[target] -= 1.0
        back = [0.0] * HIDDEN
        for row, slope in zip(self.out, error, strict=True):
            step = rate * slope
            for unit, value in enumerate(hidden):
                back[unit] += slope * row[unit]
                row[unit] -= step * value
        self.out_bias = [bias - rate * slope for bias, slope in zip(self.out_bias, error, strict=True)]
        # through tanh: its slope is 1 - tanh²
        moves = [rate * slope * (1.0 - value * value) for slope, value in zip(back, hidden, strict=True)]
        for place, char in enumerate(context):
            row = self.seen[place][char]
            self.seen[place][char] = [weight - move for weight, move in zip(row, moves, strict=True)]
        self.bias = [bias - move for bias, move in zip(self.bias, moves, strict=True)]
        return -math.log(max(probability[target], 1e-12))

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen, "bias": self.bias, "out": self.out, "out_bias": self.out_bias}

    def load(self, state: dict[str, Any]) -> None:
        self.seen, self.bias, self.out, self.out_bias = (state[name] for name in ("seen", "bias", "out", "out_bias"))


class Training:
    """A network, its data, and where it stands: all that a checkpoint holds."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.step = 0
        self.alphabet = sorted(set(SONNETS))
        codes = [self.alphabet.index(char) for char in SONNETS]
        self.examples = [(tuple(codes[at : at + CONTEXT]), codes[at + CONTEXT]) for at in range(len(codes) - CONTEXT)]
        self.rng = random.Random(seed)
        self.network = Network(len(self.alphabet), self.rng)
        self.probe = self.rng.sample(self.examples, 200)
        self.first_loss = self.loss()

    def loss(self) -> float:
        """The mean loss over a fixed sample, in nats a character."""
        return sum(-math.log(self.network.predict(seen)[1][next_]) for seen, next_ in self.probe) / len(self.probe)

    def advance(self) -> float:
        """One step: a batch of random examples. Returns the batch's mean loss."""
        rate = RATE / math.sqrt(1.0 + self.step / 200.0)
        batch = self.rng.choices(self.examples, k=BATCH)
        self.step += 1
        return sum(self.network.learn(seen, next_, rate) for seen, next_ in batch) / BATCH

    def sample(self, length: int = 60) -> str:
        """What the network writes by itself after "Love"."""
        rng = random.Random(self.seed)
        codes = [self.alphabet.index(char) for char in "Love"]
        while len(codes) < length:
            probability = self.network.predict(tuple(codes[-CONTEXT:]))[1]
            codes += rng.choices(range(len(self.alphabet)), probability)
        return "".join(self.alphabet[code] for code in codes).replace("\n", " / ")

    def save(self, path: Path) -> None:
        """Write the checkpoint so that at any moment either the old or the new one is there, whole."""
        state = {"seed": self.seed, "step": self.step, "first_loss": self.first_loss, "rng": self.rng.getstate()}
        new = path.with_suffix(".new")
        with new.open("w", encoding="ascii") as file:
            json.dump({**state, "network": self.network.state()}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    def load(self, path: Path) -> bool:
        """Go on from a checkpoint of the same seed; False when there is none that can be used."""
        try:
            state = json.loads(path.read_text("ascii"))
            if state["seed"] != self.seed:
                return False
            version, numbers, gauss = state["rng"]
            self.rng.setstate((version, tuple(numbers), gauss))
            self.network.load(state["network"])
            self.step, self.first_loss = int(state["step"]), float(state["first_loss"])
        except FileNotFoundError:
            return False
        except (ValueError, KeyError, TypeError) as error:
            say(f"the checkpoint {path} cannot be used ({error}): starting anew")
            return False
        return True


def say(text: str) -> None:
    print(text, flush=True)


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=None, help="end after so many steps (400, without --seconds)")
    parser.add_argument("--seconds", type=float, default=None, help="end after so many seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=50, metavar="STEPS", help="steps between checkpoints")
    parser.add_argument(
        "--dir", type=Path, default=Path(os.environ.get("GPUYARD_JOB_DIR", ".")), help="where the checkpoint lies"
    )
    parser.add_argument("--fail-at", type=int, default=None, metavar="STEP", help="break down there, to see a failure")
    found = parser.parse_args(argv)
    if found.steps is None and found.seconds is None:
        found.steps = 400
    return found


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    given = options(argv)
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    queued = "GPUYARD_JOB_ID" in os.environ
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    where = f"attempt {os.environ.get('GPUYARD_ATTEMPT', '?')} of job {os.environ.get('GPUYARD_JOB_ID')}"
    say(f"{where if queued else 'not in a queue'}; GPUs: {gpus if gpus else 'none'}")

    given.dir.mkdir(parents=True, exist_ok=True)
    checkpoint = given.dir / "checkpoint.json"
    training = Training(given.seed)
    if training.load(checkpoint):
        say(f"going on from step {training.step} of {checkpoint.name}")
    recent = training.loss()
    say(f"{len(training.examples)} examples; loss {recent:.3f} at step {training.step}")

    started = time.monotonic()
    told = started
    while not stopping and not ended(training, given, started):
        recent += 0.05 * (training.advance() - recent)
        if given.fail_at == training.step:
            raise FloatingPointError(f"loss is NaN at step {training.step} (as asked by --fail-at)")
        if training.step % given.save_every == 0:
            training.save(checkpoint)
        if time.monotonic() - told >= PROGRESS_SECONDS:
            told = time.monotonic()
            say(progress(training, given, started, recent))
    training.save(checkpoint)
    if stopping and not ended(training, given, started):
        say(f"stopped at step {training.step}; the checkpoint is saved")
        return RUN_ME_AGAIN if queued else 128 + signal.SIGTERM

    last = training.loss()
    say(progress(training, given, started, recent))
    say(f"it writes: {training.sample()}")
    say(f"done: loss {training.first_loss:.3f} -> {last:.3f} in {training.step} steps")
    if not last < training.first_loss:
        print("the loss did not fall: nothing was learned", file=sys.stderr)
        return 1
    return 0


def ended(training: Training, given: argparse.Namespace, started: float) -> bool:
    """Whether the asked steps are done or the time is up (at least one step is made)."""
    if given.steps is not None and training.step >= given.steps:
        return True
    return given.seconds is not None and training.step > 0 and time.monotonic() - started >= given.seconds


def progress(training: Training, given: argparse.Namespace, started: float, loss: float) -> str:
    """`step 120/400 loss 2.53`; a run by time alone tells its share of the time instead of the steps."""
    if given.steps is not None:
        return f"step {training.step}/{given.steps} loss {loss:.3f}"
    share = min(1.0, (time.monotonic() - started) / given.seconds) if given.seconds else 1.0
    return f"step {training.step} {share:.0%} loss {loss:.3f}"


if __name__ == "__main__":
    sys.exit(main())
