"""The one place where numbers from outside become trusted arrays.

Each function returns a checked float64, bool or integer copy-or-view of what it was given, or
raises one of our errors with the row that is at fault. It does not know what the numbers mean.
"""

from collections.abc import Sequence
from operator import index
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from glassbox.errors import InvalidData, InvalidValue, NotEnoughData, first_line
from glassbox.wording import counted

ROW_SUM_TOLERANCE: Final = 1e-2
"""How far a row of label_probs may be from 1: rounding of a bfloat16 softmax stays within it."""


ROUNDING: Final = 1e-12
"""Spread, against the largest of some numbers, up to which they count as one: so much is left of a
constant by taking off its mean."""

Values = Shaped[np.ndarray, "..."] | Sequence[float]
"""Numbers as they come: an array, or a list, tuple or column of them."""

_NUMBERS: Final = (bool, int, float, np.bool_, np.number)


def checked_fraction(what: str, value: float, *, is_open: bool = True) -> float:
    """The value as a float, inside (0, 1), or inside [0, 1] if ``is_open`` is false.

    Raises:
        InvalidValue: Outside, or not a number.
    """
    try:
        inside = 0.0 < value < 1.0 if is_open else 0.0 <= value <= 1.0
    except (TypeError, ValueError):
        inside = False
    if not inside:
        raise InvalidValue(what, value, f"a fraction in {'(0, 1)' if is_open else '[0, 1]'}")
    return float(value)


def checked_count(what: str, value: int, *, minimum: int = 1) -> int:
    """The value, if it is an integer of at least ``minimum``.

    Raises:
        InvalidValue: It is smaller, or no integer.
    """
    try:
        whole = index(value)
    except TypeError:
        whole = minimum - 1
    if whole < minimum:
        raise InvalidValue(what, value, f"an integer of at least {minimum}")
    return whole


def seeded(seed: int) -> np.random.Generator:
    """Random numbers that a seed decides: none at all would be others each time.

    Raises:
        InvalidValue: The seed is negative, or no integer.
    """
    return np.random.default_rng(checked_count("seed", seed, minimum=0))


def checked_numbers(what: str, values: Any) -> Float[np.ndarray, "..."]:
    """A float64 array of any shape: of arrays, columns, and lists of lists as long as each other.

    Raises:
        InvalidData: Not numbers, or some are masked.
    """
    return _array(what, values, np.float64)


def checked_vector(what: str, values: Values) -> Float[np.ndarray, " n"]:
    """A non-empty finite float64 vector.

    Raises:
        InvalidData: Not one-dimensional, or NaN or infinity in it.
        NotEnoughData: Empty.
    """
    array = checked_numbers(what, values)
    if array.ndim != 1:
        raise InvalidData(f"{what} has shape {array.shape}; one value per row is needed")
    if array.size == 0:
        raise NotEnoughData(f"A statistic of {what}", 0, 1)
    _refuse_rows(~np.isfinite(array), what, array, "finite numbers")
    return array


def checked_confidence(confidence: Values) -> Float[np.ndarray, " n"]:
    """A non-empty float64 vector of probabilities.

    Raises:
        InvalidData: Not one-dimensional, NaN, or outside [0, 1].
        NotEnoughData: Empty.
    """
    array = checked_vector("confidence", confidence)
    _refuse_rows((array < 0) | (array > 1), "confidence", array, "fractions in [0, 1]")
    return array


def checked_correct(correct: Values, n_rows: int) -> Bool[np.ndarray, " n"]:
    """A boolean vector of ``n_rows``, from booleans or from 0 and 1.

    Raises:
        InvalidData: Another length, shape or value.
    """
    array = _array("correct", correct)
    if array.shape != (n_rows,):
        raise InvalidData(f"correct has shape {array.shape}, confidence has ({n_rows},)")
    return _truths("correct", array)


def checked_truths(what: str, values: Shaped[np.ndarray, "..."]) -> Bool[np.ndarray, " n"]:
    """A non-empty boolean vector, from booleans or from 0 and 1.

    Raises:
        InvalidData: Not one-dimensional, or another value.
        NotEnoughData: Empty.
    """
    array = _array(what, values)
    if array.ndim != 1:
        raise InvalidData(f"{what} has shape {array.shape}; one value per row is needed")
    if array.size == 0:
        raise NotEnoughData(f"A statistic of {what}", 0, 1)
    return _truths(what, array)


