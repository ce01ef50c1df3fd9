"""Verdicts over given measurements, without a model."""

import numpy as np
import pytest

from glassbox.pathways.replay.cells import BELOW, KEPT, RANDOM, Cells, MeasuredText, joined_cells
from glassbox.pathways.replay.interventions import doses_named
from glassbox.pathways.replay.judging import judge


def cells(kind, target, changes):
    """Changes of one target by one source, of the target's own number."""
    n = len(changes)
    one = np.ones(n, np.int64)
    return Cells(
        kind=kind * one, document_id=one, target_layer=3 * one, target_index=target * one,
        position=5 * one, source_layer=one, source_index=target * one, dose=0 * one,
        predicted=np.ones(n, np.float32), pre=np.asarray(changes, np.float32),
        post=np.zeros(n, np.float32), flips=np.zeros(n, bool), change=np.ones(n, np.float32),
    )  # fmt: skip


def test_what_nothing_can_be_held_against_does_not_tighten_the_bound_on_what_was_missed():
    rng = np.random.default_rng(0)
    parts = []
    for target in range(130):
        kind, effect = (KEPT, 40.0 if target < 3 else rng.normal()) if target < 30 else (BELOW, 0.0)
        parts += [cells(kind, target, [effect]), cells(RANDOM, target, rng.normal(size=20))]
    blind = [cells(BELOW, target, [0.0]) for target in range(1000, 1900)]
    missed = [
        judge([MeasuredText(joined_cells(some), 5000, 4000, 0)], doses_named(["ablate"])).missed
        for some in (parts, parts + blind)
    ]
    assert missed[0] == missed[1]
    assert (missed[0].n_sampled, missed[0].n_found) == (100, 0)
    # With none of 100 found, the 95 % bound solves (1 - share) ** 100 = 0.05.
    assert missed[0].share_high == pytest.approx(1 - 0.05**0.01, rel=1e-6)
