"""Faults of a study's files, collected whole: nothing is raised and nothing stops at the first."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

MOST_LISTED: Final = 100_000
"""Faults of one kind that are listed one by one; further ones are counted."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, and where."""

    code: str
    """Stable kebab-case name of its kind."""
    message: str
    """What is wrong, in a sentence with the value."""
    source: str = ""
    """File's name; empty where it concerns the study."""
    record: int | None = None
    """Number of the record in its file, 0-based."""
    latent: str | None = None
    """The latent it concerns, as the file names it."""
    condition: str | None = None
    """The condition it concerns."""

    def __str__(self) -> str:
        place = f"{self.source}, record {self.record}" if self.record is not None else self.source
        return f"{place}: {self.message}" if place else self.message

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are set."""
        return {
            name: _writable(value) if isinstance(value, str) else value
            for name, value in asdict(self).items()
            if value not in (None, "")
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the fault that ``to_json`` described."""
        return cls(**content)


def _writable(text: str) -> str:
    """Return a text without the half characters that damaged files hold and JSON cannot."""
    return text.encode("utf-8", "backslashreplace").decode()


class FaultList:
    """Faults in the order they were found; beyond ``MOST_LISTED`` of a kind they are counted."""

    def __init__(self) -> None:
        self._listed: list[Fault] = []
        self._counts: Counter[str] = Counter()
        self._latents: set[str] = set()

    def add(self, fault: Fault) -> None:
        """Take note of a fault."""
        self._counts[fault.code] += 1
        if fault.latent is not None:
            self._latents.add(fault.latent)
        if self._counts[fault.code] <= MOST_LISTED:
            self._listed.append(fault)

    @property
    def listed(self) -> tuple[Fault, ...]:
        """Those that are listed one by one."""
        return tuple(self._listed)

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each kind, listed or not; the most frequent first."""
        return dict(self._counts.most_common())

    @property
    def latents(self) -> frozenset[str]:
        """Names of all latents that a fault concerns, listed or not."""
        return frozenset(self._latents)

    def __len__(self) -> int:
        return self._counts.total()
