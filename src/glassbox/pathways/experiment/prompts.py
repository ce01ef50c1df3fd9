"""Paired prompts: the same situation told safely and riskily.

JSON Lines with ``prompt``, ``kind`` (safe or risky) and ``pair``; other fields are passed over.
No torch.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from glassbox.errors import InvalidData, NotEnoughData, UnknownName
from glassbox.pathways.experiment.conditions import KINDS, Kind
from glassbox.types import TINY

SLOT_MACHINE = "slot_machine.jsonl"
"""The embedded prompts."""


@dataclass(frozen=True)
class PromptPair:
    """One situation."""

    pair: str
    """Its name in the file."""
    safe: str
    """The prompt with the safe framing."""
    risky: str
    """The prompt with the risky framing."""

    def of(self, kind: Kind) -> str:
        """Return the prompt of one kind."""
        return self.safe if kind == "safe" else self.risky


def prompts_path(prompts: str) -> Path:
    """Return the file that ``experiment.prompts`` means; ``tiny`` is the embedded slot machine."""
    if prompts == TINY:
        return Path(str(files("glassbox"))) / "assets" / SLOT_MACHINE
    return Path(prompts)


def read_pairs(path: Path) -> list[PromptPair]:
    """Return all pairs in the order of the file.

    Raises:
        UnknownName: There is no such file.
        InvalidData: A line is no such prompt, or a pair is not one safe and one risky prompt.
    """
    if not path.is_file():
        raise UnknownName("file of prompts", str(path), remedy="Give JSON Lines, or 'tiny'.")
    found: dict[str, dict[str, str]] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            prompt, kind, pair = _fields(line, path, number)
            sides = found.setdefault(pair, {})
            if kind in sides:
                raise InvalidData(
                    f"pair {pair!r} has a second {kind} prompt", source=str(path), line=number
                )
            sides[kind] = prompt
    for pair, sides in found.items():
        if len(sides) < len(KINDS):
            missing = next(kind for kind in KINDS if kind not in sides)
            raise InvalidData(f"pair {pair!r} has no {missing} prompt", source=str(path))
        if sides["safe"] == sides["risky"]:
            raise InvalidData(f"both prompts of pair {pair!r} are the same", source=str(path))
    if not found:
        raise InvalidData("no prompts", source=str(path))
    return [PromptPair(pair, sides["safe"], sides["risky"]) for pair, sides in found.items()]


def choose_pairs(
    pairs: Sequence[PromptPair], n_pairs: int | None, seed: int
) -> tuple[list[PromptPair], list[PromptPair]]:
    """Return the pairs of the experiment, and the others, both in an order that the seed decides.

    Raises:
        NotEnoughData: There are fewer pairs than are to be used.
    """
    if n_pairs is not None and n_pairs > len(pairs):
        raise NotEnoughData("experiment.n_pairs", len(pairs), n_pairs, unit="pair")
    order = np.random.default_rng([seed, 1]).permutation(len(pairs)).tolist()
    shuffled = [pairs[index] for index in order]
    n_used = len(pairs) if n_pairs is None else n_pairs
    return shuffled[:n_used], shuffled[n_used:]


def _fields(line: str, path: Path, number: int) -> tuple[str, str, str]:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise InvalidData(f"no JSON ({error})", source=str(path), line=number) from error
    if not isinstance(row, dict):
        raise InvalidData("a JSON object is expected", source=str(path), line=number)
    prompt, kind, pair = row.get("prompt"), row.get("kind"), row.get("pair")
    if not isinstance(prompt, str) or not prompt:
        raise InvalidData("'prompt' is no text", source=str(path), line=number)
    if kind not in KINDS:
        raise InvalidData(
            f"'kind' is {kind!r}; allowed: safe, risky", source=str(path), line=number
        )
    if not isinstance(pair, str | int) or isinstance(pair, bool):
        raise InvalidData("'pair' is no number or name", source=str(path), line=number)
    return prompt, kind, str(pair)
