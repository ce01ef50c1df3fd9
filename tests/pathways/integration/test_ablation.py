from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbox.engine.states.taps import NAMES
from glassbox.errors import InvalidData, NonFiniteOutput, OutOfMemory
from glassbox.pathways.blocks.weights import take_blocks
from glassbox.pathways.integration.ablation import DecisionMeter, DecisionPrompt, pair_places
from glassbox.pathways.integration.decision_effects import decision_effects
from glassbox.pathways.integration.faithfulness import judge_subgraph
from glassbox.pathways.latents import LatentId
from glassbox.pathways.replay.interventions import Intervention
from glassbox.pathways.replay.matching import random_directions
from glassbox.pathways.saes.rows import normalised
from glassbox.progress import untold
from tests.pathways.integration.small_models import SmallSaes, small_model, small_saes

ANSWERS = (70, 71)
SPECIAL = frozenset({0, 1})
OTHERS = [LatentId(layer, index) for layer in (0, 1) for index in range(48)]
LATENTS = [LatentId(0, 3), LatentId(0, 17), LatentId(1, 5), LatentId(1, 30), LatentId(1, 31)]


def prompts_of(model, n_pairs=5, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for pair in range(n_pairs):
        for kind in ("safe", "risky"):
            body = rng.integers(5, model.config.vocab_size, int(rng.integers(4, 14))).tolist()
            made.append(DecisionPrompt((0, *body), kind, pair))
    return tuple(made)


@pytest.fixture(scope="module")
def world():
    model, _, width = small_model()
    saes = small_saes(2, width)
    return model, saes, prompts_of(model)


def meter_of(world, **how):
    model, saes, prompts = world
    return DecisionMeter(model, saes.rows(LATENTS), prompts, ANSWERS, SPECIAL, **how)


def alone(meter, place, n_random=0, seed=0):
    """What one latent's own ablation does, then random directions in its place."""
    latent = meter.latents[place]
    drawn = meter.directions(latent, n_random, seed=seed)
    return meter.ablated([Intervention((latent,), writes=each) for each in (None, *drawn)])


def slowly(model, saes, prompt, mask, values, writes=None):
    """One prompt, through hooks of its own, latent by latent; they write along ``writes``."""
    handles, blocks = [], model.get_submodule(NAMES[model.config.model_type].blocks)

    def put_aside(layer):
        def hook(_module, _args, output):
            x = output[0] if isinstance(output, tuple) else output
            sae, clean = saes.load(layer), x.clone()
            activations = sae.encode(clean[0])
            for latent, aside, value in zip(LATENTS, mask, values, strict=True):
                if latent.layer != layer or not aside:
                    continue
                for position in range(1, x.shape[1]):
                    if prompt.token_ids[position] in SPECIAL:
                        continue
                    f = activations[position, latent.index]
                    own = sae.w_dec[latent.index]
                    direction = own if writes is None else sae.w_dec[writes.index]
                    direction = direction * own.norm() / direction.norm()
                    scale = normalised(clean[0, position], sae.input_norm)[1]
                    x[0, position] += (value - f) * direction * scale
            return (x, *output[1:]) if isinstance(output, tuple) else x

        return hook

    for layer in (0, 1):
        handles.append(blocks[layer].register_forward_hook(put_aside(layer)))
    with torch.inference_mode():
        logits = model(torch.tensor([prompt.token_ids])).logits[0, -1]
    for each in handles:
        each.remove()
    return float(logits[ANSWERS[0]] - logits[ANSWERS[1]])


def test_decisions_are_those_of_the_slow_way(world):
    model, saes, prompts = world
    meter = meter_of(world)
    sets = np.array(
        [[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 1, 0], [1, 1, 1, 1, 1]], dtype=bool
    )
    values = meter.means.tolist()
    found = meter.decisions(sets)
    expected = [[slowly(model, saes, each, mask, values) for each in prompts] for mask in sets]
    assert found == pytest.approx(np.array(expected), abs=2e-5)
    assert np.abs(found[3] - found[0]).max() > 1e-3


@pytest.mark.parametrize("architecture", ["blocks", "llama", "gpt2", "gpt_neox", "gemma3", "phi"])
def test_ablations_and_random_directions_are_those_of_the_slow_way(architecture):
    model, _, width = small_model("llama" if architecture == "blocks" else architecture)
    blocks = take_blocks(model) if architecture == "blocks" else None
    saes = small_saes(2, width)
    prompts = prompts_of(model, 1)
    pool = saes.rows([LatentId(layer, index) for layer in (0, 1) for index in range(2, 48)])
    meter = DecisionMeter(
        model, saes.rows(LATENTS), prompts, ANSWERS, SPECIAL, pool=pool, blocks=blocks
    )
    clean = [slowly(model, saes, each, np.zeros(5), [0.0] * 5) for each in prompts]
    for place in (1, 4):
        latent, mask = LATENTS[place], np.arange(5) == place
        found = alone(meter, place, n_random=2, seed=3)
        drawn = random_directions(latent, pool, 2, (3,))
        for row, writes in zip(found, [None, *drawn], strict=True):
            changed = [slowly(model, saes, each, mask, [0.0] * 5, writes) for each in prompts]
            assert row == pytest.approx(np.array(changed) - clean, abs=2e-5)
        assert np.unique(found.round(6), axis=0).shape[0] == 3


@pytest.mark.parametrize("blocks_of", [take_blocks, lambda model: None])
def test_a_dictionary_that_normalises_writes_in_its_own_scale(blocks_of):
    model, _, width = small_model()
    plain = small_saes(2, width)
    saes = SmallSaes(
        [replace(plain.load(layer), input_norm="layer_norm") for layer in plain.layers]
    )
    prompts = prompts_of(model, 2)
    meter = DecisionMeter(
        model, saes.rows(LATENTS), prompts, ANSWERS, SPECIAL, blocks=blocks_of(model)
    )
    mask = np.array([[1, 1, 0, 1, 0]], dtype=bool)
    expected = [slowly(model, saes, each, mask[0], meter.means.tolist()) for each in prompts]
    assert meter.decisions(mask)[0] == pytest.approx(expected, abs=2e-5)
    clean = [slowly(model, saes, each, np.zeros(5), [0.0] * 5) for each in prompts]
    changed = [slowly(model, saes, each, np.arange(5) == 1, [0.0] * 5) for each in prompts]
    assert alone(meter, 1)[0] == pytest.approx(np.array(changed) - clean, abs=2e-5)


def test_where_a_latent_is_silent_nothing_changes(world):
    model, saes, prompts = world
    rows = saes.rows(LATENTS)
    rows[1].b_enc[:] = -100.0
    for blocks in (take_blocks(model), None):
        meter = DecisionMeter(
            model, rows, prompts, ANSWERS, SPECIAL, pool=saes.rows(OTHERS), blocks=blocks
        )
        assert not alone(meter, 3, n_random=5).any()
        found = decision_effects(meter, n_random=5)
        assert found[LATENTS[3]].effect == 0
        assert found[LATENTS[3]].z is None
        assert found[LATENTS[3]].p == found[LATENTS[3]].q == 1.0


def test_both_ways_measure_the_same(world):
    model, saes, _ = world
    pool = saes.rows(OTHERS)
    fast, slow = (meter_of(world, pool=pool, blocks=each) for each in (take_blocks(model), None))
    runs = [
        Intervention((latent,), writes=each)
        for latent in LATENTS[::-1]
        for each in (None, *fast.directions(latent, 3, seed=1))
    ]
    told = {True: [], False: []}
    found = fast.ablated(runs, lambda *at: told[True].append(at))
    assert found == pytest.approx(slow.ablated(runs, lambda *at: told[False].append(at)), abs=1e-5)
    assert told[True] == [(n, len(fast.prompts)) for n in range(1, len(fast.prompts) + 1)]
    assert told[False] == [(n, len(LATENTS)) for n in range(1, len(LATENTS) + 1)]
    assert np.abs(found).max() > 1e-3
    assert fast.ablated([]).shape == slow.ablated([]).shape == (0, len(fast.prompts))


def test_nothing_set_aside_is_the_plain_model(world):
    model, _, prompts = world
    found = meter_of(world).decisions(np.zeros((1, 5), dtype=bool))[0]
    for prompt, value in zip(prompts, found, strict=True):
        with torch.inference_mode():
            logits = model(torch.tensor([prompt.token_ids])).logits[0, -1]
        assert value == pytest.approx(float(logits[70] - logits[71]), abs=1e-5)


@pytest.mark.parametrize("batch_rows", [1, 3, 64])
def test_batches_change_nothing(world, batch_rows):
    sets = np.array([[1, 0, 1, 0, 0]], dtype=bool)
    found = meter_of(world, batch_rows=batch_rows).decisions(sets)
    assert found == pytest.approx(meter_of(world).decisions(sets), abs=1e-5)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate a lot"),
    ],
)
def test_out_of_memory_halves_the_batch_and_changes_nothing(world, monkeypatch, error):
    model, saes, _ = world
    sets = np.array([[1, 0, 1, 0, 0]], dtype=bool)
    pool = saes.rows(OTHERS)
    whole = meter_of(world, pool=pool)
    expected, one = whole.decisions(sets), alone(whole, 1, n_random=3)
    forward, sizes = type(model.base_model).forward, []

    def cramped(self, input_ids, **options):
        sizes.append(len(input_ids))
        # Memory ends behind the blocks: what was read of them has been read.
        found = forward(self, input_ids=input_ids, **options)
        if len(input_ids) > most:
            raise error
        return found

    monkeypatch.setattr(type(model.base_model), "forward", cramped)
    most = 3
    meter = meter_of(world, pool=pool)
    assert meter.decisions(sets) == pytest.approx(expected, abs=1e-5)
    assert alone(meter, 1, n_random=3) == pytest.approx(one, abs=1e-5)
    assert meter.means.tolist() == pytest.approx(whole.means.tolist(), abs=1e-6)
    assert max(sizes) > most >= min(sizes)
    most = 0
    with pytest.raises(OutOfMemory, match=r"One prompt of \d+ tokens does not fit"):
        meter_of(world).decisions(sets)


