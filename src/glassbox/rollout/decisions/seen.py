"""Reads the log of predictions on from where a rollout has read it, into its evidence."""

from typing import Final, Protocol

from glassbox.audit.log import Head
from glassbox.audit.records import InferenceEvent, InferenceRecord
from glassbox.rollout.decisions.evidence import Evidence, Folding
from glassbox.rollout.decisions.rollouts import Rollout

PAGE: Final = 1000
"""Events read at once."""

MOST_PAGES: Final = 50
"""Pages read at one look; the rest is for the next."""


class Events(Protocol):
    """The log of predictions, as far as it is needed here."""

    def read(self, after: int = 0, limit: int = 1000) -> list[tuple[int, InferenceEvent]]:
        """Return events behind a sequence, oldest first."""
        ...

    def find(self, request_id: str) -> InferenceRecord | None:
        """Return what is known of a request."""
        ...

    def head(self) -> Head:
        """Return where the log ends."""
        ...


class Seen:
    """What rollouts have seen of the log.

    Args:
        events: The log.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._foldings: dict[tuple[str, str, str], Folding] = {}

    def last_sequence(self) -> int:
        """Return the sequence of the last event, 0 where there is none."""
        return self._events.head().sequence

    def folded(self, rollout: Rollout) -> tuple[Evidence, int]:
        """Return a rollout's evidence with what came since, and the sequence up to which that is.

        The rollout itself stays as it is: who cannot keep the outcome has lost nothing.
        """
        evidence = Evidence.from_json(rollout.evidence)
        folding, stage = self._folding(rollout), rollout.state.stage
        cursor = rollout.cursor
        for _ in range(MOST_PAGES):
            page = self._events.read(cursor, PAGE)
            for sequence, event in page:
                folding.add(evidence, event, stage)
                cursor = sequence
            if len(page) < PAGE:
                break
        return evidence, cursor

    def _folding(self, rollout: Rollout) -> Folding:
        key = (rollout.id, rollout.champion, rollout.challenger)
        if key not in self._foldings:
            kept = {each: it for each, it in self._foldings.items() if each[0] != rollout.id}
            self._foldings = {**kept, key: Folding(rollout.plan, self._events.find)}
        return self._foldings[key]
