"""What import-linter cannot say: whole folders that import nothing but the standard library (and msgspec)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, by their full names; relative imports as `.`."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level if node.level else node.module or ""


@pytest.mark.parametrize("path", sorted((ROOT / "actors/model").glob("*.py")), ids=lambda path: path.stem)
def test_the_core_imports_only_itself_msgspec_and_the_standard_library(path: Path) -> None:
    for name in imported(path):
        top = name.split(".")[0]
        assert top in sys.stdlib_module_names or top == "msgspec" or name.startswith("gpuyard.actors.model"), name


@pytest.mark.parametrize("path", sorted((ROOT / "actors/model").glob("*.py")), ids=lambda path: path.stem)
def test_the_core_reads_no_clock_opens_no_file_and_starts_no_thread(path: Path) -> None:
    banned = {"time", "threading", "socket", "subprocess", "os", "asyncio", "random", "pathlib", "io", "selectors"}
    assert not {name.split(".")[0] for name in imported(path)} & banned


@pytest.mark.parametrize("path", sorted((ROOT / "actors/keeper/program").glob("*.py")), ids=lambda path: path.stem)
def test_the_keeper_program_imports_only_the_standard_library(path: Path) -> None:
    own = ("gpuyard.actors.keeper.program", "gpuyard.actors.procfs")
    for name in imported(path):
        assert name.split(".")[0] in sys.stdlib_module_names or name.startswith(own), name


def test_what_the_keeper_program_shares_imports_only_the_standard_library() -> None:
    assert {name.split(".")[0] for name in imported(ROOT / "actors/procfs.py")} <= sys.stdlib_module_names


def test_only_the_nvml_adapter_imports_pynvml() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for folder in ("actors", "transport", "api", "cli")
        for path in (ROOT / folder).rglob("*.py")
        if any(name.split(".")[0] == "pynvml" for name in imported(path))
    }
    assert all(user.startswith("actors/gpu/nvml") for user in users) and users


def test_nobody_uses_pickle() -> None:
    for folder in ("actors", "transport", "api", "cli"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not {"pickle", "marshal", "shelve"} & set(imported(path)), path
