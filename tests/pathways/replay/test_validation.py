"""From gradients to verdicts, on a random model with random dictionaries: a null world, and one
pathway planted in it."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy import stats
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from glassbox.errors import InvalidData, InvalidValue, NotEnoughData
from glassbox.pathways.blocks.forward import block_forward, run_context
from glassbox.pathways.blocks.weights import take_blocks
from glassbox.pathways.corpus.contexts import make_context
from glassbox.pathways.discovery.sources import HeldSources
from glassbox.pathways.discovery.sweep import SweepOptions, upstream_gradients
from glassbox.pathways.latents import LatentId
from glassbox.pathways.replay.agreement import agreements, spearman
from glassbox.pathways.replay.cells import KEPT, RANDOM, MeasuredText
from glassbox.pathways.replay.clean_text import Latents
from glassbox.pathways.replay.close_texts import choose_close_texts
from glassbox.pathways.replay.interventions import ABLATE, DOSES
from glassbox.pathways.replay.judging import judge
from glassbox.pathways.replay.matching import draw_pool, join_rows
from glassbox.pathways.replay.measuring import Measuring, measure_text
from glassbox.pathways.replay.text_pathways import pathways_in_text
from glassbox.pathways.replay.validated import write_validated
from glassbox.pathways.saes.dictionaries import open_dictionaries
from glassbox.pathways.saes.sae import Sae, SaeSource
from glassbox.pathways.saes.writing import save_sae
from tests.pathways.replay.all_pathways import pathways_of_sources

D, N_LAYERS, N_LATENTS, N_TOKENS, N_TEXTS, TOP = 128, 5, 240, 24, 3, 10
N_TARGETS, N_KEPT_TARGETS = 9, 3
SOURCE = SaeSource("memory", "file", "", "", "jumprelu", "")
PLANTED = LatentId(1, 7)
DOSE_ONE = (ABLATE,)


class World:
    """Everything is random: no source is more to a target than another is."""

    def __init__(self, seed):
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=97, hidden_size=D, intermediate_size=128, num_hidden_layers=N_LAYERS,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        )  # fmt: skip
        model = LlamaForCausalLM(config).eval().requires_grad_(False)
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.mul_(40 if "embed" in name else 1.5)
        self.blocks = take_blocks(model)
        tokens = [[0, *torch.randint(2, 97, (N_TOKENS - 1,)).tolist()] for _ in range(N_TEXTS)]
        runs = [run_context(self.blocks, torch.tensor(each)) for each in tokens]
        self.saes = {layer: self._sae(layer, runs) for layer in range(N_LAYERS)}
        chosen = np.random.default_rng(seed).choice(N_LATENTS, N_TARGETS, replace=False)
        self.targets = [LatentId(2 + at % 3, int(index)) for at, index in enumerate(chosen)]
        self.contexts = [
            make_context(
                text, tokens[text], [(each, self._peak(runs[text], each)) for each in self.targets],
                excluded=(0,),
            )
            for text in range(N_TEXTS)
        ]  # fmt: skip
        self.runs = runs

    def _sae(self, layer, runs):
        encoder, noise = torch.randn(N_LATENTS, D), torch.randn(N_LATENTS, D)
        encoder /= encoder.norm(dim=1, keepdim=True)
        decoder = encoder + noise / D**0.5
        decoder /= decoder.norm(dim=1, keepdim=True)
        z = torch.cat([run.output(layer)[1:] for run in runs]) @ encoder.T
        limit = max(float(torch.quantile(z.flatten(), 0.93)), 0.0)
        zeros = torch.zeros(N_LATENTS)
        return Sae(layer, encoder, zeros, decoder, torch.zeros(D), zeros + limit, SOURCE)

    def _peak(self, run, target):
        z = run.output(target.layer) @ self.saes[target.layer].w_enc[target.index]
        return 1 + int(z[1:].argmax())

    def plant(self):
        """Make one latent write what a target reads, wherever the target stands; return it."""
        target = next(each for each in self.targets if each.layer == N_LAYERS - 1)
        places = [
            next(each.position for each in context.targets if each.latent == target)
            for context in self.contexts
        ]
        gradients = []
        for run, place in zip(self.runs, places, strict=True):
            x = run.output(PLANTED.layer).detach().clone().requires_grad_(True)
            y = x
            for layer in range(PLANTED.layer + 1, target.layer + 1):
                y, _ = block_forward(self.blocks, layer, y)
            (y[place] @ self.saes[target.layer].w_enc[target.index]).backward()
            gradients.append(x.grad[place])
        direction = torch.stack(gradients).mean(0)
        there = torch.stack(
            [run.output(PLANTED.layer)[at] for run, at in zip(self.runs, places, strict=True)]
        ).mean(0)
        sae = self.saes[PLANTED.layer]
        encoder, decoder = sae.w_enc.clone(), sae.w_dec.clone()
        encoder[PLANTED.index] = there / there.norm()
        decoder[PLANTED.index] = direction / direction.norm()
        self.saes[PLANTED.layer] = replace(sae, w_enc=encoder, w_dec=decoder)
        return target

    def rows(self):
        return {at: sae.rows(torch.arange(N_LATENTS)) for at, sae in self.saes.items()}

    def gradients(self):
        return list(
            upstream_gradients(
                self.blocks, self.contexts, self.rows(), HeldSources(self.saes), SweepOptions()
            )
        )


def strongest(gradients, planted):
    """(target, source) by the largest summed attribution, and how many pairs there are."""
    sums = {}
    for each in gradients:
        wanted = pathways_in_text(each.context, each.layers, None)
        for row, attribution in enumerate(wanted.attribution.tolist()):
            target = each.context.targets[wanted.target[row]].latent
            source = LatentId(int(wanted.source_layer[row]), int(wanted.source_index[row]))
            own = sums.setdefault(target, {})
            own[source] = own.get(source, 0.0) + attribution
    # Few targets, the highest ones among them: a replay of everything takes its time.
    some = sorted(sums, reverse=True)[:N_KEPT_TARGETS]
    if planted is not None and planted not in some:
        some[-1] = planted
    kept = {
        (target, source)
        for target in some
        for source in sorted(sums[target], key=lambda one: -abs(sums[target][one]))[:TOP]
    }
    return kept, sum(map(len, sums.values()))


def verdict(world, doses=DOSE_ONE, planted=None, close=1):
    gradients = world.gradients()
    kept, n_considered = strongest(gradients, planted)
    rows = world.rows()
    wanted = [pathways_in_text(each.context, each.layers, kept, below_cut=0.002)
              for each in gradients]  # fmt: skip
    plan = choose_close_texts(wanted, close)
    measured = [
        measure_text(
            world.blocks, plan.mark(each), Latents(rows), rows, Measuring(doses=doses, n_null=20)
        )
        for each in wanted
    ]
    return judge(measured, doses, n_considered=n_considered, n_kept=len(kept))


@pytest.mark.parametrize("seed", range(2))
def test_a_null_world_is_silent(seed):
    validated = verdict(World(seed))
    assert validated.n_kept == N_KEPT_TARGETS * TOP
    assert validated.n_verified == 0
    assert min(row.q for row in validated.rows) > 0.05
    # What is predicted is measured all the same: the effects are real, and ordinary.
    assert validated.agreement[0].spearman > 0.99
    assert validated.agreement[0].slope == pytest.approx(1, abs=0.02)


def test_a_planted_pathway_is_verified_alone_and_little_was_missed(tmp_path):
    world = World(0)
    target = world.plant()
    validated = verdict(world, tuple(DOSES.values()), target, close=None)
    found = {(row.target, row.source) for row in validated.rows if row.verified}
    assert found == {(target.name, PLANTED.name)}
    rows = {row.dose: row for row in validated.rows if row.verified}
    assert rows["ablate"].q < 0.05
    assert rows["ablate"].sign_agreement == 1
    assert rows["ablate"].n_tested == rows["double"].n_measured == N_TEXTS
    assert rows["double"].measured_pre == pytest.approx(-rows["ablate"].measured_pre, rel=0.05)
    assert rows["half"].measured_pre == pytest.approx(rows["ablate"].measured_pre / 2, rel=0.05)
    assert rows["half"].slope == rows["double"].slope
    missed = validated.missed
    assert missed.n_found == 0
    assert 0 < missed.share_high < 0.25
    assert missed.n_high == pytest.approx(missed.share_high * missed.n_below)
    path, parquet = write_validated(validated, tmp_path / "validated_pathways.json")
    content = json.loads(path.read_text())
    assert content["summary"]["n_verified"] == 1
    table = pq.read_table(parquet).to_pylist()
    assert len(table) == len(validated.rows)
    assert table[0] == content["pathways"][0]


def test_one_close_text_is_enough_to_verify_a_planted_pathway_alone():
    world = World(0)
    target = world.plant()
    validated = verdict(world, tuple(DOSES.values()), target)
    rows = {row.dose: row for row in validated.rows if row.verified}
    assert {(row.target, row.source) for row in rows.values()} == {(target.name, PLANTED.name)}
    assert {dose: row.n_measured for dose, row in rows.items()} == {
        "ablate": N_TEXTS, "half": 1, "double": 1,
    }  # fmt: skip
    assert rows["ablate"].n_tested == 1
    # Each dose is predicted for the texts that it was given in.
    for row in rows.values():
        assert row.measured_pre == pytest.approx(row.predicted_pre, rel=0.1)
    assert validated.missed.n_sampled > 0


@pytest.mark.parametrize("close", [1, 2])
def test_p_values_of_directions_drawn_by_chance_are_no_smaller_than_chance_has_them(close):
    world = World(5)
    sources = [LatentId(layer, index) for layer in (0, 1, 2) for index in range(0, 240, 8)]
    rows = world.rows()
    kept = {(target, source) for target in world.targets for source in sources}
    wanted = [pathways_in_text(each.context, each.layers, kept, below_cut=0.0)
              for each in world.gradients()]  # fmt: skip
    plan = choose_close_texts(wanted, close)
    how = Measuring(doses=DOSE_ONE, n_null=12)
    measured = [measure_text(world.blocks, plan.mark(each), Latents(rows), rows, how)
                for each in wanted]  # fmt: skip
    validated = judge(measured, DOSE_ONE)
    p = np.array([row.p for row in validated.rows if row.z is not None])
    assert len(p) > 300
    for level in (0.5, 0.2, 0.05):
        assert (p <= level).mean() < level + 4 * np.sqrt(level * (1 - level) / len(p))
    assert (p <= 0.5).mean() > 0.2
    assert validated.n_verified == 0


def test_what_is_not_looked_at_closely_gets_the_first_dose_alone():
    world = World(2)
    rows = world.rows()
    wanted = pathways_of_sources(world.contexts[0], [LatentId(1, index) for index in range(20)])
    close = np.arange(len(wanted.target)) % 3 == 0
    how = Measuring(n_null=3)
    whole = measure_text(world.blocks, wanted, Latents(rows), rows, how).cells
    some = measure_text(
        world.blocks, replace(wanted, is_close=close), Latents(rows), rows, how
    ).cells
    chosen = {
        (world.contexts[0].targets[target].latent, index)
        for target, index in zip(wanted.target[close], wanted.source_index[close], strict=True)
    }

    def table(cells):
        names = ("kind", "target_layer", "target_index", "source_index", "dose", "pre")
        return np.column_stack([getattr(cells, name) for name in names])

    def is_chosen(row):
        kind, layer, index, source, dose, _ = row
        target = LatentId(int(layer), int(index))
        return (kind == KEPT and dose == 0) or (target, int(source)) in chosen

    expected = [row for row in table(whole) if is_chosen(row)]
    found = table(some)
    order, other = np.lexsort(np.array(expected).T), np.lexsort(found.T)
    np.testing.assert_allclose(np.array(expected)[order], found[other], atol=1e-5)


def test_texts_measured_in_any_order_and_through_files_give_the_same_verdict():
    world = World(1)
    sources = [LatentId(layer, index) for layer in (0, 1) for index in range(0, 60, 3)]
    rows = world.rows()
    how = Measuring(doses=DOSE_ONE, n_null=8)
    measured = [
        measure_text(world.blocks, pathways_of_sources(each, sources), Latents(rows), rows, how)
        for each in world.contexts
    ]
    again = [MeasuredText.from_arrays(each.to_arrays()) for each in measured[::-1]]
    first, second = judge(measured, DOSE_ONE), judge(again, DOSE_ONE)
    assert [row.target for row in first.rows] == [row.target for row in second.rows]
    np.testing.assert_allclose([r.p for r in first.rows], [r.p for r in second.rows], rtol=1e-9)
    assert first.agreement[0].n == 0
    assert all(row.predicted_pre is None for row in first.rows)


def test_random_directions_stand_in_for_the_same_changes():
    world = World(2)
    sources = [LatentId(1, index) for index in range(40)]
    wanted = pathways_of_sources(world.contexts[0], sources)
    rows = world.rows()
    cells = measure_text(
        world.blocks, wanted, Latents(rows), rows, Measuring(doses=DOSE_ONE, n_null=3)
    ).cells
    kept, random = cells.take(cells.kind == KEPT), cells.take(cells.kind == RANDOM)
    assert len(random) == 3 * len(kept)
    for row in range(len(kept)):
        same = np.ones(len(random), bool)
        for name in ("target_layer", "target_index", "source_layer", "source_index"):
            same &= getattr(random, name) == getattr(kept, name)[row]
        assert same.sum() == 3
        np.testing.assert_allclose(random.change[same], kept.change[row])
        assert len({*random.pre[same].tolist(), float(kept.pre[row])}) == 4


def test_without_random_sources_nothing_is_verified():
    world = World(3)
    wanted = pathways_of_sources(world.contexts[0], [LatentId(0, index) for index in range(40)])
    measured = measure_text(
        world.blocks, wanted, Latents(world.rows()), {}, Measuring(doses=DOSE_ONE, n_null=0)
    )
    validated = judge([measured], DOSE_ONE)
    assert validated.n_verified == 0
    assert all(row.p == 1 and row.z is None for row in validated.rows)


def test_a_model_that_is_not_known_by_heart_is_replayed_the_slow_way():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=60, n_embd=32, n_layer=3, n_head=2, n_positions=32)
    model = GPT2LMHeadModel(config).eval()
    saes = {}
    for layer in range(3):
        weights, zeros = torch.randn(20, 32), torch.zeros(20)
        saes[layer] = Sae(layer, weights, zeros, weights / 6, torch.zeros(32), zeros, SOURCE)
    rows = {at: sae.rows(torch.arange(20)) for at, sae in saes.items()}
    context = make_context(0, list(range(12)), [(LatentId(2, 3), 9), (LatentId(1, 4), 11)])
    wanted = pathways_of_sources(context, [LatentId(0, index) for index in range(6)])
    cells = measure_text(model, wanted, Latents(rows), rows, Measuring(n_null=4)).cells
    kept = cells.take(cells.kind == KEPT)
    assert len(kept) > 10
    assert np.abs(kept.pre).max() > 1e-3


def test_sources_and_targets_without_a_common_text_are_an_error_that_says_so():
    world = World(0)
    silent = replace(world.saes[0], threshold=torch.full((N_LATENTS,), 1e9))
    rows = {**world.rows(), 0: silent.rows(torch.arange(N_LATENTS))}
    wanted = pathways_of_sources(world.contexts[0], [LatentId(0, 3)])
    measured = measure_text(world.blocks, wanted, Latents(rows), {}, Measuring(n_null=0))
    with pytest.raises(NotEnoughData, match="In no text is a source active"):
        judge([measured], tuple(DOSES.values()))
    with pytest.raises(NotEnoughData, match="In no text"):
        judge([], DOSE_ONE)


def test_impossible_settings_and_broken_files_are_refused():
    with pytest.raises(InvalidValue, match="at least one"):
        Measuring(doses=())
    with pytest.raises(InvalidValue, match="0 or more"):
        Measuring(n_null=-1)
    with pytest.raises(InvalidData, match="lack change, counts"):
        MeasuredText.from_arrays({"kind": np.zeros(0)})
    world = World(0)
    wanted = pathways_of_sources(world.contexts[0], [LatentId(0, index) for index in range(9)])
    rows = world.rows()
    measured = measure_text(world.blocks, wanted, Latents(rows), rows, Measuring(doses=DOSE_ONE))
    with pytest.raises(InvalidData, match="only 1 looked at"):
        judge([measured], DOSE_ONE, n_considered=1)
    with pytest.raises(InvalidValue, match="fraction"):
        judge([measured], DOSE_ONE, q=2.0)


def test_the_pool_is_a_seeded_draw_that_reads_its_rows_only(tmp_path):
    world = World(0)
    for layer in (0, 1):
        save_sae(world.saes[layer], tmp_path / f"layer-{layer}")
    dictionaries = open_dictionaries(tmp_path)
    pool = draw_pool(dictionaries, [0, 1, 0], n=30, seed=4)
    again = draw_pool(dictionaries, [1], n=30, seed=4)
    assert [len(pool[layer]) for layer in (0, 1)] == [30, 30]
    np.testing.assert_array_equal(pool[1].indices, again[1].indices)
    own = world.saes[1].rows(pool[1].indices)
    torch.testing.assert_close(pool[1].w_dec, own.w_dec)
    assert len(draw_pool(dictionaries, [0], n=10**6)[0]) == N_LATENTS


def test_rows_that_write_nothing_are_no_directions(tmp_path):
    sae = World(0).saes[0]
    sae.w_dec[[2, 5]] = 0
    save_sae(sae, tmp_path / "layer-0")
    pool = draw_pool(open_dictionaries(tmp_path), [0])
    assert set(range(N_LATENTS)) - set(pool[0].indices.tolist()) == {2, 5}


def test_joined_rows_hold_each_latent_once_ascending():
    sae = World(0).saes[2]
    joined = join_rows(
        {2: sae.rows(torch.tensor([9, 4, 30]))}, {2: sae.rows(torch.tensor([4, 1]))}, {}
    )
    assert joined[2].indices.tolist() == [1, 4, 9, 30]
    torch.testing.assert_close(joined[2].w_enc, sae.w_enc[[1, 4, 9, 30]])
    torch.testing.assert_close(joined[2].threshold, sae.threshold[[1, 4, 9, 30]])


def test_rank_correlation_equals_scipys():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 12, 60).astype(float)
    second = first + rng.standard_normal(60) * 4
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)
    assert spearman(np.ones(5), np.arange(5.0)) is None


def test_agreement_is_told_by_dose_and_by_layers_between():
    rng = np.random.default_rng(1)
    predicted = rng.standard_normal((80, 2))
    measured = predicted * np.array([1.0, 3.0])
    gaps = np.repeat([1, 2], 40)
    found = agreements(predicted, measured, gaps, ["ablate", "double"])
    assert [(each.dose, each.layer_gap) for each in found] == [
        ("ablate", None), ("double", None), ("ablate", 1), ("ablate", 2), ("double", 1),
        ("double", 2),
    ]  # fmt: skip
    assert found[0].slope == pytest.approx(1)
    assert found[1].slope == pytest.approx(3)
    assert found[1].slope_low == pytest.approx(3)
    assert found[0].within_factor_2 == 1
    assert found[1].within_factor_2 == 0
    assert found[0].sign_agreement == 1
    assert found[0].sign_low < 1