def checked_outcomes(
    confidence: Values, correct: Values
) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Confidence and correctness of the same rows.

    Raises:
        InvalidData: NaN, out of range, or different lengths.
        NotEnoughData: Empty.
    """
    checked = checked_confidence(confidence)
    return checked, checked_correct(correct, checked.size)


def checked_label_probs(
    label_probs: Shaped[np.ndarray, "..."], *, n_classes: int | None = None
) -> Float[np.ndarray, "n n_classes"]:
    """A float64 matrix whose rows sum to 1, renormalised from rounding.

    Raises:
        InvalidData: NaN, out of range, fewer than two or an unexpected number of classes, or a
            row whose sum is further than ``ROW_SUM_TOLERANCE`` from 1.
        NotEnoughData: No rows.
    """
    array = checked_numbers("label_probs", label_probs)
    if array.ndim != 2 or array.shape[1] < 2:
        raise InvalidData(f"label_probs has shape {array.shape}; (rows, at least 2 classes) needed")
    if n_classes is not None and array.shape[1] != n_classes:
        raise InvalidData(f"label_probs has {array.shape[1]} classes; {n_classes} were expected")
    if array.shape[0] == 0:
        raise NotEnoughData("A statistic of label_probs", 0, 1)
    is_prob = np.isfinite(array) & (array >= 0) & (array <= 1 + ROW_SUM_TOLERANCE)
    _refuse_rows(np.asarray(~is_prob.all(axis=1)), "label_probs", array, "fractions in [0, 1]")
    sums = array.sum(axis=1, keepdims=True)
    _refuse_rows(np.abs(sums[:, 0] - 1) > ROW_SUM_TOLERANCE, "label_probs", array, "rows of sum 1")
    return np.asarray(array / sums)


def checked_labels(
    labels: Shaped[np.ndarray, "..."], n_rows: int, n_classes: int
) -> Int[np.ndarray, " n"]:
    """Class indices, one per row, in 0 … n_classes - 1.

    Raises:
        InvalidData: Another length or shape, not integers, or out of range.
    """
    array = _array("labels", labels)
    if array.shape != (n_rows,):
        raise InvalidData(f"labels has shape {array.shape}, label_probs has {n_rows} rows")
    if not np.issubdtype(array.dtype, np.integer):
        raise InvalidData(f"labels has dtype {array.dtype}; integer class indices are needed")
    outside = (array < 0) | (array >= n_classes)
    _refuse_rows(outside, "labels", array, f"class indices in 0 … {n_classes - 1}")
    return array.astype(np.intp)


def vary(values: Float[np.ndarray, " n"], largest: float | None = None) -> bool:
    """Whether numbers differ by more than rounding.

    Args:
        values: Finite numbers.
        largest: Of those that they were computed from, in absolute value; None is their own.
    """
    if not values.size:
        return False
    scale = float(np.abs(values).max()) if largest is None else largest
    return bool(np.ptp(values) > ROUNDING * scale)


def _array(what: str, values: Any, dtype: Any = None) -> Shaped[np.ndarray, "..."]:
    if np.ma.is_masked(values):
        raise InvalidData(f"{what} is masked in places; leave those rows out, here and elsewhere")
    try:
        return np.asarray(values, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise InvalidData(f"{what} cannot be read as an array: {first_line(error)}") from error


def _truths(what: str, array: Shaped[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    if array.dtype == np.bool_:
        return array.astype(np.bool_)
    if array.dtype == np.object_:
        # A column of a table with gaps: what stands in them cannot even be compared.
        is_truth = np.array([isinstance(each, _NUMBERS) and each in (0, 1) for each in array])
    else:
        is_truth = np.isin(array, (0, 1))
    _refuse_rows(~is_truth, what, array, "true or false")
    return array.astype(np.bool_)


def _refuse_rows(
    is_wrong: Bool[np.ndarray, " n"], what: str, values: Shaped[np.ndarray, "n ..."], allowed: str
) -> None:
    """Raise InvalidData for the first row marked wrong, if there is one."""
    if not is_wrong.any():
        return
    row = int(np.argmax(is_wrong))
    shown = np.array2string(np.asarray(values[row]), precision=6, threshold=8)
    n_others = int(is_wrong.sum()) - 1
    others = f", and {counted(n_others, 'other row is', 'other rows are')} wrong, too" * (
        n_others > 0
    )
    raise InvalidData(f"{what} must hold {allowed}; row {row} (0-based) is {shown}{others}")
