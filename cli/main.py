"""The `gpuyard` command (being built)."""

from __future__ import annotations


def main() -> None:
    """Entry point."""
