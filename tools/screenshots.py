"""Pictures of every page in both colours, at a desk's and a phone's width: `python tools/screenshots.py FOLDER`.

They show tools/showroom.py's yard. `--readme` takes those of the README, as wide as it shows them, into tools/pictures.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import Browser, Page, sync_playwright
from tools.showroom import Showroom

from gpuyard.api.web.pages import NAVIGATION

SIZES = {"desk": {"width": 1440, "height": 900}, "phone": {"width": 390, "height": 844}}
README_SIZE = {"width": 1280, "height": 800}
README = (("overview", "light"), ("overview", "dark"), ("job-waits", "light"), ("submit", "dark"))
PICTURES = Path(__file__).parent / "pictures"


def pages(room: Showroom) -> dict[str, str]:
    """A picture's name → the address that it shows."""
    jobs = {"job": "sdxl-lora-7", "job-waits": "sdxl-lora-8", "job-failed": "flux-dreambooth-3"}
    shown = {name.lower(): address for address, name in NAVIGATION}
    return shown | {name: f"/jobs/{room.jobs[job]}" for name, job in jobs.items()}


def take(browser: Browser, room: Showroom, file: Path, address: str, scheme: str, size: dict[str, int]) -> None:
    context = browser.new_context(base_url=room.server.url, viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    context.request.post("/api/login/token", headers={"Authorization": f"Bearer {room.tokens['ann']}"})
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#live[data-state=live]")
    _settle(page, address)
    page.screenshot(path=file, full_page="phone" in file.name)
    print(file, flush=True)
    context.close()


def _settle(page: Page, address: str) -> None:
    """Until that is there which comes a moment after the page."""
    if address == "/submit":
        page.get_by_role("button", name="sdxl-lora").click()
        page.wait_for_selector("#forecast p:not(.empty)")
    if address == "/":
        page.wait_for_selector("[data-region=depth] svg")
        page.wait_for_selector("progress")
    if page.locator("[data-attempt]").count() and page.locator("[data-region=job] .status-running").count():
        page.wait_for_selector(".line >> nth=12")
        page.wait_for_selector("[data-region=job_gpus] .edge", timeout=60_000)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=PICTURES)
    parser.add_argument("--readme", action="store_true", help="only the pictures of the README")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("no Chromium is installed (Debian: apt-get install chromium)", file=sys.stderr)
        return 1
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpuyard-pictures-") as place, sync_playwright() as playwright:
        room = Showroom(Path(place))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            shown = pages(room.start())
            if given.readme:
                for name, scheme in README:
                    take(browser, room, given.folder / f"{name}-{scheme}.png", shown[name], scheme, README_SIZE)
                return 0
            for scheme in ("light", "dark"):
                for width, size in SIZES.items():
                    for name, address in shown.items():
                        file = given.folder / f"{name}-{scheme}-{width}.png"
                        take(browser, room, file, address, scheme, size)
        finally:
            browser.close()
            room.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
