"""Runs the commands whose output the pages show, and writes the output and pictures into the pages.

``python docs/refresh.py FOLDER`` runs what the pages show in a folder where the shipped run stands
for the demo's: ``<!-- output: COMMAND -->`` before a fenced ``text`` block, or ``output-head-N``
for the first N lines only. Pictures that the pages name are
copied from the demo's charts. Knows nothing of what the commands do.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
SHIPPED_RUN = ROOT / "src" / "glassbox" / "assets" / "run"

_OUTPUT = re.compile(r"<!-- output(?:-head-(\d+))?: (.+?) -->\n```\w+\n(?:.*?\n)??```", re.DOTALL)
_IMAGE = re.compile(r"images/([\w-]+)\.png")


def pages() -> list[Path]:
    """The pages that may show an output."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def output_of(command: str, folder: Path) -> str:
    """What a command prints, both streams together, without trailing spaces."""
    scripts = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'PATH="{scripts}:$PATH"\n{command}'],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{command}\nended with {done.returncode}:\n{done.stdout}")
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())


def refresh(page: Path, folder: Path, known: dict[str, str]) -> None:
    """Write current outputs into one page; ``known`` keeps what has been run."""

    def current(match: re.Match[str]) -> str:
        head, command = match.groups()
        if command not in known:
            known[command] = output_of(command, folder)
        lines = known[command].splitlines()
        if head is not None and len(lines) > int(head):
            lines = [*lines[: int(head)], "…"]
        comment = match[0].partition("\n")[0]
        language = "json" if lines and lines[0].startswith("{") else "text"
        return "\n".join([comment, f"```{language}", *lines, "```"])

    text = page.read_text(encoding="utf-8")
    fresh = _OUTPUT.sub(current, text)
    if fresh != text:
        page.write_text(fresh, encoding="utf-8")
        sys.stdout.write(f"{page.relative_to(ROOT)}\n")


def copy_images(folder: Path) -> None:
    """Bring the pictures that the pages name from the demo's charts."""
    IMAGES.mkdir(exist_ok=True)
    names = {name for page in pages() for name in _IMAGE.findall(page.read_text(encoding="utf-8"))}
    for name in sorted(names):
        for chart in (folder / "runs" / "demo" / "charts").glob(f"*/{name}.png"):
            shutil.copyfile(chart, IMAGES / chart.name)
            sys.stdout.write(f"docs/images/{chart.name}\n")


def main(folder: Path) -> None:
    """Refresh all pages from a folder in which the shipped run stands for the demo's."""
    demo = folder / "runs" / "demo"
    if not demo.exists():
        shutil.copytree(SHIPPED_RUN, demo)
    known: dict[str, str] = {}
    for page in pages():
        refresh(page, folder, known)
    copy_images(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "docs")
