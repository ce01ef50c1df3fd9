"""A place for a version in this process, asked only while nothing else is: no isolation, no cost.

Used for the champion asked once more, and for challengers that share the resident model. What is
asked here cannot be interrupted: it shares the fate of what answers. Knows no engine.
"""

import time
from collections.abc import Callable
from typing import Final

import orjson

from glassbox.engine.model.attempt import attempt
from glassbox.errors import GlassboxError
from glassbox.rollout.prediction import Predictor
from glassbox.rollout.shadow.faults import fault_of
from glassbox.rollout.shadow.packing import packed, unpacked
from glassbox.rollout.shadow.process import (
    Answered,
    VersionBusy,
    VersionLost,
    VersionOverdue,
    VersionRefused,
)

LOOK_S: Final = 0.01
"""Seconds between two looks whether nothing else is asked."""


class ResidentSide:
    """A version in this process.

    Args:
        name: Of the version.
        bring: Brings it to life; called on the lane's thread.
        is_idle: Whether nothing else runs or waits now.
    """

    pid: int | None = None
    resident_bytes: int = 0

    def __init__(
        self, name: str, bring: Callable[[], Predictor], is_idle: Callable[[], bool]
    ) -> None:
        self._name = name
        self._bring = bring
        self._is_idle = is_idle
        self._predictor: Predictor | None = None
        self._is_ended = False

    def wait_until_loaded(self) -> None:
        """Bring the version to life.

        Raises:
            VersionLost: It cannot be: says why.
        """
        found = attempt(self._bring)
        if isinstance(found, Exception):
            raise VersionLost(f"{self._name!r} could not be loaded: {_words(found)}") from found
        self._predictor = found

    def ask(self, rows: bytes, *, timeout_s: float) -> Answered:
        """Return the version's answers, once nothing else is asked.

        Args:
            rows: JSON array of the rows' features.
            timeout_s: Seconds to wait for a moment without other work, and that it may take then.

        Raises:
            VersionBusy: There was no such moment.
            VersionRefused: It raised an error, or answered what is no answer.
            VersionOverdue: It took longer; it was waited for none the less.
            VersionLost: It was ended meanwhile.
        """
        self._wait_for_a_turn(time.monotonic() + timeout_s)
        predictor = self._predictor
        assert predictor is not None
        asked = orjson.loads(rows)
        began_s = time.perf_counter()
        found = attempt(lambda: [unpacked(packed(each)) for each in predictor.predict(asked)])
        spent_s = time.perf_counter() - began_s
        if spent_s > timeout_s:
            raise VersionOverdue(f"{self._name!r} took {spent_s:.1f} s; it may take {timeout_s:g}.")
        if isinstance(found, Exception):
            code = found.code if isinstance(found, GlassboxError) else "raised"
            raise VersionRefused(
                code, _words(found), 1000.0 * spent_s, fault=fault_of(found)
            ) from found
        if len(found) != len(asked):
            raise VersionRefused("raised", f"{self._name!r} did not give one answer to each row.")
        return Answered(tuple(found), 1000.0 * spent_s)

    def require_memory(self) -> None:
        """It has none of its own."""

    def kill(self) -> None:
        """Ask nothing more; what runs is waited for. Idempotent."""
        self._is_ended = True

    def close(self) -> None:
        """Free what it holds; idempotent."""
        self._is_ended = True
        predictor, self._predictor = self._predictor, None
        if predictor is not None:
            attempt(predictor.close)

    def _wait_for_a_turn(self, until_s: float) -> None:
        while not self._is_idle():
            if self._is_ended:
                raise VersionLost(f"{self._name!r} was ended.")
            if time.monotonic() > until_s:
                raise VersionBusy(f"{self._name!r} found no moment without other work.")
            time.sleep(LOOK_S)


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, GlassboxError) else f"{type(error).__name__}: {error}"
