import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import InvalidValue
from glassbox.pathways.corpus.contexts import make_context
from glassbox.pathways.discovery.cut import Cut, candidates
from glassbox.pathways.discovery.gradients import ContextGradients, LayerGradients
from glassbox.pathways.latents import LatentId


def found(seed=0, n_contexts=3, mode="total", path="past"):
    """Random gradients of two targets in some contexts."""
    rng = np.random.default_rng(seed)
    out = []
    for at in range(n_contexts):
        context = make_context(at, range(9), [(LatentId(2, 5), 7), (LatentId(1, 4), 3)])
        layers = []
        for layer, first in ((0, 0), (1, 1)):
            n = 12
            positions = np.sort(rng.integers(1, 8, n))
            ends = np.array([each.position for each in context.targets[first:]])
            inside = positions <= ends[:, None]
            gradients = rng.normal(size=(2 - first, n)).astype(np.float32) * inside
            layers.append(
                LayerGradients(
                    layer,
                    positions,
                    rng.integers(0, 6, n),
                    rng.random(n).astype(np.float32),
                    first,
                    gradients,
                    (0.5 * gradients * (positions == ends[:, None])).astype(np.float32),
                    1,
                )
            )
        out.append(ContextGradients(context, mode, path, tuple(layers)))
    return out


def slowly(gradients, target):
    """Attributions of a target's sources, one number after another."""
    sums = {}
    for each in gradients:
        for row, goal in enumerate(each.context.targets):
            if goal.latent != target:
                continue
            for layer in each.layers:
                if row < layer.first_target:
                    continue
                for column, index in enumerate(layer.indices):
                    if layer.positions[column] <= goal.position:
                        g = layer.gradients[row - layer.first_target, column]
                        source = LatentId(layer.layer, int(index))
                        value = float(g) * float(layer.activations[column])
                        sums[source] = sums.get(source, 0.0) + value / len(gradients)
    return sums


def test_attributions_are_means_over_texts_of_sums_over_positions():
    gradients = found()
    table = candidates(gradients)
    for target in (LatentId(2, 5), LatentId(1, 4)):
        expected = slowly(gradients, target)
        rows = [row for row in table.rows if row.target == target]
        assert {row.source for row in rows} == set(expected)
        assert table.n_sources[target] == len(rows)
        for row in rows:
            assert row.attribution_mean == pytest.approx(expected[row.source], abs=1e-6)
        assert sum(row.attribution_share for row in rows) == pytest.approx(1)
        assert [row.rank for row in rows] == list(range(len(rows)))
        sizes = [abs(row.attribution_mean) for row in rows]
        assert sizes == sorted(sizes, reverse=True)
    assert table.n_excluded == 6
    assert not any(row.source.layer >= row.target.layer for row in table.rows)


@given(st.integers(0, 30), st.integers(1, 8), st.floats(0, 0.5))
def test_the_cut_keeps_the_strongest_and_no_more_than_asked(seed, top, least):
    table = candidates(found(seed), Cut(top=top, least=least))
    for target in {row.target for row in table.rows}:
        rows = [row for row in table.rows if row.target == target]
        kept = [row for row in rows if row.kept]
        assert len(kept) <= top
        assert all(row.attribution_share >= least for row in kept)
        passing = [row for row in rows if row.attribution_share >= least]
        assert kept == passing[:top]


@given(st.integers(0, 30), st.integers(0, 6), st.floats(0, 0.5))
def test_rows_near_the_cut_are_those_of_the_whole_table(seed, near, least):
    cut = Cut(top=3, least=least, rank_by="mediated")
    whole, some = candidates(found(seed), cut), candidates(found(seed), cut, near=near)
    assert some.rows == tuple(row for row in whole.rows if row.kept or row.rank < near)
    assert some.n_sources == whole.n_sources
    assert some.kept == whole.kept


def test_the_specs_rule_bounds_the_gradient_and_says_its_unit():
    cut = Cut("gradient", 0.1, 25)
    table = candidates(found(), cut)
    assert all((abs(row.gradient_mean) >= 0.1) == row.kept for row in table.rows)
    assert "raw units" in table.cut.unit
    assert "fraction" in Cut().unit


def test_ranking_by_the_mediated_part_puts_carried_sources_behind():
    total = candidates(found())
    mediated = candidates(found(), Cut(rank_by="mediated"))
    by = {(row.target, row.source): row for row in total.rows}
    for row in mediated.rows:
        other = by[row.target, row.source]
        assert row.mediated == pytest.approx(other.mediated)
        assert 0 <= row.same_position_share <= 1
    sizes = [abs(row.mediated) for row in mediated.rows if row.target == LatentId(2, 5)]
    assert sizes == sorted(sizes, reverse=True)


def test_units_of_the_dictionaries_do_not_move_the_cut():
    plain, scaled = found(), []
    for each in plain:
        layers = [
            LayerGradients(
                layer.layer, layer.positions, layer.indices, layer.activations * 4,
                layer.first_target, layer.gradients / 4, layer.direct / 4,
            )
            for layer in each.layers
        ]  # fmt: skip
        scaled.append(ContextGradients(each.context, "total", "past", tuple(layers)))
    kept = [[(r.target, r.source) for r in candidates(g).kept] for g in (plain, scaled)]
    assert kept[0] == kept[1]


def test_the_table_has_the_columns_of_its_file():
    columns = candidates(found()).columns()
    assert len({len(each) for each in columns.values()}) == 1
    assert columns["target"][0] == f"L{columns['target_layer'][0]}-{columns['target_index'][0]}"
    assert {"gradient_sd", "n_active", "same_position_share", "path", "mode"} <= set(columns)


def test_an_empty_table_is_a_table():
    assert candidates([]).rows == ()
    assert candidates([]).columns()["source"] == []


def test_what_cannot_be_cut_is_said():
    with pytest.raises(InvalidValue, match="top at least 1"):
        Cut(top=0)
    with pytest.raises(InvalidValue, match="the same for all"):
        candidates([*found(), *found(path="through")])
