"""What the runs themselves wrote down (program.py), and what it proves about each job."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fire.load import Promise


class Marks:
    """The marks below `folder`: for each job and fence, how often its program started and came to its end."""

    def __init__(self, folder: Path) -> None:
        self.clashes = _records(folder / "clashes")
        self._seen: defaultdict[str, defaultdict[int, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        for path in folder.glob("*.marks"):
            for record in _records(path):
                self._seen[path.stem][record["fence"]][record["what"]] += 1

    @property
    def jobs(self) -> set[str]:
        return set(self._seen)

    def runs(self, job_id: str) -> dict[int, Counter[str]]:
        return dict(self._seen.get(job_id, {}))


def judge(promise: Promise, job: dict[str, Any], marks: Marks, shot: set[int]) -> Iterator[str]:
    """Each promise that was broken to one ended job. `shot` are the fences whose keepers were killed."""
    name = f"job {job['job_id']} ({promise.key})"
    runs = marks.runs(job["job_id"])
    attempts = {attempt["fence"]: attempt for attempt in job["attempts"]}
    for fence in runs.keys() - attempts.keys():
        yield f"{name}: fence {fence} ran, but is no attempt of it"
    for number, (fence, attempt) in enumerate(sorted(attempts.items()), start=1):
        what = f"{name}, attempt {number} ({fence})"
        count = runs.get(fence, Counter())
        lost = attempt["exit_class"] == "lost"
        if count["start"] > 1:
            yield f"{what} was started {count['start']} times"
        if count["start"] != count["end"]:
            yield f"{what} was killed on its way"
        if lost and fence not in shot:
            yield f"{what} is lost, but nobody shot its keeper: {attempt['error']}"
        if not lost and (attempt["exit_class"], attempt["exit_code"]) != (promise.exit_class, promise.code):
            yield f"{what} ended as {attempt['exit_class']} ({attempt['error']}) instead of {promise.exit_class}"
        if not lost and count["start"] != 1:
            yield f"{what} ended as {attempt['exit_class']}, but did not run"
        if lost != (number < len(attempts)) and number < job["max_attempts"]:
            yield f"{what} ended as {attempt['exit_class']} and was {'not ' if lost else ''}tried again"
    last = max(attempts.items(), default=(0, {"exit_class": None, "exit_code": None}))[1]
    status = "completed" if last["exit_class"] == "completed" else "failed"
    ended = (job["status"], job["exit_class"], job["exit_code"])
    if ended != (status, last["exit_class"], last["exit_code"]):
        yield f"{name} ended as {ended}, its last attempt as {last['exit_class']} ({last['exit_code']})"


def _records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
