"""Writes down what happened to a prediction: in the window at once, in the durable log behind it.

Keeps of a request only its hash, the features on the allow-list and those that the summary is
broken down by. Knows no version and no HTTP.
"""

import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, Protocol

from glassbox.audit.records import (
    InferenceEvent,
    LabelEvent,
    PrimaryEvent,
    ShadowEvent,
)
from glassbox.errors import GlassboxError
from glassbox.rollout.prediction import Features

SEGMENT_LENGTH: Final = 64
"""Characters kept of a segment's value, so that a text by mistake does not fill the summary."""

_log = logging.getLogger("glassbox.server")


class Hasher(Protocol):
    """Turns features into what stands for them in the log."""

    def hash(self, features: Features) -> str:
        """Return the hash under its scheme.

        Raises:
            InvalidValue: NaN, too deep or too large: the message names the place.
        """
        ...


class Window(Protocol):
    """The latest predictions."""

    def add(self, primary: PrimaryEvent, *, shadows_expected: int = 0) -> None:
        """Take a prediction in, of which so many challengers get a copy."""
        ...

    def forget(self, request_id: str) -> None:
        """Forget a prediction that could not be recorded and was not acknowledged."""
        ...

    def complete(self, shadow: ShadowEvent) -> bool:
        """Add what a challenger said."""
        ...

    def label(self, label: LabelEvent) -> bool:
        """Add the truth."""
        ...


class Log(Protocol):
    """The durable log."""

    def record(self, event: InferenceEvent) -> "Future[Any] | None":
        """Take an event in; the future ends with its commit, None where nobody need wait."""
        ...


class Recorder:
    """Where every event goes.

    Args:
        window: Latest predictions; None keeps none.
        log: Durable log.
        hasher: Stands for features.
        allowed: Features whose values may be kept.
        segments: Features by whose values the summary is broken down.
        clock: Unix time in seconds.
        listeners: Told of every event, on the thread that records it: they must be quick.
    """

    def __init__(
        self,
        window: Window,
        log: Log,
        hasher: Hasher,
        *,
        allowed: Collection[str] = (),
        segments: Collection[str] = (),
        clock: Callable[[], float] = time.time,
        listeners: tuple[Callable[[InferenceEvent], None], ...] = (),
    ) -> None:
        self._window = window
        self._log = log
        self._hasher = hasher
        self._allowed = frozenset(allowed)
        self._segments = frozenset(segments)
        self._clock = clock
        self._listeners = listeners

    def now_s(self) -> float:
        """Return the Unix time that events carry."""
        return self._clock()

    def hash(self, features: Features) -> str:
        """Return what stands for features in the log.

        Raises:
            InvalidValue: NaN, too deep or too large.
        """
        return self._hasher.hash(features)

    def kept(self, features: Features) -> tuple[dict[str, str], dict[str, Any]]:
        """Return (values of segments, values of features on the allow-list) of a request."""
        segments = {name: _segment(features[name]) for name in self._segments if name in features}
        return segments, {name: features[name] for name in self._allowed if name in features}

    def primary(
        self, event: PrimaryEvent, *, n_copies: int = 0, is_traffic: bool = True
    ) -> "Future[Any] | None":
        """Record an answer; the future ends once it is on the disk, where that was asked for.

        Args:
            event: The answer.
            n_copies: Challengers that get a copy.
            is_traffic: Whether it belongs into the window of a registered model's traffic.
        """
        if is_traffic:
            self._window.add(event, shadows_expected=n_copies)
        self._tell(event)
        try:
            durable = self._log.record(event)
        except GlassboxError:
            self._window.forget(event.request_id)
            raise
        if durable is not None:
            durable.add_done_callback(partial(self._ended, event.request_id))
        return durable

    def shadow(self, event: ShadowEvent) -> None:
        """Record a challenger's copy; comes from the challenger's own thread."""
        self._window.complete(event)
        self._tell(event)
        try:
            self._log.record(event)
        except GlassboxError as error:
            # The answer is out already: what is lost is a comparison, and the log says so.
            _log.warning("a challenger's answer could not be recorded (%s)", error.code)

    def label(self, event: LabelEvent) -> "Future[Any] | None":
        """Record the truth about a prediction."""
        self._window.label(event)
        self._tell(event)
        return self._log.record(event)

    def _ended(self, request_id: str, durable: "Future[Any]") -> None:
        # Its caller is told that it failed: the window must not count it as answered.
        if durable.cancelled() or durable.exception() is not None:
            self._window.forget(request_id)

    def _tell(self, event: InferenceEvent) -> None:
        for each in self._listeners:
            each(event)


def _segment(value: object) -> str:
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return shown[:SEGMENT_LENGTH]
