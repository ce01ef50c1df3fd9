"""What the pages say can be done, and where they point."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from glassbox.cli.commands import ENTRIES
from glassbox.runtime import DEMO, SHIPPED_RUN
from glassbox.techniques.local.backend import running
from tests.docs.markdown import PAGES, ROOT, Block, anchors, blocks, links

RUNNABLE = [page for page in PAGES if any("run" in block.words for block in blocks(page))]
"""Pages with blocks that begin with ```bash run (or ```bash run slow)."""


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a page is followed; workers that it leaves behind end with it."""
    yield tmp_path
    for state in running(tmp_path / "workers"):
        with suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGTERM)


def _run(block: Block, folder: Path, *first: Path) -> None:
    places = (*first, Path(sys.executable).parent, os.environ["PATH"])
    environment = {
        **os.environ,
        "PATH": os.pathsep.join(map(str, places)),
        "HF_HUB_OFFLINE": "1",
        "GLASSBOX_PATHS__WORKERS": str(folder / "workers"),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", RUNNABLE, ids=_name)
def test_quick_blocks_run(page, folder, warm):
    """In the page's order and in one folder, where the shipped run stands in for the demo's."""
    if SHIPPED_RUN.is_dir():
        shutil.copytree(SHIPPED_RUN, folder / "runs" / DEMO)
    for block in blocks(page):
        if "run" in block.words and "slow" not in block.words:
            _run(block, folder, warm)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=_name)
def test_all_blocks_run(page, folder):
    """As a reader would: from an empty folder, nothing left out."""
    for block in blocks(page):
        if "run" in block.words:
            _run(block, folder)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page):
    for link in links(page):
        if "://" in link or link.startswith("mailto:"):
            continue
        place, _, anchor = link.partition("#")
        target = page.parent / place if place else page
        assert target.exists(), f"{_name(page)} points to {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{_name(page)} points to {link}"


def test_every_page_can_be_reached_from_the_first():
    reached, ahead = set(), {ROOT / "README.md"}
    while ahead:
        page = ahead.pop()
        reached.add(page)
        places = (page.parent / link.partition("#")[0] for link in links(page))
        ahead |= {place.resolve() for place in places} & set(PAGES) - reached
    # An adapter's page lies in its folder, for whoever is given that.
    missed = {page for page in PAGES if page.parent.name != "adapter"} - reached
    assert not [_name(page) for page in missed]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_in_blocks_exist(page):
    names = {entry.name for entry in ENTRIES}
    for block in blocks(page):
        if block.language not in ("bash", "console", "sh"):
            continue
        for line in block.text.splitlines():
            words = line.partition(" #")[0].removeprefix("$ ").split()
            if words[:1] == ["glassbox"] and len(words) > 1 and not words[1].startswith("-"):
                assert words[1] in names, f"{_name(page)}: {line}"
            if words[:1] == ["make"]:
                targets = (ROOT / "Makefile").read_text(encoding="utf-8")
                assert all(f"\n{word}:" in targets for word in words[1:] if "=" not in word), line


def test_newcomers_reach_a_result_within_forty_lines():
    head = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40]
    assert any("make demo" in line for line in head)
    assert any("](" in line or "<img" in line for line in head), "no picture"
