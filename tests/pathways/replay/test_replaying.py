from dataclasses import replace

import numpy as np
import pytest
import torch

from glassbox.errors import (
    AdapterMismatch,
    InvalidHookPoint,
    InvalidValue,
    NonFiniteOutput,
    OutOfMemory,
    TextTooLong,
    UnknownName,
)
from glassbox.pathways.blocks.weights import take_blocks
from glassbox.pathways.corpus.contexts import make_context
from glassbox.pathways.discovery.oracle import plain_gradients
from glassbox.pathways.latents import LatentId
from glassbox.pathways.replay import replaying
from glassbox.pathways.replay.clean_text import Latents
from glassbox.pathways.replay.interventions import (
    DOSES,
    DOUBLE,
    Dose,
    Intervention,
    doses_named,
)
from glassbox.pathways.replay.oracle import clean_by_forward, replay_by_forward
from glassbox.pathways.replay.replaying import Limits, replay_text
from tests.pathways.blocks.models import MODELS, make
from tests.pathways.discovery.worlds import rows_of, whole, world

ATOL = 3e-5


def all_doses(n_latents=6, layers=(0, 1)):
    return [
        Intervention((LatentId(layer, index),), dose)
        for layer in layers
        for index in range(n_latents)
        for dose in DOSES.values()
    ]


def by_forward(model, context, latents, interventions):
    layers = {each.layer for one in interventions for each in one.latents}
    text = clean_by_forward(model, context, latents, sorted(layers))
    return replay_by_forward(model, text, interventions)


def replay_on_blocks(model, context, latents, interventions):
    return replay_text(take_blocks(model), context, interventions, latents)


def assert_equal_effects(fast, slow, *, changes=True):
    read = np.isfinite(slow.pre)
    assert read.any()
    assert np.isfinite(fast.pre[read]).all()
    np.testing.assert_allclose(fast.clean_pre, slow.clean_pre, atol=ATOL, rtol=1e-4)
    np.testing.assert_allclose(fast.pre[read], slow.pre[read], atol=ATOL, rtol=1e-4)
    np.testing.assert_allclose(fast.post[read], slow.post[read], atol=ATOL, rtol=1e-4)
    np.testing.assert_array_equal(fast.flips[read], slow.flips[read])
    if changes:
        np.testing.assert_allclose(fast.change, slow.change, atol=1e-4)
        np.testing.assert_array_equal(fast.n_changed, slow.n_changed)


@pytest.mark.parametrize("name", MODELS)
def test_replays_equal_one_whole_forward_pass_each(name):
    model, context, saes = world(name)
    latents = Latents(rows_of(saes))
    runs = all_doses()
    fast = replay_text(take_blocks(model), context, runs, latents)
    slow = by_forward(model, context, latents, runs)
    assert np.abs(slow.pre[np.isfinite(slow.pre)]).max() > 0.1
    assert_equal_effects(fast, slow)


def test_latents_on_several_layers_are_held_whatever_happens_below_them():
    model, context, saes = world()
    latents = Latents(rows_of(saes))
    runs = [
        Intervention((LatentId(0, 1), LatentId(0, 4), LatentId(1, 2), LatentId(1, 9))),
        Intervention((LatentId(0, 1), LatentId(1, 2)), DOUBLE),
        Intervention((LatentId(0, 3), LatentId(1, 5)), values=(0.7, 1.3)),
        Intervention((LatentId(1, 5),), values=(2.0,), positions=(3, 9)),
        Intervention((LatentId(0, 2),), positions=(2, 3, 4)),
        Intervention((LatentId(0, 2),), writes=LatentId(0, 9)),
    ]
    fast = replay_text(take_blocks(model), context, runs, latents)
    assert_equal_effects(fast, by_forward(model, context, latents, runs), changes=False)


def test_gates_of_topk_dictionaries_know_the_other_latents():
    model, context, saes = world(k=5)
    latents = Latents(rows_of(saes), full=saes)
    runs = all_doses()
    fast = replay_text(take_blocks(model), context, runs, latents)
    assert_equal_effects(fast, by_forward(model, context, latents, runs))
    assert fast.flips.any()


@pytest.mark.parametrize("k", [None, 5])
def test_replays_that_go_through_the_dictionaries_equal_the_whole_forward_pass(k):
    model, context, saes = world(k=k)
    latents = Latents(rows_of(saes), full=saes, through=True)
    runs = all_doses()
    fast = replay_text(take_blocks(model), context, runs, latents)
    assert_equal_effects(fast, by_forward(model, context, latents, runs))
    past = replay_text(take_blocks(model), context, runs, Latents(rows_of(saes), full=saes))
    assert np.nanmax(np.abs(past.pre - fast.pre)) > 0.01


