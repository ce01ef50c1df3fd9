"""What the log already held of a request before some event: its answer, its copies, its truth.

Needed where the answer came before the process that reads, and exact in what came before what, so
that nothing counts twice and nothing is left out however often reading begins anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from glassbox.audit.record_queries import EventPlace
from glassbox.audit.records import InferenceRecord, PrimaryEvent, ShadowEvent


@dataclass(frozen=True)
class Earlier:
    """A request as the log has it."""

    answer: PrimaryEvent
    """The answer."""
    copies: tuple[tuple[int, ShadowEvent], ...] = ()
    """Each copy's place in the log and how it ended, in that order."""
    told: int | None = None
    """Place of the first truth told; None without one."""
    label: str | None = None
    """The truth, if it is a class."""

    def was_told(self, *, before: int) -> bool:
        """Return whether a truth was told before some place in the log."""
        return self.told is not None and self.told < before

    def copy_to(self, version: str, *, before: int) -> ShadowEvent | None:
        """Return how a challenger's copy ended before some place in the log, if it had."""
        return next(
            (
                each
                for place, each in self.copies
                if place < before and each.shadow_version == version and each.role == "challenger"
            ),
            None,
        )


def earlier_of(
    request_id: str,
    find: Callable[[str], InferenceRecord | None],
    places: Callable[[str], Sequence[EventPlace]],
) -> Earlier | None:
    """Return what the log holds of a request; None where it holds no answer.

    Args:
        request_id: Names it.
        find: Returns its record.
        places: Returns where its events stand.
    """
    record = find(request_id)
    if record is None:
        return None
    kept = [each for each in places(request_id) if not each.is_erased]
    copies = [each.sequence for each in kept if each.kind == "shadow"]
    told = [each.sequence for each in kept if each.kind == "label"]
    label = None if record.label is None else record.label.label
    return Earlier(
        record.primary,
        tuple(zip(copies, record.shadows, strict=False)),
        min(told, default=None),
        label if isinstance(label, str) else None,
    )
