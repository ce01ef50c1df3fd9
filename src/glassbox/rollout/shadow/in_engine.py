"""Challengers on the resident base model: an adapter of the same engine, asked behind all else.

It saves a second copy of the model and pays with isolation: a pass that has begun is not
interrupted, and memory, device and process are the champion's. Knows no torch.
"""

from collections.abc import Callable
from typing import Protocol

from glassbox.rollout.prediction import Predictor
from glassbox.rollout.shadow.lane import Side
from glassbox.rollout.shadow.resident import ResidentSide
from glassbox.rollout.version import Version


class Busy(Protocol):
    """How much an engine has to do."""

    @property
    def n_running(self) -> int:
        """Requests that are being answered."""
        ...

    @property
    def n_waiting(self) -> int:
        """Requests that wait."""
        ...


def shares_base(version: Version, base_digest: str) -> bool:
    """Whether a version is an LLM classifier on the model of a digest (hex)."""
    base = version.metadata.get("base")
    return (
        version.kind == "llm-classifier"
        and isinstance(base, dict)
        and bool(base_digest)
        and base.get("digest") == base_digest
    )


def in_engine(
    engine: Busy,
    base_digest: str,
    load: Callable[[Version], Predictor],
    is_idle: Callable[[], bool] = lambda: True,
) -> Callable[[Version], Side | None]:
    """Return what finds a place in a resident engine for challengers on its base model.

    Others get None: a process of their own.

    Args:
        engine: The resident model.
        base_digest: Its digest (hex).
        load: Brings a version to life on it.
        is_idle: Whether nobody else in front of the engine, such as the champion, has work either.
    """

    def has_nothing_to_do() -> bool:
        return not engine.n_running and not engine.n_waiting and is_idle()

    def place(version: Version) -> Side | None:
        if not shares_base(version, base_digest):
            return None
        return ResidentSide(version.name, lambda: load(version), has_nothing_to_do)

    return place