@pytest.mark.parametrize("path", ["past", "through"])
def test_a_small_dose_moves_targets_by_their_gradient(path):
    model, context, saes = world()
    latents = Latents(rows_of(saes), full=saes, through=path == "through")
    step = 0.005
    doses = (Dose("more", 1 + step), Dose("less", 1 - step))
    sources = [LatentId(layer, index) for layer in (0, 1) for index in range(12)]
    runs = [Intervention((source,), dose) for source in sources for dose in doses]
    effects = replay_text(take_blocks(model), context, runs, latents)
    slopes = (effects.pre[0::2] - effects.pre[1::2]) / (2 * step)
    found = plain_gradients(model, context, rows_of(saes), whole(saes), path)
    checked, near = 0, []
    for row, source in enumerate(sources):
        layer = found.layer(source.layer)
        own = layer.indices == source.index
        attribution = layer.attributions[:, own].sum(axis=1)
        measured = slopes[row, layer.first_target :]
        # A latent that begins to fire on the way bends the line when the stream goes through it.
        near.append(np.abs(measured - attribution) < 0.02 * max(1.0, np.abs(attribution).max()))
        checked += int((np.abs(attribution) > 0.05).sum())
    assert np.concatenate(near).mean() >= (1.0 if path == "past" else 0.85)
    assert checked > 5


@pytest.mark.parametrize("limits", [Limits(1), Limits(7), Limits(40, 3), Limits(10**6)])
def test_the_cut_into_batches_changes_nothing(limits):
    model, context, saes = world("mistral")
    latents, runs = Latents(rows_of(saes)), all_doses()
    whole_batch = replay_text(take_blocks(model), context, runs, latents)
    cut = replay_text(take_blocks(model), context, runs, latents, limits=limits)
    np.testing.assert_allclose(cut.pre, whole_batch.pre, atol=ATOL, rtol=1e-4)
    np.testing.assert_array_equal(cut.flips, whole_batch.flips)


def test_what_does_not_stand_behind_the_change_is_nan_or_zero():
    model, context, saes = world()
    run = Intervention((LatentId(1, 5),), values=(3.0,), positions=(9,))
    effects = replay_text(take_blocks(model), context, [run], Latents(rows_of(saes)))
    for place, target in enumerate(context.targets):
        effect = effects.pre[0, place]
        if target.latent.layer == 1:
            assert np.isnan(effect)
        elif target.position < 9:
            assert effect == 0
        else:
            assert effect != 0


def test_a_run_reads_the_targets_asked_for_and_what_it_comes_past():
    model, context, saes = world()
    blocks, latents = take_blocks(model), Latents(rows_of(saes))
    source = (LatentId(0, 1),)
    everything = replay_text(blocks, context, [Intervention(source)], latents)
    for place in range(len(context.targets)):
        run = Intervention(source, targets=(place,))
        some = replay_text(blocks, context, [run], latents)
        read = np.isfinite(some.pre[0])
        assert read[place]
        np.testing.assert_allclose(some.pre[0, read], everything.pre[0, read], atol=ATOL)
    last = replay_text(blocks, context, [Intervention(source, targets=())], latents)
    assert not np.isfinite(last.pre[0][np.isfinite(everything.pre[0])]).all()


def test_a_source_that_never_fires_changes_nothing():
    model, context, saes = world()
    silent = replace(saes[0], threshold=torch.full_like(saes[0].threshold, 1e6))
    latents = Latents(rows_of({**saes, 0: silent}))
    effects = replay_text(take_blocks(model), context, [Intervention((LatentId(0, 3),))], latents)
    above = [each.latent.layer > 0 for each in context.targets]
    assert (effects.pre[0, above] == 0).all()
    assert (effects.n_changed == 0).all()


def test_excluded_positions_are_left_alone():
    model, context, saes = world()
    open_ = make_context(0, context.token_ids, context.targets)
    blocks, latents = take_blocks(model), Latents(rows_of(saes))
    run = [Intervention((LatentId(0, 3),), values=(3.0,))]
    kept, changed = (replay_text(blocks, each, run, latents) for each in (context, open_))
    assert kept.n_changed[0].max() == changed.n_changed[0].max() - 2
    assert not np.allclose(kept.pre, changed.pre, equal_nan=True)


class TooLarge:
    """Stands for a device on which more than some runs at once run out of memory."""

    def __init__(self, most):
        self.most, self.tried = most, []
        self.run = replaying.run_batch

    def __call__(self, model, text, runs, held):
        self.tried.append(len(runs))
        if len(runs) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.run(model, text, runs, held)


def test_a_batch_that_does_not_fit_is_halved_and_the_results_are_the_same(monkeypatch):
    model, context, saes = world()
    blocks, latents, runs = take_blocks(model), Latents(rows_of(saes)), all_doses()
    expected = replay_text(blocks, context, runs, latents)
    device = TooLarge(5)
    monkeypatch.setattr(replaying, "run_batch", device)
    found = replay_text(blocks, context, runs, latents)
    np.testing.assert_allclose(found.pre, expected.pre, atol=ATOL, rtol=1e-4)
    assert max(device.tried) > 5
    failed = [n for n in device.tried if n > 5]
    # What did not fit once is not tried again.
    assert failed == sorted(failed, reverse=True)
    assert len(failed) == len(set(failed))


