"""Studies of models whose blocks are not known by heart: slower, and the same."""

from contextlib import closing

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from glassbox.artifacts import read_json
from glassbox.errors import UnsupportedModel
from glassbox.pathways.blocks.weights import ModelBlocks
from glassbox.pathways.config import StudyConfig
from glassbox.pathways.discovery.sources import HeldSources
from glassbox.pathways.discovery.sweep import SweepOptions
from glassbox.pathways.integration.ablation import DecisionMeter
from glassbox.pathways.integration.results import LATENTS_FILE, read_study
from glassbox.pathways.layout import STEPS
from glassbox.pathways.orchestration import discover_step, integrate_step, validate_step
from glassbox.pathways.orchestration.lent_model import runnable, sweeper_of
from glassbox.pathways.orchestration.steps import do_step
from glassbox.pathways.saes.writing import save_sae
from glassbox.testing import tiny_engine, tiny_sae
from tests.pathways.orchestration.small_study import place_of
from tests.pathways.study.studies import made_study


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Logs of a patching study, and a dictionary of each of two layers."""
    folder = tmp_path_factory.mktemp("given")
    made_study(n_latents=8, n_trials=6, layers=2, effects={1: 0.4}).write(folder)
    for layer in range(2):
        save_sae(tiny_sae(layer, d_sae=120), folder / "saes" / f"layer_{layer}")
    return folder


def studied(given, out, architecture, steps=STEPS[1:]):
    config = StudyConfig.from_json(
        {
            "study": {"out": str(out)},
            "model": {"dtype": "float32", "device": "cpu"},
            "data": {
                "checkpoints": str(given / "analysis"),
                "response_logs": str(given / "response_logs"),
            },
            "saes": {"folder": str(given / "saes"), "min_explained_variance": -1e6, "max_l0": 120},
            "audit": {"n_permutations": 100, "least_trials": 5, "expected_trials": 6},
            "select": {"only_causal": False},
            "contexts": {"top": 1, "spread": 1},
            "replay": {"doses": ["ablate"], "n_null": 4},
            "tokens": {"n_permutations": 20, "offsets": [0]},
            "integrate": {"n_prompts": 2, "n_graphs": 1, "n_cards": 4},
        }
    )
    with closing(tiny_engine(architecture)) as engine:
        place = place_of(config, engine)
        for step in steps:
            do_step(place, step)
    return place.folder


def test_a_study_of_other_blocks_runs_to_its_report(given, tmp_path):
    folder = studied(given, tmp_path, "gpt2")
    assert folder.report.is_file()
    assert read_json(folder.single_feature_test)["forecast"]["seconds"] > 0
    rows = read_study(folder.root).pathways().rows
    assert rows
    assert any(row.verified is not None for row in rows)


def test_rows_that_are_replayed_go_where_the_model_is(given, tmp_path, monkeypatch):
    latents_on, devices = validate_step._latents, set()

    def looked_at(place, wanted, device):
        # A device that every machine has; tensors of two devices cannot be multiplied.
        found = latents_on(place, wanted, torch.device("meta"))
        devices.update(rows.w_enc.device.type for rows in found.rows.values())
        return latents_on(place, wanted, device)

    monkeypatch.setattr(validate_step, "_latents", looked_at)
    studied(given, tmp_path, "llama", ("audit", "select", "tokens", "discover", "validate"))
    assert devices == {"meta"}


def test_both_ways_give_the_same_study(given, tmp_path, monkeypatch):
    steps = ("audit", "select", "tokens", "discover", "validate", "integrate")
    with monkeypatch.context() as patch:
        patch.setattr(DecisionMeter, "_ablated_by_modules", None)
        fast = studied(given, tmp_path / "fast", "llama", steps)
    monkeypatch.setattr(discover_step, "sweeper_of", _by_autograd)
    monkeypatch.setattr(validate_step, "runnable", lambda model: model)
    monkeypatch.setattr(integrate_step, "runnable", lambda model: model)
    slow = studied(given, tmp_path / "slow", "llama", steps)
    _same(fast.candidates, slow.candidates)
    _same(fast.validated.with_suffix(".parquet"), slow.validated.with_suffix(".parquet"))
    _same(fast.integrated / LATENTS_FILE, slow.integrated / LATENTS_FILE)


def _by_autograd(model, targets, sources):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("glassbox.pathways.orchestration.lent_model.runnable", lambda model: model)
        return sweeper_of(model, targets, sources)


def _same(one, other):
    found, expected = pq.read_table(one), pq.read_table(other)
    assert len(found) > 3
    assert found.column_names == expected.column_names
    for name in found.column_names:
        left, right = (table[name].to_numpy(zero_copy_only=False) for table in (found, expected))
        if left.dtype.kind == "f":
            np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-5, err_msg=name)
        else:
            assert found[name].to_pylist() == expected[name].to_pylist(), name


def test_what_only_known_blocks_can_do_is_said():
    sae = tiny_sae(0)
    with closing(tiny_engine("gpt2")) as engine, engine.lend(lease_s=60) as lent:
        assert runnable(lent.model) is lent.model
        rows = {0: sae.rows(torch.arange(4)), 1: tiny_sae(1).rows(torch.arange(4))}
        sweep = sweeper_of(lent.model, rows, HeldSources(rows))
        with pytest.raises(UnsupportedModel, match=r"discover\.mode 'frozen' needs blocks"):
            next(sweep([], SweepOptions(mode="frozen")))
    with closing(tiny_engine()) as engine, engine.lend(lease_s=60) as lent:
        assert isinstance(runnable(lent.model), ModelBlocks)
