"""Records of predictions as a window. Reads no database: it is given the records."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from glassbox.audit.records import InferenceRecord
from glassbox.rollout.drift.summaries import group_of
from glassbox.rollout.drift.text_columns import columns_of
from glassbox.rollout.drift.windows import (
    OUTCOMES,
    Window,
    category_column,
    class_name,
    number_column,
)


def window_of(records: Iterable[InferenceRecord]) -> Window:
    """Return the successful ones among some records as a window.

    Columns are ``prediction``, ``confidence`` and ``label``, the features that are kept, and the
    summaries. A feature is a number if every value that is there is one; else its values are
    categories by the text they have as JSON.
    """
    found = sorted(
        (each for each in records if each.primary.status == "success"),
        key=lambda each: each.primary.time_s,
    )
    primaries = [each.primary for each in found]
    versions = {each.model_version for each in primaries}
    columns = [
        number_column("prediction", [each.prediction for each in primaries], "answer"),
        number_column("confidence", [each.confidence for each in primaries], "answer"),
        category_column("label", [each.label for each in primaries], "answer"),
    ]
    for name in _names(each.features for each in primaries):
        columns += columns_of(name, [each.features.get(name) for each in primaries])
    for name in _names(each.summaries for each in primaries):
        numbers = [each.summaries.get(name) for each in primaries]
        columns.append(number_column(name, numbers, group_of(name)))
    segments = _names(each.segments for each in primaries)
    return Window(
        np.array([each.time_s for each in primaries], dtype=np.float64),
        tuple(each for each in columns if each.is_there.any()),
        versions.pop() if len(versions) == 1 else "",
        **_outcomes(found),
        segments={
            name: tuple(each.segments.get(name, "") for each in primaries) for name in segments
        },
    )


def _names(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    names: dict[str, None] = {}
    for each in mappings:
        names.update(dict.fromkeys(each))
    return sorted(names)


def _outcomes(records: Sequence[InferenceRecord]) -> dict[str, Any]:
    """Return what is known of the answers' probabilities and of the truth."""
    n = len(records)
    found = {name: np.full(n, np.nan) for name in OUTCOMES}
    for row, record in enumerate(records):
        answer = record.primary
        if answer.confidence is not None:
            found["confidence"][row] = answer.confidence
        if answer.label is None:
            continue
        classes = tuple(answer.label_probs or ())
        if len(classes) == 2 and answer.prediction is not None:
            found["prob"][row] = answer.prediction
            found["chose_first"][row] = answer.label == classes[0]
        if record.label is not None:
            truth = class_name(record.label.label)
            found["is_right"][row] = truth == answer.label
            if len(classes) == 2:
                found["is_first"][row] = truth == classes[0]
    return {name: values if np.isfinite(values).any() else None for name, values in found.items()}
