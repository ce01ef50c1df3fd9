"""What the checkpoints of a patching study say of each latent, read whole, with every fault.

A study writes many checkpoints; later ones repeat earlier ones. A latent that two records describe
alike is one latent; one that they describe differently is a fault and is left out.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from glassbox.errors import InvalidValue
from glassbox.pathways.latents import LatentId
from glassbox.pathways.study.conditions import CONDITIONS, Contrast
from glassbox.pathways.study.faults import Fault, FaultList
from glassbox.pathways.study.json_stream import stream_records
from glassbox.types import is_number

PATTERN: Final = "comprehensive_patching_checkpoint_*.json"
"""Names of the checkpoint files. Source: the study's plan, "Load all checkpoints"."""

REQUIRED: Final = ("feature", "layer", "feature_id", "is_causal", "cohen_d")
"""Fields of every record. Source: the study's plan, "Verify schema"."""

_LARGEST: Final = 1e6
"""An effect size beyond any that trials can give: something else stands in the field."""

_TOLERANCE: Final = 1e-9
"""Relative difference of two effect sizes that are the same number written twice."""


@dataclass(frozen=True)
class CheckpointRecord:
    """What the study says of one latent."""

    latent: LatentId
    """The latent."""
    is_causal: bool
    """Whether the study calls it causal."""
    cohen_d: float | None
    """Its effect size, finite; None where the study says there is none."""
    contrast: Contrast | None = None
    """What the effect compares, where the record says so."""
    outcome: str | None = None
    """Log field that the effect is computed on, where the record says so."""

    def agrees(self, other: "CheckpointRecord") -> bool:
        """Whether both say the same of the same latent."""
        if (self.latent, self.is_causal) != (other.latent, other.is_causal):
            return False
        if self.cohen_d is None or other.cohen_d is None:
            return self.cohen_d is other.cohen_d
        return math.isclose(self.cohen_d, other.cohen_d, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


@dataclass(frozen=True)
class Checkpoints:
    """All checkpoints of a study."""

    records: Mapping[str, CheckpointRecord]
    """By the latent's name, in order of layer and index; only those without an error."""
    faulty: frozenset[str]
    """Names of latents that have an error and are left out."""
    files: tuple[Path, ...]
    """The files, in order of their names."""
    n_results: int
    """Records in them, whatever they hold."""
    n_repeated: int
    """Records that say of a latent what an earlier one said."""


def checkpoint_files(folder: Path) -> tuple[Path, ...]:
    """Return the checkpoint files of a folder, in order of their names."""
    return tuple(sorted(each for each in folder.glob(PATTERN) if each.is_file()))


def read_checkpoints(folder: Path, errors: FaultList, warnings: FaultList) -> Checkpoints:
    """Return what the checkpoints say; every fault goes to the lists."""
    files = checkpoint_files(folder)
    if not files:
        errors.add(Fault("no-checkpoints", f"no {PATTERN} in {folder}"))
    reading = _Reading(errors, warnings)
    for path in files:
        before, n_errors = reading.n_results, len(errors)

        def tell(code: str, words: str, name: str = path.name) -> None:
            errors.add(Fault(code, words, source=name))

        for number, value in stream_records(path, tell, key="results"):
            reading.take(value, path.name, number)
        if reading.n_results == before and len(errors) == n_errors:
            warnings.add(Fault("no-records", "its 'results' is empty", source=path.name))
    kept = {name: each for name, (each, _) in reading.records.items() if name not in reading.faulty}
    ordered = dict(sorted(kept.items(), key=lambda item: item[1].latent))
    return Checkpoints(
        ordered, frozenset(reading.faulty), files, reading.n_results, reading.n_repeated
    )


class _Reading:
    """Records as they come in."""

    def __init__(self, errors: FaultList, warnings: FaultList) -> None:
        self.errors, self.warnings = errors, warnings
        self.records: dict[str, tuple[CheckpointRecord, str]] = {}
        self.faulty: set[str] = set()
        self.n_results = 0
        self.n_repeated = 0

    def take(self, value: Any, source: str, number: int) -> None:
        """Take note of one record and of all that is wrong with it."""
        self.n_results += 1
        if not isinstance(value, dict):
            words = f"a record is an object; this is {kind_of(value)}"
            self.errors.add(Fault("not-an-object", words, source, number))
            return
        name = value.get("feature")
        shown = name if isinstance(name, str) else None
        problems = list(_problems(value))
        for code, words in problems:
            self.errors.add(Fault(code, words, source, number, shown))
        if problems:
            if shown is not None:
                self.faulty.add(shown)
            return
        record = CheckpointRecord(
            LatentId(value["layer"], value["feature_id"]),
            value["is_causal"],
            None if value["cohen_d"] is None else float(value["cohen_d"]),
            self._contrast(value, source, number),
            value["outcome"] if isinstance(value.get("outcome"), str) else None,
        )
        self._add(record, source, number)

    def _add(self, record: CheckpointRecord, source: str, number: int) -> None:
        name = record.latent.name
        earlier = self.records.get(name)
        if earlier is None:
            self.records[name] = (record, source)
        elif earlier[0].agrees(record):
            self.n_repeated += 1
        else:
            first = earlier[0]
            words = (
                f"{name} has cohen_d {record.cohen_d} and is_causal {record.is_causal}, but "
                f"{first.cohen_d} and {first.is_causal} in {earlier[1]}"
            )
            self.errors.add(Fault("contradictory-feature", words, source, number, name))
            self.faulty.add(name)

    def _contrast(self, value: Mapping[str, Any], source: str, number: int) -> Contrast | None:
        given = value.get("contrast")
        if given is None:
            return None
        if (
            isinstance(given, list)
            and len(given) == 2
            and all(each in CONDITIONS for each in given)
        ):
            return (given[0], given[1])
        words = f"contrast {_shown(given)} is no pair of conditions and was not used"
        self.warnings.add(Fault("bad-contrast", words, source, number, value["feature"]))
        return None


def _problems(value: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Everything that is wrong with one record, as code and sentence."""
    missing = [field for field in REQUIRED if field not in value]
    if missing:
        yield "missing-field", f"{', '.join(missing)} missing"
    yield from _name_problems(value)
    causal = value.get("is_causal", False)
    if not isinstance(causal, bool):
        yield "wrong-type", f"is_causal is {kind_of(causal)}, not true or false"
    yield from _effect_problems(value.get("cohen_d"))


def _name_problems(value: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    latent = None
    name = value.get("feature")
    if "feature" in value:
        latent, problem = named_latent(name)
        if problem is not None:
            yield problem
    for field in ("layer", "feature_id"):
        number = value.get(field, 0)
        if not isinstance(number, int) or isinstance(number, bool):
            yield "wrong-type", f"{field} is {kind_of(number)}, not a whole number"
        elif number < 0:
            yield "out-of-range", f"{field} is {number}; it counts from 0"
        elif latent is not None and field in value:
            named = latent.layer if field == "layer" else latent.index
            if named != number:
                yield "name-disagrees", f"feature {name} has {field} {number}"


def _effect_problems(effect: Any) -> Iterable[tuple[str, str]]:
    if effect is None:
        return
    if not is_number(effect):
        yield "wrong-type", f"cohen_d is {kind_of(effect)}, not a number"
    elif isinstance(effect, float) and not math.isfinite(effect):
        yield "non-finite-effect", f"cohen_d is {effect}; nothing can be ranked by it"
    elif abs(effect) > _LARGEST:
        yield "out-of-range", f"cohen_d is {_shown(effect)}; no effect is that large"


def causal_by_layer(records: Iterable[CheckpointRecord]) -> dict[int, int]:
    """Return how many latents of each layer the study calls causal."""
    counts = Counter(each.latent.layer for each in records if each.is_causal)
    return dict(sorted(counts.items()))


def named_latent(name: Any) -> tuple[LatentId | None, tuple[str, str] | None]:
    """Return the latent a field names, or what is wrong with the field."""
    if not isinstance(name, str):
        return None, ("wrong-type", f"feature is {kind_of(name)}, not text")
    try:
        latent = LatentId.parse(name)
    except InvalidValue:
        return None, ("bad-name", f"feature {_shown(name)} is no name like L13-2044")
    if latent.name != name:
        return None, ("bad-name", f"feature {_shown(name)} is written {latent.name}")
    return latent, None


def kind_of(value: Any) -> str:
    """Return what kind of JSON value this is, in words, with the value."""
    named = {
        bool: "true or false",
        str: "text",
        int: "a whole number",
        float: "a decimal number",
        list: "a list",
        dict: "an object",
        type(None): "null",
    }
    return f"{named.get(type(value), type(value).__name__)} ({_shown(value)})"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