def test_means_are_over_positions_that_count(world):
    model, saes, prompts = world
    sums, counted = torch.zeros(5), 0
    for prompt in prompts:
        states = model(torch.tensor([prompt.token_ids]), output_hidden_states=True).hidden_states
        inside = [
            place for place, token in enumerate(prompt.token_ids) if place and token not in SPECIAL
        ]
        counted += len(inside)
        for place, latent in enumerate(LATENTS):
            if latent.layer == 0:  # the last entry of hidden_states is behind the final norm
                sums[place] += saes.load(0).encode(states[1][0, inside])[:, latent.index].sum()
    found = meter_of(world).means
    assert found[:2].tolist() == pytest.approx((sums / counted)[:2].tolist(), abs=1e-6)


def test_topk_rows_are_read_with_the_whole_dictionary():
    model, _, width = small_model()
    saes = small_saes(2, width, k=6)
    full = {layer: saes.load(layer) for layer in saes.layers}
    prompts = prompts_of(model, 2)
    blocks = take_blocks(model)
    meter = DecisionMeter(model, saes.rows(LATENTS), prompts, ANSWERS, SPECIAL, full)
    sets = np.array([[1, 1, 0, 1, 0]], dtype=bool)
    expected = [slowly(model, saes, each, sets[0], meter.means.tolist()) for each in prompts]
    assert meter.decisions(sets)[0] == pytest.approx(expected, abs=2e-5)
    clean = meter.decisions(np.zeros((1, 5), dtype=bool))[0]
    changed = [slowly(model, saes, each, np.arange(5) == 1, [0.0] * 5) for each in prompts]
    for each in (meter, replace(meter, blocks=blocks)):
        assert alone(each, 1)[0] == pytest.approx(changed - clean, abs=2e-5)


