"""Which calibrator to use: the one of lowest cross-validated NLL; and how it is read back.

The choice is made on the calibrator rows alone. A difference smaller than its standard error is
no reason to prefer one; the simpler wins a tie only if it is exact.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int

from glassbox.errors import CorruptArtifact, InvalidValue, NotEnoughData, UnknownName
from glassbox.stats.calibration.proper_scoring import row_nll
from glassbox.stats.calibrators.isotonic import Isotonic, Knots
from glassbox.stats.calibrators.parametric import (
    SCHEMA,
    SCHEMA_VERSION,
    Calibrator,
    CalibratorKind,
    Identity,
    Platt,
    Temperature,
    checked_fit_rows,
)
from glassbox.stats.checking import checked_count, seeded
from glassbox.stats.versioned_json import read_numbers, read_versioned_json

KINDS: Final[tuple[CalibratorKind, ...]] = ("identity", "temperature", "platt", "isotonic")
"""All calibrators, simplest first."""

_FITS: Final[Mapping[str, Callable[..., Calibrator]]] = {
    "identity": Identity.fit,
    "temperature": Temperature.fit,
    "platt": Platt.fit,
    "isotonic": Isotonic.fit,
}


@dataclass(frozen=True)
class CandidateResult:
    """How one calibrator fared in cross-validation."""

    kind: CalibratorKind
    """Its name."""
    nll: float | None
    """Mean over all held-out rows, nats; None where it could not be fitted."""
    nll_standard_error: float | None
    """Standard error of that mean over rows, nats."""
    problem: str
    """Why it could not be fitted; empty otherwise."""


@dataclass(frozen=True)
class CalibratorChoice:
    """The calibrator of lowest cross-validated NLL, fitted on all rows, and its rivals."""

    calibrator: Calibrator
    """Fitted on all rows given."""
    candidates: tuple[CandidateResult, ...]
    """One per kind, in the order asked for."""
    n_folds: int
    """Folds of the cross-validation."""
    n_rows: int
    """Rows in all."""
    seed: int
    """Seed of the folds."""


def fit_calibrator(
    kind: CalibratorKind,
    label_probs: Float[np.ndarray, "n n_classes"],
    labels: Int[np.ndarray, " n"],
) -> Calibrator:
    """A calibrator of that kind, fitted on all rows.

    Raises:
        UnknownName: No such kind.
        InvalidData: NaN, out of range, or labels out of range.
        NotEnoughData: Too few rows, or rows that do not determine it.
    """
    if not isinstance(kind, str) or kind not in _FITS:
        raise UnknownName("calibrator", kind, KINDS)
    return _FITS[kind](label_probs, labels)


def choose_calibrator(
    label_probs: Float[np.ndarray, "n n_classes"],
    labels: Int[np.ndarray, " n"],
    *,
    kinds: Sequence[CalibratorKind] = KINDS,
    n_folds: int = 5,
    seed: int = 0,
) -> CalibratorChoice:
    """The calibrator of lowest NLL over stratified folds, with the table of all candidates.

    A kind that these rows cannot determine is listed with the reason and not chosen.

    Args:
        label_probs: Rows of the calibrator part, uncalibrated.
        labels: True class indices.
        kinds: Candidates; the earlier wins an exact tie.
        n_folds: Folds, at least 2.
        seed: Fixes the folds.

    Raises:
        InvalidData: NaN, out of range, or labels out of range.
        InvalidValue: No kinds, or a single one that stands in no list; fewer than two folds; a
            negative seed.
        NotEnoughData: Fewer rows than folds, or none of the kinds can be fitted.
        UnknownName: No such kind.

    Source: Stone 1974 (cross-validatory choice); Kohavi 1995 (stratification).
    """
    checked_count("n_folds", n_folds, minimum=2)
    if isinstance(kinds, str) or not kinds:
        raise InvalidValue("kinds", kinds, f"a list of at least one of {', '.join(KINDS)}")
    label_probs, labels = checked_fit_rows(label_probs, labels)
    if labels.size < n_folds:
        raise NotEnoughData(
            f"Cross-validation in {n_folds:,} folds",
            labels.size,
            n_folds,
            remedy="Ask for fewer folds.",
        )
    fold = stratified_folds(labels, n_folds=n_folds, seed=seed)
    results: list[CandidateResult] = []
    fitted: dict[str, Calibrator] = {}
    for kind in kinds:
        try:
            losses = _held_out_nll(kind, label_probs, labels, fold)
            fitted[kind] = fit_calibrator(kind, label_probs, labels)
        except NotEnoughData as error:
            results.append(CandidateResult(kind, None, None, str(error)))
            continue
        spread = float(losses.std(ddof=1) / np.sqrt(losses.size))
        results.append(CandidateResult(kind, float(losses.mean()), spread, ""))
    usable = [(result.nll, i) for i, result in enumerate(results) if result.nll is not None]
    if not usable:
        raise NotEnoughData(
            "Choosing a calibrator (kinds that can be fitted)", 0, 1, remedy=results[0].problem
        )
    best = results[min(usable)[1]].kind
    return CalibratorChoice(fitted[best], tuple(results), n_folds, labels.size, seed)


def stratified_folds(
    labels: Int[np.ndarray, " n"], *, n_folds: int, seed: int
) -> Int[np.ndarray, " n"]:
    """The fold of each row, 0 … n_folds - 1: classes spread evenly, sizes within one row."""
    rng = seeded(seed)
    shuffled = rng.permutation(labels.size)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    fold = np.empty(labels.size, dtype=np.intp)
    fold[by_class] = np.arange(labels.size) % n_folds
    return fold


def calibrator_from_json(text: str, *, source: str = "calibrator") -> Calibrator:
    """The calibrator that ``to_json`` wrote.

    Args:
        text: JSON text.
        source: Where it came from, for the error message.

    Raises:
        InvalidData: No text.
        CorruptArtifact: Not JSON, another schema or version, an unknown kind, or fields that are
            missing, superfluous or out of range.
    """
    fields = read_versioned_json(text, SCHEMA, SCHEMA_VERSION, source=source)
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in _READERS:
        raise CorruptArtifact(source, f"calibrator kind {kind!r}; known: {', '.join(KINDS)}")
    n_classes = fields.pop("n_classes", None)
    if type(n_classes) is not int or n_classes < 2:
        raise CorruptArtifact(source, f"n_classes is {n_classes!r}")
    expected, read = _READERS[kind]
    if set(fields) != set(expected):
        raise CorruptArtifact(
            source, f"fields {sorted(fields)} where {list(expected)} belong to a {kind} calibrator"
        )
    return read(fields, n_classes, source)


def _held_out_nll(
    kind: CalibratorKind,
    label_probs: Float[np.ndarray, "n n_classes"],
    labels: Int[np.ndarray, " n"],
    fold: Int[np.ndarray, " n"],
) -> Float[np.ndarray, " n"]:
    losses = np.empty(labels.size)
    for held_out in np.unique(fold):
        is_out = fold == held_out
        calibrator = fit_calibrator(kind, label_probs[~is_out], labels[~is_out])
        losses[is_out] = row_nll(calibrator.apply(label_probs[is_out]), labels[is_out])
    return losses


def _read_identity(_fields: dict[str, Any], n_classes: int, _source: str) -> Calibrator:
    return Identity(n_classes)


def _read_temperature(fields: dict[str, Any], n_classes: int, source: str) -> Calibrator:
    (temperature,) = read_numbers(source, "temperature", [fields["temperature"]])
    if temperature <= 0:
        raise CorruptArtifact(source, f"temperature {temperature} is not above 0")
    return Temperature(n_classes, temperature)


def _read_platt(fields: dict[str, Any], n_classes: int, source: str) -> Calibrator:
    (slope,) = read_numbers(source, "slope", [fields["slope"]])
    offsets = read_numbers(source, "offsets", fields["offsets"])
    if len(offsets) != n_classes:
        raise CorruptArtifact(source, f"{len(offsets)} offsets for {n_classes} classes")
    return Platt(slope, offsets)


def _read_isotonic(fields: dict[str, Any], n_classes: int, source: str) -> Calibrator:
    entries = fields["knots"]
    n_maps = 1 if n_classes == 2 else n_classes
    if not isinstance(entries, list) or len(entries) != n_maps:
        raise CorruptArtifact(source, f"knots must hold {n_maps} maps for {n_classes} classes")
    return Isotonic(n_classes, tuple(_read_knots(entry, source) for entry in entries))


def _read_knots(entry: object, source: str) -> Knots:
    if not isinstance(entry, dict) or set(entry) != {"prob", "calibrated"}:
        raise CorruptArtifact(source, "a map of an isotonic calibrator needs prob and calibrated")
    knots = Knots(
        read_numbers(source, "prob", entry["prob"]),
        read_numbers(source, "calibrated", entry["calibrated"]),
    )
    if not knots.prob or len(knots.prob) != len(knots.calibrated):
        raise CorruptArtifact(source, "knots are empty or of different lengths")
    if (np.diff(knots.prob) <= 0).any() or (np.diff(knots.calibrated) < 0).any():
        raise CorruptArtifact(source, "knots are not in ascending order")
    if not 0 < knots.calibrated[0] <= knots.calibrated[-1] < 1:
        raise CorruptArtifact(source, "calibrated probabilities are not inside (0, 1)")
    return knots


_Reader = Callable[[dict[str, Any], int, str], Calibrator]

_READERS: Final[Mapping[str, tuple[tuple[str, ...], _Reader]]] = {
    "identity": ((), _read_identity),
    "temperature": (("temperature",), _read_temperature),
    "platt": (("slope", "offsets"), _read_platt),
    "isotonic": (("knots",), _read_isotonic),
}
