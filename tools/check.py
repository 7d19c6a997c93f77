"""The static checks, one command: format, lint, imports' layers, types. `--fast` leaves out the types (pre-commit)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

FAST = {
    "format": ["ruff", "format", "--check", "."],
    "lint": ["ruff", "check", "."],
}
SLOW = {
    "layers": ["importlinter.cli"],
    "types": ["mypy"],
}


def run(name: str, command: list[str]) -> bool:
    """Run one check as a module of this interpreter; print what it said when it failed."""
    module, *rest = command
    call = [sys.executable, "-m", module, *rest]
    if module == "importlinter.cli":
        call = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", *rest]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True)
    print(f"{'ok  ' if done.returncode == 0 else 'FAIL'} {name}")
    if done.returncode != 0:
        print(done.stdout + done.stderr)
    return done.returncode == 0


def main() -> int:
    """0 when all checks pass."""
    checks = FAST if "--fast" in sys.argv[1:] else {**FAST, **SLOW}
    failed = [name for name, command in checks.items() if not run(name, command)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
