"""Reads the log of predictions on from where a rollout has read it, into its evidence."""

from collections.abc import Iterable
from typing import Final, Protocol

from glassbox.audit.log import Head
from glassbox.audit.record_queries import EventPlace
from glassbox.audit.records import InferenceEvent, InferenceRecord
from glassbox.rollout.decisions.earlier import Earlier, earlier_of
from glassbox.rollout.decisions.evidence import Evidence, Folding
from glassbox.rollout.decisions.rollout_rows import Rollout

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

    def places(self, request_id: str) -> list[EventPlace]:
        """Return where the events of a request stand."""
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
        self._foldings: dict[tuple[str, str, str], tuple[int, Folding]] = {}

    def last_sequence(self) -> int:
        """Return the sequence of the last event, 0 where there is none."""
        return self._events.head().sequence

    def folded(self, rollout: Rollout) -> tuple[Evidence, int]:
        """Return a rollout's evidence with what came since, and the sequence up to which that is.

        The rollout itself stays as it is: who cannot keep the outcome has lost nothing, because
        what was remembered on the way is forgotten where the next look begins elsewhere.
        """
        evidence = Evidence.from_json(rollout.evidence)
        folding, stage = self._folding(rollout), rollout.state.stage
        cursor = rollout.cursor
        for _ in range(MOST_PAGES):
            page = self._events.read(cursor, PAGE)
            for sequence, event in page:
                folding.add(evidence, event, stage, sequence)
                cursor = sequence
            if len(page) < PAGE:
                break
        self._foldings[_key(rollout)] = cursor, folding
        return evidence, cursor

    def keep(self, rollouts: Iterable[Rollout]) -> None:
        """Forget what was remembered on the way for all rollouts but those under way."""
        kept = {_key(each) for each in rollouts}
        self._foldings = {key: each for key, each in self._foldings.items() if key in kept}

    def _folding(self, rollout: Rollout) -> Folding:
        mine = self._foldings.pop(_key(rollout), None)
        if mine is not None and mine[0] == rollout.cursor:
            return mine[1]
        return Folding(rollout.plan, self._earlier)

    def _earlier(self, request_id: str) -> Earlier | None:
        return earlier_of(request_id, self._events.find, self._events.places)


def _key(rollout: Rollout) -> tuple[str, str, str]:
    return rollout.id, rollout.champion, rollout.challenger
