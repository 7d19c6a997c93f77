"""What `pip install` gives: one package, all of the tree and nothing else, that no folder of the user shadows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("actors", "transport", "api", "cli")
CACHES = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*", "build", "dist")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the sdist and the wheel that was made from it; nothing comes from the network."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT, folder / "tree", symlinks=True, ignore=CACHES)
    run("-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(folder / "tree"), cwd=folder)
    yield folder / "dist"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


def run(*words: str, cwd: Path, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env=os.environ | environ, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tree() -> set[str]:
    """The files that belong into the package, as their names in it."""
    found = {
        f"gpuyard/{path.relative_to(ROOT)}" for part in PARTS for path in (ROOT / part).rglob("*") if path.is_file()
    }
    own = ROOT / "tools" / "pkg" / "gpuyard"
    found |= {f"gpuyard/{path.name}" for path in own.iterdir() if path.is_file()}
    return {name for name in found if "__pycache__" not in name}


def test_the_wheel_holds_the_tree_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    inside = {name for name in names if ".dist-info/" not in name}
    assert inside == tree()
    assert {
        "gpuyard/py.typed",
        "gpuyard/actors/store/migrations/0001_initial.py",
        "gpuyard/cli/demo/train_tiny.py",
        "gpuyard/actors/keeper/program/__main__.py",
    } < inside


def test_the_wheel_has_one_top_level_name_and_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        info = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")).rsplit("/", 1)[0]
        commands = archive.read(f"{info}/entry_points.txt").decode()
        licences = [name for name in archive.namelist() if name.startswith(f"{info}/licenses/")]
    assert tops == {"gpuyard", info}
    assert "gpuyard = gpuyard.cli.main:main" in commands
    assert licences == [f"{info}/licenses/LICENSE"]


def test_the_sdist_holds_real_files(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    names = {member.name.split("/", 1)[-1] for member in members}
    assert {"README.md", "LICENSE", "pyproject.toml"} < names
    assert not [member.name for member in members if member.issym() or member.islnk()]


def test_a_users_own_folders_do_not_shadow_it(wheel: Path, tmp_path: Path) -> None:
    target, here = tmp_path / "target", tmp_path / "here"
    run("-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", str(target), str(wheel), cwd=tmp_path)
    for part in PARTS:
        (here / part).mkdir(parents=True)
        (here / part / "__init__.py").write_text("raise ImportError('the user has a folder of this name')\n")
    own = {"PYTHONPATH": str(target), "GPUYARD_SERVER": "http://127.0.0.1:9"}
    where = run("-c", "import gpuyard.api, gpuyard.actors; print(gpuyard.__file__)", cwd=here, **own)
    assert Path(where.strip()).is_relative_to(target)
    assert "gpuyard" in run("-m", "gpuyard", "version", cwd=here, **own)
