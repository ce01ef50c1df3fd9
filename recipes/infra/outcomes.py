"""What came of a check: well, skipped with a reason, or failed with what the tool said."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
"""The repository."""

LIMIT_S = 600.0
"""Seconds after which a tool has got stuck."""


class Skipped(Exception):
    """A check that cannot be made here; the message says why."""


class Failed(Exception):
    """A check that found something; the message is what the tool said."""


@dataclass(frozen=True)
class Check:
    """One thing that is looked at."""

    name: str
    """As shown, and as ``--only`` takes it."""
    run: Callable[[], str]
    """Returns what was looked at, in a few words; raises ``Skipped`` or ``Failed``."""


@dataclass(frozen=True)
class Outcome:
    """What came of one check."""

    name: str
    """The check."""
    state: Literal["ok", "skipped", "failed"]
    """How it ended."""
    words: str
    """What was looked at, why not, or what was found."""
    wall_s: float
    """How long it took, in seconds."""


def outcome_of(check: Check) -> Outcome:
    """Return what came of a check."""
    began = time.monotonic()
    state: Literal["ok", "skipped", "failed"] = "ok"
    try:
        words = check.run()
    except Skipped as reason:
        state, words = "skipped", str(reason)
    except Failed as finding:
        state, words = "failed", str(finding)
    return Outcome(check.name, state, words, time.monotonic() - began)


def outcomes_of(checks: Sequence[Check], *, at_once: int = 2) -> list[Outcome]:
    """Return what came of the checks, in their order; ``at_once`` of them run at a time."""
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(outcome_of, checks))


def said_by(
    command: Sequence[str | Path],
    *,
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    allowed: Sequence[int] = (0,),
    limit_s: float = LIMIT_S,
) -> str:
    """Return what a program wrote.

    Args:
        command: The program and its words.
        folder: Where it runs.
        environment: Variables beside those of this process.
        allowed: Exit statuses that are no finding.
        limit_s: Seconds after which it has got stuck.

    Raises:
        Failed: It ended with another status, or got stuck.
    """
    try:
        done = subprocess.run(
            [str(each) for each in command],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command[0]} was stopped after {limit_s:g} s") from error
    if done.returncode not in allowed:
        raise Failed(f"{' '.join(map(str, command))}\n{done.stdout.strip()}")
    return done.stdout
