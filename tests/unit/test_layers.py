"""What import-linter cannot say: whole folders that import nothing but the standard library (and msgspec)."""

from __future__ import annotations

import ast
import subprocess
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


@pytest.mark.parametrize(
    "path", sorted((ROOT / "actors/model").rglob("*.py")), ids=lambda path: "/".join(path.with_suffix("").parts[-2:])
)
def test_the_core_imports_only_itself_msgspec_and_the_standard_library(path: Path) -> None:
    for name in imported(path):
        top = name.split(".")[0]
        assert top in sys.stdlib_module_names or top == "msgspec" or name.startswith("gpuyard.actors.model"), name


@pytest.mark.parametrize(
    "path", sorted((ROOT / "actors/model").rglob("*.py")), ids=lambda path: "/".join(path.with_suffix("").parts[-2:])
)
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


EACH_FIRST = """
import importlib, sys
for name in sys.argv[1:]:
    for loaded in [known for known in sys.modules if known.startswith("gpuyard")]:
        del sys.modules[loaded]
    importlib.import_module(name)
"""


def test_every_module_of_the_core_and_the_transport_can_be_the_first_that_is_imported() -> None:
    """A circle of imports shows only to whoever comes in at the wrong place."""
    modules = [
        ".".join(("gpuyard", *path.relative_to(ROOT).with_suffix("").parts))
        for folder in ("actors/model", "transport")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.stem != "__init__"
    ]
    done = subprocess.run([sys.executable, "-c", EACH_FIRST, *modules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nobody_uses_pickle() -> None:
    for folder in ("actors", "transport", "api", "cli"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not {"pickle", "marshal", "shelve"} & set(imported(path)), path
