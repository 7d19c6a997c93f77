"""Requests made from the OpenAPI document, valid ones and broken ones, against a real server: no 5xx, no undocumented
status, every answer as documented.

Routes whose answer never ends (event streams) are left out. Half of the ids are real ones, so that requests get
deeper than "unknown id".
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.e2e.server import Server

CONFIGS = Path(__file__).parents[2] / "tools" / "examples" / "configs"
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
NAMES = {"gpu": ("0", "3", "GPU-5"), "name": ("tiny", "tiny-cpu")}
JOBS: list[dict[str, Any]] = [
    {"command": ["sleep", "600"]},
    {"command": ["true"], "num_processes": 0},
    {"command": ["true"], "requires_approval": True},
    {"command": ["false"], "num_processes": 0},
    {"config_name": "tiny"},
]
KEPT_IDS = 40
# Of 503 only a server that is not ready, or overloaded, may speak.
NEVER = frozenset({503})


@dataclass
class Report:
    """What was asked, what was answered, and what should not have been."""

    requests: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.broken

    def __str__(self) -> str:
        answers = ", ".join(f"{count} × {status}" for status, count in sorted(self.statuses.items()))
        head = f"{self.requests} requests to {len(self.operations)} routes: {answers}"
        return "\n".join([head, *self.broken.values(), "nothing broken" if self.ok else f"{len(self.broken)} broken"])


class Fuzzer:
    """`number` requests to the server at `url`, the same ones for the same `seed` (but for the ids)."""

    def __init__(self, url: str, number: int, seed: int = 1) -> None:
        self.number = number
        self.report = Report()
        self._seed = seed
        self._url = url
        self._ids: list[str] = []
        self._session = requests.Session()
        self._impossible: set[tuple[str, GenerationMode]] = set()

    def run(self) -> Report:
        with self._session, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            operations = list(self._operations())
            for turn in range(1_000):
                if self.report.requests >= self.number:
                    break
                left = self.number - self.report.requests
                for place, operation in enumerate(operations):
                    self._ask(operation, max(1, left // len(operations) // len(MODES)), turn * 1_000 + place)
        return self.report

    def _operations(self) -> Iterator[Any]:
        schema = schemathesis.openapi.from_url(f"{self._url}/openapi.json")
        for result in schema.get_all_operations():
            operation = result.ok()
            answers = operation.definition.raw["responses"]["200"].get("content", {})
            if "text/event-stream" not in answers:
                yield operation

    def _ask(self, operation: Any, number: int, offset: int) -> None:
        self._submit(offset)
        for mode in MODES:
            if (operation.label, mode) in self._impossible:
                continue
            try:
                self._drawn(operation.as_strategy(generation_mode=mode), number, self._seed * 1_000_003 + offset)
            except Unsatisfiable:
                # It takes nothing that could be wrong.
                self._impossible.add((operation.label, mode))

    def _submit(self, number: int) -> None:
        """One more job that runs, waits, has ended, or needs an approval: something to ask about."""
        body = JOBS[number % len(JOBS)]
        answer = self._session.post(f"{self._url}/api/queue/submit", json=body, timeout=30)
        self._learn(answer.status_code, answer.text)

    def _drawn(self, cases: st.SearchStrategy[Case], number: int, seed: int) -> None:
        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=number,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(cases, st.integers(0, 2 * KEPT_IDS))
        def test(case: Case, pick: int) -> None:
            if self.report.requests < self.number:
                self._name(case, pick)
                self._send(case)

        test()

    def _name(self, case: Case, pick: int) -> None:
        """Half of the time what the path names exists."""
        for key in case.path_parameters or {}:
            real = NAMES.get(key, self._ids if key == "job_id" else ())
            if real and pick % 2:
                case.path_parameters[key] = real[pick // 2 % len(real)]

    def _send(self, case: Case) -> None:
        report, label = self.report, f"{case.operation.method.upper()} {case.operation.path}"
        answer = case.call(session=self._session, timeout=30)
        report.requests += 1
        report.operations[label] += 1
        report.statuses[answer.status_code] += 1
        if answer.status_code in NEVER:
            self._broke(f"{label}: {answer.status_code}", case, answer.text)
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                self._broke(f"{label}: {answer.status_code}: {type(failure).__name__}", case, str(failure))
        self._learn(answer.status_code, answer.text)

    def _broke(self, what: str, case: Case, why: str) -> None:
        """The first case of each kind is kept."""
        self.report.broken.setdefault(what, f"{what}\n  {why.strip()[:2_000]}\n  {case.as_curl_command()[:2_000]}")

    def _learn(self, status: int, text: str) -> None:
        job_id = _job_id(text) if status == 200 else None
        if job_id is not None and job_id not in self._ids:
            self._ids = [*self._ids, job_id][-KEPT_IDS:]


def _job_id(text: str) -> str | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found.get("job_id") if isinstance(found, dict) else None


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """A server with four simulated GPUs and some configs. Programs are looked for where only harmless ones are."""
    programs = folder / "programs"
    programs.mkdir()
    for name in ("true", "false", "sleep"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    server = Server(folder, gpus="4", PATH=str(programs))
    for name in NAMES["name"]:
        shutil.copy(CONFIGS / f"{name}.toml", server.configs)
    try:
        yield server.start()
    finally:
        server.close()