def test_effects_are_mean_changes_with_intervals_around_them(world):
    meter = meter_of(world, pool=world[1].rows(OTHERS))
    found = decision_effects(meter, n_random=8)
    for place, latent in enumerate(LATENTS):
        own, *random = alone(meter, place, n_random=8).mean(axis=1)
        assert found[latent].effect == pytest.approx(own, abs=1e-6)
        assert found[latent].low <= found[latent].effect <= found[latent].high
        spread = np.std(random, ddof=1) * np.sqrt(1 + 1 / 8)
        assert found[latent].z == pytest.approx((own - np.mean(random)) / spread, rel=1e-3)
        assert 0 <= found[latent].p <= found[latent].q <= 1


def test_without_enough_random_directions_nothing_stands_out(world):
    for n_random in (0, 2):
        found = decision_effects(meter_of(world, pool=world[1].rows(OTHERS)), n_random=n_random)
        assert all(each.z is None and each.p == each.q == 1 for each in found.values())
        assert all(each.low <= each.effect <= each.high for each in found.values())


def test_all_latents_are_a_faithful_and_complete_sub_graph_and_none_is_neither(world):
    meter = meter_of(world)
    effects = decision_effects(meter)
    everything = judge_subgraph(
        meter, frozenset(each.name for each in LATENTS), effects, n_random=3
    )
    assert everything.faithfulness == pytest.approx(1)
    assert everything.completeness == pytest.approx(1)
    assert everything.p == 1.0
    nothing = judge_subgraph(meter, frozenset(), effects, n_random=3)
    assert nothing.faithfulness == pytest.approx(0, abs=1e-9)
    assert nothing.completeness == pytest.approx(0, abs=1e-9)
    assert nothing.curve[0].faithfulness == pytest.approx(0, abs=1e-9)
    assert nothing.curve[-1].faithfulness == pytest.approx(1)


