import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.pathways.corpus.contexts import make_context
from glassbox.pathways.latents import LatentId
from glassbox.pathways.replay.interventions import Intervention
from glassbox.pathways.replay.runs import cut_runs, needed_behind, places_into, plan_runs

N_LAYERS = 5
N_TOKENS = 12

targets = st.lists(
    st.tuples(st.integers(1, N_LAYERS - 1), st.integers(0, N_TOKENS - 1)), min_size=1, max_size=6
)
changes = st.lists(
    st.tuples(st.integers(0, N_LAYERS - 1), st.integers(-1, N_TOKENS - 1)), min_size=1, max_size=6
)


def planned(places, some):
    context = make_context(
        0, [1] * N_TOKENS, [(LatentId(layer, at), at) for layer, at in sorted(set(places))]
    )
    interventions = [Intervention((LatentId(layer, 0),)) for layer, _ in some]
    starts = np.array([start for _, start in some])
    return context, plan_runs(context, interventions, starts, N_LAYERS)


@given(targets, changes)
def test_runs_hold_exactly_what_their_targets_depend_on(places, some):
    context, runs = planned(places, some)
    needed = {row: set() for row in range(len(some))}
    for row, (first, start) in enumerate(some):
        for target in context.targets:
            if start < 0 or target.latent.layer <= first or target.position < start:
                continue
            # A position is needed in a layer's input if a target behind it can feel it.
            for layer in range(first + 1, target.latent.layer + 1):
                needed[row] |= {(layer, at) for at in range(start, target.position + 1)}
    found = {row: set() for row in range(len(some))}
    for layer in range(N_LAYERS):
        inside = places_into(runs, layer, np.ones(len(runs), bool))
        for run, position in zip(inside.run, inside.position, strict=True):
            found[int(runs.row[run])].add((layer, int(position)))
    assert found == needed


@given(targets, changes, st.integers(1, 40))
def test_every_run_is_in_one_batch_and_batches_keep_their_size(places, some, batch_tokens):
    _, runs = planned(places, some)
    batches = cut_runs(runs, batch_tokens)
    assert sorted(at for batch in batches for at in batch) == list(range(len(runs)))
    for batch in batches:
        widest = runs.tokens[batch].sum(axis=0).max()
        assert widest <= batch_tokens or len(batch) == 1
        assert (np.diff(runs.first_layer[batch]) >= 0).all()


@given(targets, changes)
def test_the_clean_run_covers_all_others(places, some):
    _, runs = planned(places, some)
    if not len(runs):
        return
    everyone = runs.with_clean()
    assert everyone.row[0] == -1
    assert (everyone.first_layer[0] <= runs.first_layer).all()
    assert (everyone.start[0] <= runs.start).all()
    assert (everyone.reach[0] >= runs.reach).all()


def test_the_last_layer_asks_at_the_targets_alone():
    _, runs = planned([(2, 3), (2, 9)], [(0, 1)])
    inside = places_into(runs, 2, np.ones(1, bool))
    asks = needed_behind(runs, 2, inside, np.array([3, 9]))
    assert inside.position.tolist() == list(range(1, 10))
    assert inside.position[asks].tolist() == [3, 9]


@pytest.mark.parametrize("batch_rows", [1, 2])
def test_a_batch_takes_no_more_runs_than_it_may(batch_rows):
    _, runs = planned([(4, 11)], [(0, 0), (1, 2), (2, 5), (0, 7), (3, 11)])
    batches = cut_runs(runs, 10**6, batch_rows)
    assert max(map(len, batches)) == batch_rows
