"""`python -m tests.e2e.of_version N … gpuyard VERB …`: gpuyard, but it speaks version N of the protocol."""

from __future__ import annotations

import sys

from gpuyard.actors.model import wire


def main() -> None:
    words = sys.argv[2:]
    wire.PROTOCOL = int(sys.argv[1])  # type: ignore[misc]  # before anybody else reads it
    sys.argv[1:] = words[words.index("gpuyard") + 1 :]
    from gpuyard.cli.main import main as gpuyard

    gpuyard()


if __name__ == "__main__":
    main()
