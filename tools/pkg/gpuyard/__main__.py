"""`python -m gpuyard` is the `gpuyard` command."""

from __future__ import annotations

from gpuyard.cli.main import main

if __name__ == "__main__":
    main()
