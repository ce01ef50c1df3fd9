"""A source that attention does not reach moves nothing, however matrices are rounded."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from glassbox.pathways.blocks.forward import run_context
from glassbox.pathways.blocks.weights import take_blocks
from glassbox.pathways.corpus.contexts import make_context
from glassbox.pathways.latents import LatentId
from glassbox.pathways.replay import measuring
from glassbox.pathways.replay.cells import KEPT, RANDOM
from glassbox.pathways.replay.clean_text import Latents
from glassbox.pathways.replay.interventions import ABLATE, DOUBLE
from glassbox.pathways.replay.judging import judge
from glassbox.pathways.replay.measuring import Measuring, measure_text
from tests.pathways.discovery.worlds import rows_of, world
from tests.pathways.replay.all_pathways import pathways_of_sources

N_TOKENS, LAST_SOURCE, N_NULL = 30, 19, 6
HOW = Measuring(doses=(ABLATE, DOUBLE), n_null=N_NULL)


@pytest.fixture
def measured(monkeypatch):
    """Return what replays measure, with differences as large as rounding in every cell."""
    model, context, saes = world("mistral", N_TOKENS)
    blocks, end = take_blocks(model), N_TOKENS - 1
    x = run_context(blocks, torch.tensor(context.token_ids)).output(0)
    fires = saes[0].encode(x) > 0
    sources = (fires[LAST_SOURCE] & ~fires[end]).nonzero().flatten().tolist()
    # The window of 5 tokens ends before the sources in one block, and not in two.
    targets = [(LatentId(1, 4), end), (LatentId(1, 7), LAST_SOURCE + 1), (LatentId(2, 3), 23)]
    between = [at for at in range(LAST_SOURCE + 1, end) if at not in (LAST_SOURCE + 1, 23)]
    context = make_context(0, context.token_ids, targets, excluded=[0, *between])
    wanted = pathways_of_sources(context, [LatentId(0, each) for each in sources[:6]])
    rng, clean_effects = np.random.default_rng(0), measuring.effects_on

    def rounded(*args):
        found = clean_effects(*args)
        noise = rng.integers(-2, 3, found.pre.shape).astype(np.float32) * np.float32(1.2e-7)
        return replace(found, pre=found.pre + noise)

    monkeypatch.setattr(measuring, "effects_on", rounded)
    rows = rows_of(saes)
    return measure_text(blocks, wanted, Latents(rows), {0: rows[0]}, HOW)


def test_rounding_is_no_effect_and_no_spread_of_random_ones(measured):
    cells = measured.cells
    unreached = (cells.target_layer == 1) & (cells.position == N_TOKENS - 1)
    assert set(cells.kind[unreached].tolist()) == {KEPT, RANDOM}
    assert set(cells.dose[unreached].tolist()) == {0, 1}
    assert not cells.pre[unreached].any()
    assert (cells.pre[~unreached] != 0).mean() > 0.9


def test_a_text_in_which_nothing_reaches_the_target_tells_nothing(measured):
    found = judge([measured], HOW.doses)
    by_target = {row.target: row for row in found.rows}
    assert by_target["L1-4"].z is None
    assert by_target["L1-4"].n_tested == 0
    assert by_target["L1-4"].p == 1
    assert by_target["L1-7"].n_tested == 1