class Pretends:
    """A meter whose decisions follow a formula: the first latent carries the framing alone."""

    latents = tuple(LATENTS)

    def __init__(self, n_pairs=12, seed=0):
        self.prompts = tuple(
            DecisionPrompt((0, 5), kind, pair)
            for pair in range(n_pairs)
            for kind in ("safe", "risky")
        )
        self.noise = np.random.default_rng(seed).normal(0, 0.1, len(self.prompts))

    def decisions(self, set_aside, progress=untold):
        sign = np.array([1.0 if each.kind == "safe" else -1.0 for each in self.prompts])
        carried = np.where(set_aside[:, :1], 0.0, 2.0)
        return carried * sign + 0.5 * sign + self.noise


def test_the_latent_that_carries_the_framing_is_the_whole_sub_graph():
    found = judge_subgraph(Pretends(), frozenset({"L0-3"}), {}, n_random=30)
    assert found.full == pytest.approx(found.kept)
    assert found.faithfulness == pytest.approx(1)
    assert found.completeness == pytest.approx(1)
    assert found.n_kept == 1
    # Half of the random choices of one latent of layer 0 are that very latent.
    assert 0.2 < found.p < 0.8


def test_a_sub_graph_beside_it_is_neither():
    found = judge_subgraph(Pretends(), frozenset({"L1-5", "L1-30"}), {}, n_random=10)
    assert found.faithfulness == pytest.approx(0)
    assert found.completeness == pytest.approx(0)
    assert found.p == 1.0


def test_latents_that_carry_nothing_have_no_faithfulness():
    meter = Pretends()
    meter.decisions = lambda set_aside, _progress: np.tile(meter.noise, (len(set_aside), 1))
    found = judge_subgraph(meter, frozenset({"L0-3"}), {})
    assert found.faithfulness is None
    assert found.completeness is None


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_random_sub_graphs_have_as_many_latents_on_every_layer(seed):
    asked = []

    class Watches(Pretends):
        def decisions(self, set_aside, progress=untold):
            asked.append(set_aside)
            return super().decisions(set_aside, progress)

    judge_subgraph(Watches(), frozenset({"L0-17", "L1-5", "L1-31"}), {}, n_random=4, seed=seed)
    (sets,) = asked
    for row in ~sets[4:8]:
        assert row[:2].sum() == 1
        assert row[2:].sum() == 2


def test_pairs_need_both_kinds_and_one_of_each():
    one = [DecisionPrompt((0,), "safe", 0), DecisionPrompt((0,), "risky", 1)]
    with pytest.raises(InvalidData, match="no pair has a safe and a risky prompt"):
        pair_places(one)
    two = [*one, DecisionPrompt((0,), "safe", 0)]
    with pytest.raises(InvalidData, match="pair 0 has two safe prompts"):
        pair_places(two)


def test_a_model_that_answers_nan_is_named(world):
    model, saes, prompts = world
    rows = saes.rows(LATENTS)
    rows[0].w_dec[0, 0] = float("nan")
    meter = DecisionMeter(model, rows, prompts, ANSWERS, SPECIAL)
    with pytest.raises(NonFiniteOutput, match="decision's logit is NaN"):
        meter.decisions(np.array([[1, 0, 0, 0, 0]], dtype=bool))
