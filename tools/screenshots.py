"""Pictures of every page in both colours, of a small busy yard: `python tools/screenshots.py FOLDER`.

Starts a server of its own with simulated GPUs, gives it work, looks at it with a headless Chromium, and ends all of it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import sync_playwright
from tests.e2e.server import Server
from tests.support import eventually

from gpuyard.api.web.pages import NAVIGATION

TRAIN = Path(__file__).parent / "examples" / "train_tiny.py"
SIZE = {"width": 1280, "height": 860}


def busy(server: Server) -> str:
    """Give the yard work; the id of a job that trains."""
    server.limits(local_job_max_concurrent=3)
    python = sys.executable
    server.submit(python, "-c", "raise SystemExit('CUDA out of memory')", name="flux-dreambooth-3", num_processes=0)
    training = server.submit(python, "-u", str(TRAIN), "--steps", "100000", name="sdxl-lora-7", num_processes=2)[
        "job_id"
    ]
    server.submit("sleep", "900", name="vae-finetune", num_processes=1)
    for name, gpus in (("big-one", 4), ("sdxl-lora-8", 2), ("text-encoder", 1)):
        server.submit("sleep", "900", name=name, num_processes=gpus)
    server.submit("sleep", "900", name="eight-hours-of-h100", requires_approval=True, estimated_cost=96.0)
    server.post("/api/approvals/rules", {"name": "dear", "type": "cost_exceeds", "threshold": 50})
    server.post("/api/admin/workers", {"name": "gpu-box-1", "labels": {"gpu_type": "a100-80gb", "site": "lab"}})
    eventually(lambda: server.job(training)["phase"] == "running", timeout=60)
    return str(training)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("no Chromium is installed (Debian: apt-get install chromium)", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpuyard-pictures-") as place, sync_playwright() as playwright:
        server = Server(Path(place), "--zmq-bind", "tcp://127.0.0.1:0", gpus="4:A100:80")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            training = busy(server.start())
            pages = {name.lower(): address for address, name in NAVIGATION} | {"job": f"/jobs/{training}"}
            for scheme in ("light", "dark"):
                context = browser.new_context(base_url=server.url, viewport=SIZE, color_scheme=scheme)
                page = context.new_page()
                for name, address in pages.items():
                    page.goto(address)
                    page.wait_for_selector("#live[data-state=live]")
                    if name == "job":
                        page.wait_for_selector(".line >> nth=12")
                    page.screenshot(path=folder / f"{name}-{scheme}.png")
                    print(folder / f"{name}-{scheme}.png", flush=True)
                context.close()
        finally:
            browser.close()
            server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
