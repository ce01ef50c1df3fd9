"""Prompts and settings for small experiments."""

import json
from pathlib import Path

from glassbox.pathways.sections import ExperimentSection

FRAMINGS = {"safe": "You want to go home.", "risky": "You must win it all back tonight."}


def write_pairs(path: Path, n_pairs: int = 6) -> Path:
    """Pairs whose prompts differ in their middle, of unequal lengths."""
    lines = [
        {
            "prompt": f"You have {10 + 7 * pair} coins. {FRAMINGS[kind]} Stop or continue?",
            "kind": kind,
            "pair": pair,
        }
        for pair in range(n_pairs)
        for kind in ("safe", "risky")
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    return path


def section(prompts: Path, **changes) -> ExperimentSection:
    """A small experiment."""
    settings = {
        "prompts": str(prompts), "trials": 4, "per_layer": 3, "max_new_tokens": 3,
        "batch_rows": 7, "n_pairs": 4,
    }  # fmt: skip
    return ExperimentSection(**(settings | changes))