def test_a_single_run_that_does_not_fit_is_an_error_that_says_what_to_do(monkeypatch):
    model, context, saes = world()
    monkeypatch.setattr(replaying, "run_batch", TooLarge(0))
    with pytest.raises(OutOfMemory, match="Not even one replay fits"):
        replay_text(take_blocks(model), context, all_doses(), Latents(rows_of(saes)))


def test_other_errors_of_a_batch_are_not_taken_for_want_of_memory(monkeypatch):
    model, context, saes = world()

    def broken(*_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(replaying, "run_batch", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        replay_text(take_blocks(model), context, all_doses(), Latents(rows_of(saes)))


def test_bad_input_is_refused_by_name():
    model, context, saes = world()
    blocks, rows = take_blocks(model), rows_of(saes)
    run = [Intervention((LatentId(0, 1),))]
    long = make_context(7, [1] * 65, [(LatentId(1, 1), 3)])
    with pytest.raises(TextTooLong, match="context 7"):
        replay_text(blocks, long, run, Latents(rows))
    with pytest.raises(InvalidValue, match="L0-99"):
        replay_text(blocks, context, [Intervention((LatentId(0, 99),))], Latents(rows))
    with pytest.raises(InvalidHookPoint, match="layer 8"):
        replay_text(blocks, context, run, Latents({**rows, 8: replace(rows[0], layer=8)}))
    narrow = replace(rows[0], w_enc=torch.zeros(40, 16))
    with pytest.raises(AdapterMismatch, match="reads 16"):
        replay_text(blocks, context, run, Latents({**rows, 0: narrow}))
    with pytest.raises(InvalidValue, match="as they are filed"):
        Latents({3: rows[0]})
    with pytest.raises(InvalidValue, match="full dictionary of layer 0"):
        Latents({0: replace(rows[0], k=3)})
    with pytest.raises(InvalidValue, match="at least one"):
        Intervention(())
    with pytest.raises(InvalidValue, match="2 values"):
        Intervention((LatentId(0, 1), LatentId(0, 2)), values=(1.0,))
    with pytest.raises(InvalidValue, match="of the one latent"):
        Intervention((LatentId(0, 1),), writes=LatentId(1, 2))
    with pytest.raises(UnknownName, match="triple"):
        doses_named(["ablate", "triple"])


def test_nan_in_the_weights_is_found():
    model, context, saes = world()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = torch.nan
    with pytest.raises(NonFiniteOutput, match="Context 0"):
        replay_text(take_blocks(model), context, all_doses(1), Latents(rows_of(saes)))


@pytest.mark.parametrize("way", [replay_on_blocks, by_forward])
def test_a_replay_that_leaves_the_number_format_is_not_taken_for_one_that_read_nothing(way):
    model, context, saes = world()
    half = {at: replace(sae, **{name: getattr(sae, name).half() for name in
                                ("w_enc", "b_enc", "w_dec", "b_dec")})
            for at, sae in saes.items()}  # fmt: skip
    half[0].w_dec[1] *= 60_000
    latents = Latents(rows_of(half))
    calm, wild = (Intervention((LatentId(0, 1),), Dose("x", factor)) for factor in (1.0001, 300.0))
    assert np.isfinite(way(model.half(), context, latents, [calm]).pre).all()
    with pytest.raises(NonFiniteOutput, match="Context 0"):
        way(model, context, latents, [calm, wild])


def test_a_source_on_the_last_layer_and_a_text_without_targets_need_no_run():
    model, context, saes = world()
    latents = Latents(rows_of(saes))
    top = replay_text(take_blocks(model), context, [Intervention((LatentId(2, 1),))], latents)
    assert np.isnan(top.pre).all()
    empty = make_context(0, context.token_ids, [])
    none = replay_text(take_blocks(model), empty, all_doses(1), latents)
    assert none.pre.shape == (6, 0)


def test_normalising_dictionaries_add_in_the_tokens_own_scale():
    model, context, saes = world()
    saes = {at: replace(sae, input_norm="layer_norm") for at, sae in saes.items()}
    latents, runs = Latents(rows_of(saes)), all_doses()
    fast = replay_text(take_blocks(model), context, runs, latents)
    assert_equal_effects(fast, by_forward(model, context, latents, runs))


def test_half_precision_weights_are_replayed_in_their_own_format():
    model, context, saes = world()
    latents, runs = Latents(rows_of(saes)), all_doses(4)
    exact = replay_text(take_blocks(model), context, runs, latents)
    rough = replay_text(take_blocks(make_bfloat16(model)), context, runs, latents)
    read = np.isfinite(exact.pre) & (exact.pre != 0)
    error = np.abs(rough.pre - exact.pre)[read]
    assert error.max() < 0.1 * np.abs(exact.pre[read]).max()
    assert (rough.pre[exact.pre == 0] == 0).all()


def make_bfloat16(model):
    copied = make("llama")
    copied.load_state_dict(model.state_dict())
    return copied.to(torch.bfloat16)
