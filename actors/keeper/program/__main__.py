"""Start the zygote: `python -I -S -E -X utf8 __main__.py DATA_DIR [--no-control-groups]`, requests on descriptor 0.

The program outlives the server and shares its files, so its modules keep their real names; yet nothing of gpuyard
may run here but this folder and `procfs`. An empty `gpuyard` package stands in for the real one: without site
packages, an import of anything else fails at once.
"""

from __future__ import annotations

import sys
import types

HERE = "/actors/keeper/program/__main__.py"


def main() -> None:
    package = types.ModuleType("gpuyard")
    package.__path__ = [__file__.removesuffix(HERE)]
    sys.modules["gpuyard"] = package

    from gpuyard.actors.keeper.program import zygote

    zygote.serve(sys.argv[1], control_groups="--no-control-groups" not in sys.argv[2:])


if __name__ == "__main__":
    main()
