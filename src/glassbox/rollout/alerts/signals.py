"""The numbers that rules look at: those of the server's own JSON answers, by path.

``summary.latency_percentiles_ms.p99`` is the number at that place of ``GET …/audit/summary``. What
is in a list goes by its name. A word such as a phase becomes a signal that is 1, as in
``rollout.phase.Failed``; the other phases are 0 then. Knows no rule.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

STATE_KEYS: Final = frozenset(
    {"status", "state", "phase", "verdict", "breaker", "severity", "decision"}
)
"""Keys whose words are signals; other texts are not."""

NAME_KEYS: Final = ("name", "model_version", "shadow_version", "feature", "value", "rule")
"""Keys that name what is in a list, the first that there is."""

MOST_DEEP: Final = 12
"""Levels of JSON that are looked into."""


def flattened(answers: Mapping[str, Any]) -> dict[str, float]:
    """Return every finite number of JSON by its path, truth values as 0 and 1.

    Args:
        answers: JSON by the first part of the paths, as in ``{"summary": {…}, "drift": {…}}``.
    """
    return dict(_walk("", answers, 0))


def value_of(signals: Mapping[str, float], name: str) -> float | None:
    """Return a signal's value, None where it is not reported or no number.

    A word that is not the present one of its place is 0.
    """
    value = signals.get(name)
    if value is None:
        parent, _, _ = name.rpartition(".")
        is_word = parent.rpartition(".")[2] in STATE_KEYS
        other = is_word and any(each.startswith(f"{parent}.") for each in signals)
        return 0.0 if other else None
    return value if math.isfinite(value) else None


def _walk(path: str, value: Any, depth: int) -> Iterator[tuple[str, float]]:
    if isinstance(value, bool | int | float):
        if math.isfinite(value):
            yield path, float(value)
    elif isinstance(value, str):
        if path.rpartition(".")[2] in STATE_KEYS and value:
            yield f"{path}.{value}", 1.0
    elif depth < MOST_DEEP:
        for name, each in _parts(value):
            yield from _walk(f"{path}.{name}" if path else name, each, depth + 1)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((str(key), each) for key, each in value.items())
    elif isinstance(value, Sequence):
        named = ((_name(each), each) for each in value if isinstance(each, Mapping))
        yield from ((name, each) for name, each in named if name)


def _name(value: Mapping[str, Any]) -> str:
    return next((str(value[key]) for key in NAME_KEYS if isinstance(value.get(key), str)), "")
