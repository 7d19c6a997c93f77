"""A real server with a fault in one handler: `faulty_server.py ACTOR MESSAGE HOW python -m gpuyard server …`.

It stands before the command of the server, like any program that starts another, and takes its place.
"""

from __future__ import annotations

import sys

from gpuyard.actors.supervisor import Child, Patience, Supervisor
from gpuyard.cli.main import main
from tests.fire import handlers
from tests.fire.handlers import Fault, How


def arm(actor: str, message: str, how: How) -> None:
    """Every supervisor of this process meets it, and waits for a thread that hangs for a few seconds only."""
    made = Supervisor.__post_init__

    def with_fault(supervisor: Supervisor) -> None:
        made(supervisor)
        (handler,) = [h for h in handlers.of(supervisor.children) if str(h) == f"{actor}-{message}"]
        fault = Fault(handler, how)
        fault.armed.set()
        supervisor.children[:] = [_faulty(child, fault) for child in supervisor.children]
        supervisor.patience = Patience(hang=3.0, ping_every=0.2)

    Supervisor.__post_init__ = with_fault  # type: ignore[method-assign]


def _faulty(child: Child, fault: Fault) -> Child:
    return handlers.faulty(child, fault) if child.name == fault.handler.actor else child


if __name__ == "__main__":
    arm(sys.argv[1], sys.argv[2], How(sys.argv[3]))
    sys.argv[:] = ["gpuyard", *sys.argv[sys.argv.index("gpuyard") + 1 :]]
    main()
