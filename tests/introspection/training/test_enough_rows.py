"""Rows that no verifier can come of are refused before the model reads one of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbox.errors import NotEnoughData
from glassbox.introspection.evidence.witness import Plan, Witness, plain_encode
from glassbox.introspection.training.fusions import (
    Recipe,
    fit_fusions,
    fitting_origins,
    split,
)
from glassbox.introspection.training.graded import GradedRow
from glassbox.introspection.training.verifier import train_verifier
from glassbox.testing.fake import FakeEngine


def rows_of(n_right: int, n_wrong: int) -> list[GradedRow]:
    kinds = [True] * n_right + [False] * n_wrong
    np.random.default_rng(0).shuffle(kinds)
    return [GradedRow(f"p{n}", "r", kind, group=f"g{n}") for n, kind in enumerate(kinds)]


@settings(max_examples=30, deadline=None)
@given(n_wrong=st.integers(0, 120), seed=st.integers(0, 5))
def test_what_is_not_refused_can_be_fitted(n_wrong: int, seed: int) -> None:
    rows = rows_of(280, n_wrong)
    recipe = Recipe(seed=seed)
    parts = split(rows, recipe)
    draws = np.random.default_rng(seed)
    values = [
        {"mean-logprob": float(row.correct + draws.normal()), "mean-entropy": draws.normal()}
        for row in rows
    ]
    try:
        origins = fitting_origins(rows, parts)
    except NotEnoughData:
        origins = []

    if origins:
        assert {each.origin for each in fit_fusions(rows, values, parts, recipe)} == {"given"}
    else:
        wrong = [part for row, part in zip(rows, parts, strict=True) if not row.correct]
        assert wrong.count("calibrator") < 10 or wrong.count("fusion") < 20


def test_no_response_is_read_where_all_are_right(tmp_path) -> None:
    engine = FakeEngine()
    witness = Witness(engine, plain_encode(engine.codec), Plan(k=2))

    def progress(done: int, total: int) -> None:
        raise AssertionError(f"{done} of {total} responses were read")

    with pytest.raises(NotEnoughData, match="there are 0"):
        train_verifier(witness, rows_of(300, 0), tmp_path, Recipe(), progress=progress)
    assert not any(tmp_path.iterdir())
