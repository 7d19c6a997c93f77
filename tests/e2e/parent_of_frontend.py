"""A small supervisor for tests: one actor, the link, and a Frontend process; prints PORT and PID and waits.

python -m tests.e2e.parent_of_frontend FOLDER
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetLimits, LoadRegisters
from gpuyard.actors.model.limits import Limits
from gpuyard.actors.people import People
from gpuyard.api.handover import FrontendConfig
from gpuyard.api.process import FrontendProcess, bind
from gpuyard.api.settings import Settings
from gpuyard.cli.frontend_wiring import MODULE
from gpuyard.transport.link import Link
from tests.answering import cast


def main() -> None:
    folder = Path(sys.argv[1])
    listener = bind("127.0.0.1", 0)
    with cast() as made:
        made.play(names.SCHEDULER, {GetLimits: Limits()})
        made.play(names.STORE, {LoadRegisters: {"user": [], "team": [], "token": []}})
        made.start(People, names.PEOPLE)
        made.start(Link, names.LINK, folder / "sockets")
        config = FrontendConfig(sockets_dir=str(folder / "sockets"), settings=Settings(data_dir=str(folder)))
        process = FrontendProcess(listener, MODULE, config)
        process.start()
        print(listener.getsockname()[1], process.pid, flush=True)
        time.sleep(300)  # until the test kills it; not longer, should the test be killed first


if __name__ == "__main__":
    main()
