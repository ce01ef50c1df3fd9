"""What a demo's rollout waits for, in words, and when to say so."""

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from glassbox.wording import counted

if TYPE_CHECKING:
    from glassbox.wire.inference import InferenceHealth
    from glassbox.wire.rollouts import RolloutStatus

TELL_S: Final = 6.0
"""Seconds without news after which it is said what is waited for."""

AGAIN_S: Final = 30.0
"""Seconds after which the same is said again."""


class Teller:
    """Says what is waited for: soon where it is something new, seldom where it is not.

    Args:
        say: Called with the words.
        clock: Seconds that only grow.
    """

    def __init__(
        self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._clock = clock
        self._said = ""
        self._said_s = clock()

    def news(self) -> None:
        """Something happened, and was told."""
        self._said_s = self._clock()

    def waits_for(self, words: Callable[[], str]) -> None:
        """Say what is waited for, if it is time to; ``words`` are asked for only then."""
        waited_s = self._clock() - self._said_s
        if waited_s < TELL_S:
            return
        said = words()
        kind = "".join(each for each in said if not each.isdigit())
        if kind != self._said or waited_s >= AGAIN_S:
            self._say(said)
            self._said, self._said_s = kind, self._clock()


def waited_for(status: "RolloutStatus", health: "InferenceHealth") -> str:
    """Return what a rollout waits for.

    Args:
        status: Where it stands.
        health: Of the server, which knows how the challenger's process does.
    """
    shadow = health.components.get("shadow")
    lanes: Mapping[str, Any] = {} if shadow is None else shadow.details.get("challengers", {})
    lane: Mapping[str, Any] = lanes.get(status.challenger, {})
    n = min((each.n for each in status.gates), default=0)
    if lane.get("state") == "loading" and not n:
        return f"… its process loads, and runs when nothing else wants a processor.{busy_words()}"
    if lane.get("state") == "broken":
        return f"… its process failed and is started again: {lane.get('last_error')}"
    if not n:
        return "… no copy has been answered yet."
    if any(each.n < each.needed for each in status.gates if each.needed):
        return f"… {counted(n, 'request')} compared so far; no gate decides on so few."
    if open_gates := [each.name for each in status.gates if each.verdict == "inconclusive"]:
        return f"… {counted(n, 'request')} compared; in doubt: {', '.join(open_gates)}."
    return f"… {status.decision.reason}"


def busy_words() -> str:
    """Return that this machine has more to do than it can, as a sentence; empty if it has not."""
    n_processors, load = os.cpu_count() or 1, os.getloadavg()[0]
    if load <= n_processors:
        return ""
    return (f" This machine is busy: {load:.0f} tasks want its "
            f"{counted(n_processors, 'processor')}.")  # fmt: skip
