"""Reads the project's own pages: fenced blocks and links."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

PAGES = sorted(
    path
    for where in (
        "*.md",
        "docs/**/*.md",
        "examples/*.md",
        "infra/**/*.md",
        "recipes/**/*.md",
        "web/*.md",
        "web/sdk/*.md",
        "src/glassbox/assets/**/*.md",
    )
    for path in ROOT.glob(where)
)
"""Every page of the project; the libraries of ``web`` and of ``.venv`` have pages of their own."""

_FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)(?:\s[^)]*)?\)")
_HEADING = re.compile(r"^#{1,6} (.+?) *$", re.MULTILINE)
_ID = re.compile(r"""<a id=["']([^"']+)""")
_IMAGE = re.compile(r"""<img[^>]+src=["']([^"']+)""")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the words after it, and its text."""

    language: str
    words: tuple[str, ...]
    text: str


def blocks(page: Path) -> list[Block]:
    found = _FENCE.finditer(page.read_text(encoding="utf-8"))
    return [Block(each[1], tuple(each[2].split()), each[3]) for each in found]


def links(page: Path) -> list[str]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    text = re.sub(r"`[^`\n]*`", "", text)
    return _LINK.findall(text) + _IMAGE.findall(text)


def anchors(page: Path) -> set[str]:
    """What may stand behind ``#`` in a link to the page: GitHub's name of each heading."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    found: dict[str, int] = {}
    for heading in _HEADING.findall(text):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        found[name] = found.get(name, 0) + 1
    return {
        f"{name}-{n}" if n else name for name, times in found.items() for n in range(times)
    } | set(_ID.findall(text))
