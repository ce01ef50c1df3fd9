"""Takes the pages' pictures of the dashboard, the playground and a fleet anew.

``python docs/pictures.py [NAME ...]`` with names of ``PICTURES``; all of them take three minutes.
``dashboard`` is photographed when ``glassbox demo rollout`` has told its last act; ``fleet`` and
``playground`` are what the tests in the browser see; ``fleet_spike`` is drawn by the command that
its page shows. Charts of the main job are ``docs/refresh.py``'s.
"""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"

TESTED = {
    "fleet": ("tests/e2e/test_fleet_page.py", "whole_accessible and light", "fleet-light"),
    "playground": ("tests/e2e/test_playground.py", "coloured_inspected", "answer"),
}
"""Of each picture that a test leaves: its file, which test, and the name that it has there."""

PICTURES = ("dashboard", "fleet_spike", *TESTED)

GLASSBOX = Path(sys.executable).parent / "glassbox"

PORT = 8798
ENDED = "look at"
"""Head of the table that the demo prints when all is told and its traffic goes on."""

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)


def tested(name: str, folder: Path) -> Path:
    """Return the picture that a test takes."""
    file, which, taken = TESTED[name]
    shots = [f"{each}_SHOTS={folder}" for each in ("DASHBOARD", "PLAYGROUND")]
    pytest = [sys.executable, "-m", "pytest", "--quiet", "--numprocesses", "0"]
    subprocess.run(["env", *shots, *pytest, file, "-k", which], cwd=ROOT, check=True)
    return folder / f"{taken}.png"


def dashboard(folder: Path) -> Path:
    """Return the overview as it is after the demo's three acts."""
    with told(folder / "demo") as address, sync_playwright() as started:
        # Chromium refuses its own sandbox to root, as whom containers run.
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address)
        page.get_by_role("table", name="Latest predictions").get_by_role("button").first.wait_for()
        page.wait_for_timeout(3000)
        page.screenshot(path=folder / "dashboard.png", full_page=True)
        browser.close()
    return folder / "dashboard.png"


def fleet_spike(folder: Path) -> Path:
    """Return what the command of the page about capacity draws of a spike."""
    page = (ROOT / "docs" / "how-to" / "plan-capacity.md").read_text(encoding="utf-8")
    found = re.search(r"^glassbox plan (capacity\.json --users .*\n.*)$", page, re.MULTILINE)
    assert found is not None
    shutil.copy(ROOT / "docs" / "how-to" / "capacity-example.json", folder / "capacity.json")
    words = found[1].replace("\\", "").split()
    subprocess.run([GLASSBOX, "plan", *words], cwd=folder, check=True)
    return folder / "plan" / "capacity" / "fleet_spike.png"


@contextmanager
def told(folder: Path) -> Iterator[str]:
    """Yield the address of the demo's server once all is told."""
    words = ["demo", "rollout", "--no-browser", "--port", str(PORT), "--out", str(folder)]
    demo = subprocess.Popen([GLASSBOX, *words], stdout=subprocess.PIPE, text=True)
    try:
        wait_for(ENDED, demo.stdout)
        yield f"http://127.0.0.1:{PORT}/"
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(60)


def wait_for(words: str, lines: IO[str] | None) -> None:
    """Come back when a program has printed some words; end if it ends before."""
    for line in lines or ():
        if words in line:
            return
    sys.exit(f"the demo ended without {words!r}")


def main(names: list[str]) -> None:
    """Take some pictures, or all."""
    unknown = set(names) - set(PICTURES)
    if unknown:
        sys.exit(f"no pictures {sorted(unknown)}; there are {', '.join(PICTURES)}")
    with TemporaryDirectory(prefix="glassbox-pictures-") as text:
        for name in names or PICTURES:
            folder = Path(text) / name
            folder.mkdir()
            take = {"dashboard": dashboard, "fleet_spike": fleet_spike}.get(name)
            taken = tested(name, folder) if take is None else take(folder)
            shutil.copyfile(taken, IMAGES / f"{name}.png")
            sys.stdout.write(f"docs/images/{name}.png\n")


if __name__ == "__main__":
    main(sys.argv[1:])
